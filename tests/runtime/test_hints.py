"""Hints: what is known of a prompt is prefilled early; the query is only ever quicker."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.runtime.engines.tokenizer import ByteTokenizer
from teola.runtime.record import Record
from teola.runtime.simulation.clock import pass_time
from teola.runtime.work.known_prefix import UNSURE, KnownPrefix
from tests.runtime.workbench import Bench, call, plan, virtual

EARLY = "Say what you know. " * 8 + "{{ q }}: "
LATE = "{% for p in ps %}{{ p }}{% endfor %}"


def hint(name, inputs, least=16):
    """A warm-up of the call ``name``."""
    return (
        f"%{name}.early = partial_prefill {inputs} {{engine = llm, "
        f'hint = "{name}.prefill", min_new_tokens = {least}}} @{name.partition(".")[0]}'
    )


def asking(*, hinted=True, prompt=EARLY + LATE, known="q=%inputs:q", **engines):
    """A call whose passages are there after a second."""
    engines = {"rr": {"latency_ms": 1000}, "llm": {"per_token_ms": 1}} | engines
    return plan(
        f"""
        input q: text
        input ps: list<passage>
        %s.score = score passages=%inputs:ps query=%inputs:q {{engine = rr}} @s
        {hint("a", known) if hinted else ""}
        {call("a", prompt, "q=%inputs:q ps=%s.score:passages")}
        output out: text = %a.decode:text
        """,
        **engines,
    )


PASSAGES = [{"id": "p", "text": "found", "document": "d"}]
INPUTS = {"q": "why", "ps": PASSAGES}


def counts(bench):
    """What became of the warm-ups, without what is zero."""
    (engine,) = [one for one in bench.pool.engines.values() if one.kind == "llm"]
    found = engine.calls.warm_ups.counts
    names = ("sent", "used", "dropped", "wasted", "failed")
    return {name: getattr(found, name) for name in names if getattr(found, name)}


async def lone(bench, source, **inputs):
    """The result, and how long the call took."""
    result = await bench.run(source, **inputs)
    (entry,) = [one for one in result.timeline if one.primitive == "a.decode"]
    return result, round(entry.ended_s - entry.started_s, 6)


@virtual
async def test_the_first_token_comes_sooner(bench):
    """By the time of the blocks that were prefilled while the passages were scored."""
    _, cold_s = await lone(Bench(), asking(hinted=False), **INPUTS)
    result, warm_s = await lone(bench, asking(), **INPUTS)
    warm_up, request = bench.spy("llm").submitted
    assert (warm_up.warm, request.warm) == (True, False)
    assert request.tokens[: len(warm_up.tokens)] == warm_up.tokens
    assert round(cold_s - warm_s, 6) == len(warm_up.tokens) / 1000 > 0.1
    assert result.usage.warm_ups == result.to_json()["usage"]["warm_ups"] == 1
    assert counts(bench) == {"sent": 1, "used": 1}


@virtual
async def test_the_timeline_has_calls_and_warm_ups_with_their_tokens(bench):
    """A warm-up's entry says when the engine had it; other primitives have no tokens."""
    result = await bench.run(asking(), **INPUTS)
    entries = {entry.primitive: entry for entry in result.timeline}
    tokens = {name: (e.prompt_tokens, e.completion_tokens) for name, e in entries.items()}
    warm_up, request = bench.spy("llm").submitted
    assert tokens == {
        "s.score": (None, None),
        "a.early": (len(warm_up.tokens), 0),
        "a.decode": (len(request.tokens), result.usage.completion_tokens),
    }
    assert entries["a.early"].started_s == 0
    assert round(entries["a.early"].ended_s, 6) == len(warm_up.tokens) / 1000


@virtual
async def test_each_part_that_comes_makes_a_longer_warm_up(bench):
    """The parts of all messages in order; what comes out of turn waits for what is before it."""
    source = plan(
        f"""
        input q: text
        {call("quick", "{{ q }}", "q=%inputs:q")}
        {call("slow", "{{ x }}", "x=%quick.decode:text")}
        {hint("a", "x=%quick.decode:text q=%inputs:q")}
        {call("a", "{{ q }}" * 30 + "{{ x }}" * 5 + "{{ y }}", INNER)}
        output out: text = %a.decode:text
        """,
        llm={"latency_ms": 1000},
    )
    await bench.run(source, q="question")
    lengths = [len(one.tokens) for one in bench.spy("llm").submitted if one.warm]
    assert len(lengths) == 2
    assert lengths[0] < lengths[1]
    assert counts(bench) == {"sent": 2, "used": 2}


INNER = "x=%quick.decode:text q=%inputs:q y=%slow.decode:text"


@pytest.mark.parametrize(
    ("known", "prompt", "engine"),
    [
        ("q=%inputs:q", EARLY + LATE, {"fail_items": ["Say what"]}),
        ("q=%inputs:q", "{{ q.nothing.here }}" + LATE, {}),
        ("", "{{ 1 // 0 }}" + LATE, {}),
    ],
)
@virtual
async def test_a_warm_up_that_fails_is_only_counted(bench, known, prompt, engine):
    """Whether the engine refuses it or its part cannot be rendered: the call itself says why."""
    source = asking(known=known, prompt=prompt, llm=engine)
    with pytest.raises(Exception, match=r"fail on|nothing|zero"):
        await bench.run(source, **INPUTS)
    assert counts(bench)["failed"] == 1


@virtual
async def test_only_the_warm_up_fails(bench):
    """The query goes on as if there were none."""
    bench.prepared.append(lambda spy: spy.kind == "llm" and spy.spoil(0))
    result, _ = await lone(bench, asking(), **INPUTS)
    assert result["out"] == (await lone(Bench(), asking(hinted=False), **INPUTS))[0]["out"]
    assert counts(bench) == {"sent": 1, "failed": 1}


@pytest.mark.parametrize("turns", range(0, 40, 3))
@pytest.mark.parametrize("at_s", [0, 0.05, 0.5, 1.05])
@virtual
async def test_a_cancelled_query_leaves_no_warm_up(bench, turns, at_s):
    """Queued or running, at any turn of the loop; a neighbour's call goes on."""
    async with bench.runner(asking(), share=False) as runner:
        running = [asyncio.ensure_future(runner.run(**INPUTS)) for _ in range(2)]
        await pass_time(at_s)
        for _ in range(turns):
            await asyncio.sleep(0)
        running[0].cancel()
        results = await asyncio.gather(*running, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1]["out"]


@virtual
async def test_an_engine_that_dies_with_a_warm_up_comes_back(bench):
    """The call is sent to the new engine, cold."""
    async with bench.runner(asking()) as runner:
        running = asyncio.ensure_future(runner.run(**INPUTS))
        await pass_time(0.05)
        bench.spy("llm").die()
        assert (await running)["out"]
    assert counts(bench) == {"sent": 1, "failed": 1}


@virtual
async def test_equal_queries_share_one_warm_up(bench):
    """One prefix is warmed once, whether the calls are shared or not."""
    for share in (True, False):
        async with bench.runner(asking(), share=share) as runner:
            await asyncio.gather(*(runner.run(**INPUTS) for _ in range(5)))
    assert [one.warm for one in bench.spy("llm").submitted].count(True) == 1


@virtual
async def test_a_replay_answers_warm_ups_and_misses_nothing(bench):
    """They are not recorded, and never missing."""
    record = Record()
    recording, replaying = Bench(), Bench()
    recording.pool._wrap, replaying.pool._wrap = record.recording, record.replaying
    async with recording.pool, replaying.pool:
        expected = await recording.run(asking(hinted=False), **INPUTS)
        found = await replaying.run(asking(), **INPUTS)
    assert found["out"] == expected["out"]
    assert record.missing == 0


ENTRIES = [
    {"role": "system", "template": "Be {{ tone }}."},
    {"splice": "before"},
    {"role": "user", "template": "{% set y = x %}{{ y }} {{ z }} end"},
]
VALUES = {
    "tone": "kind",
    "before": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}],
    "x": "first part of it",
    "z": "last",
}


@given(known=st.sets(st.sampled_from(sorted(VALUES))))
def test_a_known_prefix_begins_the_prompt(known):
    """Whatever is known: its tokens are a prefix of the whole prompt's, up to what is not."""
    from teola.compiler.prompts import render_messages

    tokenizer = ByteTokenizer()
    whole = tokenizer.encode_chat(render_messages(ENTRIES, VALUES))
    found = KnownPrefix(ENTRIES, tokenizer).tokens({name: VALUES[name] for name in known})
    assert list(found) == whole[: len(found)]
    texts = {"tone": "", "before": "kind.", "x": "yes", "z": "first part of it "}
    first = next((name for name in texts if name not in known), None)
    if first is not None:
        text = tokenizer.decode(list(whole)[: len(found) + UNSURE])
        assert texts[first] in text


def test_a_long_known_part_is_rendered_beside_the_loop():
    """Only what is quick is done at once."""
    prefix = KnownPrefix([{"role": "user", "template": "{{ a }}{{ b }}"}], ByteTokenizer())
    assert prefix.at_once({"a": "x" * 100}) is not None
    assert prefix.at_once({"a": "x" * 10_000}) is None
    assert prefix.at_once({"a": PASSAGES[0] | {"text": "x" * 9_000}}) is None


@virtual
async def test_a_long_prompt_is_warmed_too(bench):
    """Rendered in a thread, offered on the loop."""
    inputs = {**INPUTS, "q": "long " * 700}
    result, _ = await lone(
        bench, asking(llm={"context_tokens": 20_000, "per_token_ms": 0.1}), **inputs
    )
    assert result.usage.warm_ups == 1
    assert counts(bench) == {"sent": 1, "used": 1}
