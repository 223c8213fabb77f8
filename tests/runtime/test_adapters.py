"""Adapters: calls of one engine that different weights answer share nothing but the engine."""

import asyncio

from teola.compiler.passes.base import Context
from teola.compiler.passes.deduplicate import Deduplicate
from teola.runtime.engines.fakes.llm import answer
from teola.runtime.engines.protocol import Generate
from teola.runtime.engines.tokenizer import ByteTokenizer
from teola.runtime.errors import Place
from teola.runtime.limits import Limits
from teola.runtime.llm.prefixes import Prefixes
from teola.runtime.llm.task import LLMTask
from teola.runtime.record import call_key
from teola.runtime.refused import Refused
from teola.runtime.sent import Sent
from teola.runtime.simulation.clock import run_virtually
from tests.runtime.llm_desk import Caller, Desk, prompt
from tests.runtime.workbench import call, plan, virtual

NAMES = {"one": "x", "two": "y"}
TOKENS = ByteTokenizer().encode_chat([{"role": "user", "content": "x"}])


def asked(name, adapter):
    """A call of a module, with an adapter or none."""
    lines = call(name, "{{ q }}", "q=%inputs:q")
    more = (
        f'{{engine = llm, adapter = "{adapter}", messages' if adapter else "{engine = llm, messages"
    )
    return lines.replace("{engine = llm, messages", more)


def asking(*adapters, **llm):
    """The same question to each of them."""
    names = "abcd"[: len(adapters)]
    lines = "\n".join(asked(name, one) for name, one in zip(names, adapters, strict=True))
    lines += "".join(f"\noutput {name}: text = %{name}.decode:text" for name in names)
    return plan("input q: text\n" + lines, llm={"adapters": NAMES, **llm})


@virtual
async def test_a_call_is_answered_by_the_adapter_that_its_module_names(bench):
    """In one run; and calls without one by the model alone."""
    result = await bench.run(asking(None, "one", "two"), q="x")
    wanted = [answer(TOKENS, 64, adapter=one) for one in (None, "one", "two")]
    assert [result[name].encode() for name in "abc"] == [bytes(one) for one in wanted]
    assert [one.adapter for one in bench.spy("llm").submitted] == [None, "one", "two"]


@virtual
async def test_queries_share_calls_of_one_adapter_only(bench):
    """Equal questions at once: one call for each adapter."""
    async with (
        bench.runner(asking("one", latency_ms=1000)) as one,
        bench.runner(asking("two", latency_ms=1000)) as two,
    ):
        runs = [runner.run(q="x") for runner in (one, two, one, two)]
        results = await asyncio.gather(*runs)
    assert len(bench.spy("llm").submitted) == 2
    assert results[0]["a"] == results[2]["a"] != results[1]["a"] == results[3]["a"]


def test_no_call_is_merged_with_that_of_another_adapter():
    graph = asking("one", "two", "one").graph
    found = Deduplicate().apply(graph, Context())
    assert sum(node.operation == "decode" for node in found.nodes) == 2


def test_prompts_of_two_adapters_have_no_block_in_common():
    prefixes = Prefixes(16, 1024)
    tokens = list(range(64))
    marks = [prefixes.marks(tokens, one) for one in (None, "one", "two")]
    prefixes.add(marks[1])
    assert [prefixes.cached(one) for one in marks] == [0, 4, 0]


def played(scene):
    """Run a scene before a scripted engine."""

    async def main():
        await scene(Desk())

    run_virtually(main())


async def send(desk, tokens, adapter):
    """Queue a call for an adapter."""
    place, limits = Place("w", "m", 1, "m.decode", "llm"), Limits()
    task = LLMTask(tokens, 4, False, place, limits, Caller(), adapter)
    desk.scheduler.submit(task)
    await desk.turn()


def test_nobody_waits_for_a_prefix_that_another_adapter_computes():
    """Who begins alike with the same one does."""

    async def scene(desk):
        for adapter in ("one", "two", "one"):
            await send(desk, prompt(("A", 20)), adapter)
        assert [one.adapter for one in desk.sent] == ["one", "two"]
        await desk.answer(0, end=False)
        assert [one.adapter for one in desk.sent] == ["one", "two", "one"]
        await desk.answer(0, 1, 2)

    played(scene)


def test_a_warm_up_is_for_its_adapter_alone():
    """One prefix is warmed once for each; a call of another adapter does not use it."""

    async def scene(desk):
        owners = [await desk.warm(prompt(("A", 8)), adapter=one) for one in ("one", "two", "one")]
        await desk.answer(0)
        await desk.answer(1)
        assert [(one.warm, one.adapter) for one in desk.sent] == [(True, "one"), (True, "two")]
        await send(desk, prompt(("A", 20)), "two")
        assert desk.counts == {"sent": 2, "used": 1}
        await desk.answer(2)
        for owner in owners:
            await desk.leave(owner)

    played(scene)


LATE = "q=%inputs:q t=%a.decode:text"
WARM = """
    %b.warm = partial_prefill q=%inputs:q \
        {engine = llm, hint = "b.prefill", min_new_tokens = 1} @b
"""


@virtual
async def test_a_warm_up_of_a_plan_has_the_adapter_of_its_call(bench):
    """What is known early of a prompt is computed with the weights that will answer it."""
    late = asked("b", "two").replace("{{ q }}", "{{ q }} {{ t }}").replace("q=%inputs:q", LATE)
    lines = (asked("a", "one"), " ".join(WARM.replace("\\", "").split()), late)
    body = "\n".join(["input q: text", *lines, "output out: text = %b.decode:text"])
    await bench.run(plan(body, llm={"adapters": NAMES, "latency_ms": 100}), q="what? " * 40)
    sent = {(one.warm, one.adapter) for one in bench.spy("llm").submitted}
    assert sent == {(False, "one"), (True, "two"), (False, "two")}


def test_a_record_and_refusals_tell_adapters_apart():
    """An equal prompt to other weights is another call."""
    calls = [Generate("a", (1, 2), 8, adapter=one) for one in (None, "one", "two")]
    assert len({call_key("llm", one) for one in calls}) == 3

    async def refused():
        place, limits = Place("w", "m", 1, "m.decode", "llm"), Limits()
        tasks = [LLMTask([1, 2], 4, False, place, limits, Caller(), one) for one in ("one", "two")]
        known = Refused()
        known.add(Sent(tasks[0], (0,), 0))
        found = [known.of(Sent(task, (0,), 0)) for task in tasks]
        for task in tasks:
            task.cancel()
        return found

    assert run_virtually(refused()) == [[0], []]
