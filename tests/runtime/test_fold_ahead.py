"""Folds whose iterations are begun before their turn."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.runtime.errors import ModuleError
from teola.runtime.events import ModuleProgress, TextDelta
from teola.runtime.simulation.clock import pass_time
from tests.runtime.workbench import call, plan, result_of, virtual

NEXT = "s=%r.fold:state v=%r.view.decode:text n=%r.fold:index"


def fold(ahead=8, *, stream=False, body="", **engines):
    """Each iteration looks at its item (which needs no state), then changes the text before it."""
    config = f"ahead = {ahead}" if ahead else ""
    return plan(
        f"""
        input xs: list<text>
        input q: text
        input ps: list<passage> = []
        {call("r.first", "start {{ q }}", "q=%inputs:q")}
        %r.fold = fold items={"~" if stream else ""}%inputs:xs initial=%r.first.decode:text \
            {{{config}}} -> text=%r.next.decode:text @r [
            {call("r.view", "look at {{ x }}", "x=%r.fold:item")}
            {call("r.next", "{{ s }}/{{ v }}/{{ n }}", NEXT)}
            {body}
        ]
        output out: text = %r.fold:text
        """,
        **engines,
    )


def items(count):
    return [f"item {index}" for index in range(count)]


@pytest.mark.parametrize("length", [0, 1, 2, 5, 12])
@pytest.mark.parametrize("ahead", [1, 3, 8])
@pytest.mark.parametrize("stream", [False, True])
@virtual
async def test_the_result_is_the_same(bench, length, ahead, stream):
    """Outputs, usage and the paths of the timeline are those of one iteration after another."""
    inputs = {"xs": items(length), "q": "why"}
    found, expected = [
        await bench.run(fold(number, stream=stream), share=False, **inputs) for number in (ahead, 0)
    ]
    assert found["out"] == expected["out"]
    assert found.usage == expected.usage
    names = [sorted((e.primitive, e.path) for e in r.timeline) for r in (found, expected)]
    assert names[0] == names[1]


@virtual
async def test_what_needs_no_state_starts_early(bench):
    """With the items, before the initial is there; at most `ahead` beyond the one that runs."""
    source = fold(2, llm={"latency_ms": 1000})
    result = await bench.run(source, xs=items(5), q="why")
    began = {e.path: e.started_s for e in result.timeline if e.primitive == "r.view.decode"}
    turns = {e.path: e.started_s for e in result.timeline if e.primitive == "r.next.decode"}
    assert [began[f"r.fold[{n}]",] for n in range(3)] == [0, 0, 0]
    for number in (3, 4):
        before = (f"r.fold[{number - 3}]",)
        (ended,) = [
            e.ended_s for e in result.timeline if (e.primitive, e.path) == ("r.next.decode", before)
        ]
        assert began[f"r.fold[{number}]",] == ended
    assert sorted(turns.values()) == [turns[f"r.fold[{n}]",] for n in range(5)]


@virtual
async def test_progress_and_the_last_text_are_told_as_before(bench):
    """Iterations are counted in order, and the last one's text leaves while it is decoded."""
    events = await bench.events(fold(llm={"latency_ms": 1000}), xs=items(4), q="why")
    done = [event.done for _, event in events if isinstance(event, ModuleProgress)]
    assert done == [1, 2, 3, 4]
    times = [at for at, event in events if isinstance(event, TextDelta)]
    assert len(times) > 2
    assert times[-1] == events[-1][0]
    texts = [event.text for _, event in events if isinstance(event, TextDelta)]
    assert "".join(texts) == result_of(events)["out"]


@virtual
async def test_equal_content_is_shared_as_before(bench):
    """A query over the same items computes nothing again; one over other items what differs."""
    async with bench.runner(fold(llm={"latency_ms": 100})) as runner:
        one, same, other = await asyncio.gather(
            runner.run(xs=items(3), q="why"),
            runner.run(xs=items(3), q="why"),
            runner.run(xs=items(4), q="why"),
        )
    assert one["out"] == same["out"] != other["out"]
    assert len(bench.spy("llm").submitted) == 1 + 2 * 3 + 2 * 4


@virtual
async def test_iterations_that_write_keep_their_order(bench):
    """A body that changes a named collection is never begun before its turn."""
    body = """
            %r.wrap = wrap value=%r.fold:item @r
            %r.embed = embed texts=%r.wrap:items {engine = emb} @r
            %r.chunks = distinct items=%inputs:ps @r
            %r.ingest = ingest chunks=%r.chunks:items embeddings=%r.embed:embeddings \
                collection="kb" {engine = store, named = true} @r
    """
    source = fold(8, body=body, llm={"latency_ms": 1000})
    chunks = [{"id": "p", "text": "a", "document": "d"}]
    result = await bench.run(source, xs=items(3), q="why", ps=chunks)
    began = [e.started_s for e in result.timeline if e.primitive == "r.view.decode"]
    assert len(set(began)) == 3


@virtual
async def test_a_failing_iteration_fails_the_query(bench):
    """Whenever it fails, nothing of the others stays."""
    with pytest.raises(ModuleError, match="item 3"):
        await bench.run(fold(llm={"latency_ms": 10, "fail_items": ["item 3"]}), xs=items(6), q="q")


@pytest.mark.parametrize("at_ms", range(0, 1500, 90))
@virtual
async def test_a_cancelled_fold_leaves_nothing(bench, at_ms):
    """At any time; the neighbour that shares its runs goes on."""
    async with bench.runner(fold(llm={"latency_ms": 50})) as runner:
        first = asyncio.ensure_future(runner.run(xs=items(3), q="why"))
        await pass_time(0.04)
        second = asyncio.ensure_future(runner.run(xs=items(4), q="why"))
        await pass_time(at_ms / 1000)
        first.cancel()
        results = await asyncio.gather(first, second, return_exceptions=True)
        alone = await runner.run(xs=items(4), q="why")
    assert results[1]["out"] == alone["out"]


@given(
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=3),
    ahead=st.integers(1, 8),
    latency=st.sampled_from([0, 7, 100]),
    slots=st.integers(1, 4),
)
def test_many_folds_at_once_are_each_as_alone(lengths, ahead, latency, slots):
    """Shared or not, with any engine."""

    @virtual
    async def run(bench):
        engine = {"llm": {"latency_ms": latency, "max_requests": slots}}
        alone = [
            (await bench.run(fold(0), share=False, xs=items(n), q="why"))["out"] for n in lengths
        ]
        for share in (True, False):
            async with bench.runner(fold(ahead, **engine), share=share) as runner:
                found = await asyncio.gather(*(runner.run(xs=items(n), q="why") for n in lengths))
            assert [result["out"] for result in found] == alone

    run()
