"""Sampling, from a module's settings to what an engine is asked; draws that repeat and differ."""

import asyncio

import pytest

from teola.compiler.passes.base import Context
from teola.compiler.passes.deduplicate import Deduplicate
from teola.runtime.engines.fakes.llm import answer
from teola.runtime.engines.protocol import GREEDY, Generate, Grammar, Sampling
from teola.runtime.engines.tokenizer import ByteTokenizer
from teola.runtime.record import call_key
from teola.runtime.seeds import call_seed
from tests.runtime.workbench import call, plan, reply, virtual


def asking(sampling, **llm):
    """One call whose text is the output."""
    return plan(
        f"""
        input q: text
        {call("a", "{{ q }}", "q=%inputs:q", sampling=sampling)}
        output out: text = %a.decode:text
        """,
        llm=llm,
    )


@virtual
async def test_settings_reach_the_engine_with_a_seed_of_the_call(bench):
    sampling = ', "temperature": 0.7, "top_p": 0.9, "stop": ["END"], "seed": 3'
    await bench.run(asking(sampling), q="x")
    (request,) = bench.spy("llm").submitted
    seed = call_seed(0, "a.decode", (), 3)
    assert request.sampling == Sampling(0.7, 0.9, ("END",), seed)
    assert 0 <= seed < 1 << 31


@virtual
async def test_a_greedy_call_has_no_seed(bench):
    await bench.run(asking(', "temperature": 0, "ignore_eos": false'), q="x")
    (request,) = bench.spy("llm").submitted
    assert request.sampling == GREEDY


@virtual
async def test_a_run_repeats_and_another_seed_draws_anew(bench):
    """The run's seed and the module's own both count."""
    warm, own = ', "temperature": 1.0', ', "temperature": 1.0, "seed": 1'

    async def text(sampling, **options):
        async with bench.runner(asking(sampling), **options) as runner:
            return (await runner.run(q="x"))["out"]

    texts = [await text(warm), await text(warm, seed=1), await text(own), await text(own, seed=1)]
    assert len({*texts, reply("x")}) == 5
    assert await text(warm, seed=1) == texts[1]
    assert await text(own) == texts[2]


@virtual
async def test_equal_calls_in_one_run_draw_apart(bench):
    """Modules, and the iterations of a region."""
    warm = ', "temperature": 1.0'
    sampled = plan(
        f"""
        input xs: list<text>
        %m.each = each items=%inputs:xs {{}} -> text=%m.ask.decode:text @m [
            {call("m.ask", "same", "", sampling=warm)}
        ]
        {call("n", "same", "", sampling=warm)}
        output many: list<text> = %m.each:text
        output one: text = %n.decode:text
        """
    )
    result = await bench.run(sampled, xs=["a", "b", "c"])
    assert len({*result["many"], result["one"]}) == 4
    again = await bench.run(sampled, xs=["a", "b", "c"])
    assert (again["many"], again["one"]) == (result["many"], result["one"])


@pytest.mark.parametrize(("sampling", "calls"), [("", 1), (', "temperature": 0.5', 2)])
@virtual
async def test_queries_share_no_draw(bench, sampling, calls):
    """Two equal calls at once are one only at temperature 0."""
    async with bench.runner(asking(sampling, latency_ms=1000)) as runner:
        one, two = await asyncio.gather(runner.run(q="x"), runner.run(q="x"))
    assert len(bench.spy("llm").submitted) == calls
    assert one["out"] == two["out"]


@pytest.mark.parametrize(("sampling", "calls"), [("", 1), (', "temperature": 0.5', 2)])
def test_no_draw_is_deduplicated(sampling, calls):
    graph = plan(
        f"""
        input q: text
        {call("a", "{{ q }}", "q=%inputs:q", sampling=sampling)}
        {call("b", "{{ q }}", "q=%inputs:q", sampling=sampling)}
        output one: text = %a.decode:text
        output two: text = %b.decode:text
        """
    ).graph
    found = Deduplicate().apply(graph, Context())
    assert sum(node.operation == "decode" for node in found.nodes) == calls


@virtual
async def test_a_retry_keeps_its_seed(bench):
    bench.prepared.append(lambda spy: spy.spoil(0, kind="engine"))
    sampled = plan(
        f"""
        input q: text
        {
            call(
                "a",
                "{{ q }}",
                "q=%inputs:q",
                sampling=', "temperature": 1.0',
                decode='{engine = llm, retry = {"max": 1}}',
            )
        }
        output out: text = %a.decode:text
        """
    )
    result = await bench.run(sampled, q="x")
    first, second = bench.spy("llm").submitted
    assert first.sampling == second.sampling
    tokens = ByteTokenizer().encode_chat([{"role": "user", "content": "x"}])
    drawn = answer(tokens, 64, sampling=first.sampling)
    assert result["out"].encode() == bytes(drawn)


def test_a_record_tells_draws_apart():
    """Equal prompts that are sampled otherwise, or have another shape, are other calls."""
    calls = [
        Generate("a", (1, 2), 8, sampling=sampling, grammar=grammar)
        for sampling in (GREEDY, Sampling(1.0, seed=1), Sampling(1.0, seed=2))
        for grammar in (None, Grammar(choices=("x", "y")))
    ]
    assert len({call_key("llm", call) for call in calls}) == 6
    assert call_key("llm", calls[2]._replace(id="b")) == call_key("llm", calls[2])


@virtual
async def test_an_answer_ends_before_a_stop_text(bench):
    whole = reply("x")
    stop = whole[9:12]
    result = await bench.run(asking(f', "stop": ["never", "{stop}"]'), q="x")
    assert result["out"] == whole[: whole.index(stop)]
    assert result.truncated == ()
