"""Live progress: a module counts the items of the whole list, however it is cut."""

from itertools import pairwise

import pytest

from teola.compiler.api import compile_workflow
from teola.runtime.events import ModuleProgress
from tests.runtime.workbench import call, plan, virtual

FAKES = [
    f"engines.{name}={{kind: {name}, backend: fake, latency_ms: 100}}"
    for name in ("llm", "embedder", "reranker", "store")
]
DOCUMENTS = [
    {"name": f"d{number}", "text": " ".join(f"word{number * n}" for n in range(400 * number))}
    for number in (1, 2, 3)
]
STREAMED = """
    input texts: list<text>
    %e.embed = embed texts=~%inputs:texts {engine = emb, group = 2} @e
    output vectors: list<embedding> = %e.embed:embeddings
"""


def counts(events, module):
    """What was told of a module."""
    told = (event for _, event in events if isinstance(event, ModuleProgress))
    return [(event.done, event.total) for event in told if event.module == module]


@pytest.mark.parametrize("level", ["O0", "O1", "O2"])
@virtual
async def test_a_module_ends_with_all_items_of_all(bench, level):
    """At every level a count ends with `n/n`, goes back at most where a second primitive of the
    module begins to count, and never has another total than the list's length."""
    source = compile_workflow("advanced_rag", level=level, sets=FAKES)
    events = await bench.events(source, question="Which?", documents=DOCUMENTS)
    chunks = len(bench.spy("store").items("ingest"))
    passages = len(bench.spy("reranker").items("score"))
    assert chunks > 64
    for module, length in {"indexed": chunks, "found": 4, "best": passages}.items():
        told = counts(events, module)
        assert told[-1] == (length, length)
        assert {total for _, total in told} <= {None, length}
        steps = pairwise(told)
        assert sum(after < before for (before, _), (after, _) in steps) <= 1


@virtual
async def test_a_stream_counts_over_its_groups(bench):
    """The total is that of the list, not of a group."""
    source = plan(STREAMED, emb={"batch_size": 2, "latency_ms": 100})
    events = await bench.events(source, texts=[str(n) for n in range(5)])
    assert dict.fromkeys(counts(events, "e")) == dict.fromkeys([(2, 5), (4, 5), (5, 5)])


@virtual
async def test_groups_of_one_item_count_too(bench):
    """They were left out before."""
    source = plan(STREAMED.replace("group = 2", "group = 1"), emb={"batch_size": 1})
    events = await bench.events(source, texts=["a", "b", "c"])
    assert dict.fromkeys(counts(events, "e")) == dict.fromkeys([(1, 3), (2, 3), (3, 3)])


@virtual
async def test_the_total_is_open_while_the_list_grows(bench):
    """As long as nobody knows how many items come, nobody says so; at the end it is told."""
    lines = 'count=3 {engine = llm, output = {"shape": "lines"}}'
    source = plan(
        f"""
        input q: text
        {call("a", "{{ q }}", "q=%inputs:q", decode=lines)}
        %e.embed = embed texts=~%a.decode:lines {{engine = emb, group = 1}} @e
        output vectors: list<embedding> = %e.embed:embeddings
        """,
        llm={"latency_ms": 1000},
    )
    told = counts(await bench.events(source, q="Which?"), "e")
    assert (told[0], told[-1]) == ((1, None), (3, 3))
    assert sorted(told, key=lambda count: count[0]) == told


@virtual
async def test_equal_items_are_done_together(bench):
    """What is computed once counts as often as it stands in the list."""
    source = plan(STREAMED, emb={"batch_size": 8})
    events = await bench.events(source, texts=["a", "a", "b", "a", "a"])
    assert counts(events, "e")[-1] == (5, 5)


@pytest.mark.parametrize("texts", [[], ["a"]])
@virtual
async def test_one_item_or_none_is_no_progress(bench, texts):
    """There is nothing to count."""
    assert counts(await bench.events(plan(STREAMED), texts=texts), "e") == []


@virtual
async def test_a_retried_item_counts_once(bench):
    """Progress counts what is done, not what was tried."""

    async def fail_first(_):
        bench.spy("embedder").before_run = None
        raise RuntimeError("once")

    bench.prepared.append(lambda spy: setattr(spy, "before_run", fail_first))
    source = plan(STREAMED.replace("group = 2", 'group = 2, retry = {"max": 1}'))
    events = await bench.events(source, texts=["a", "b", "c"])
    assert counts(events, "e")[-1] == (3, 3)
    assert max(done for done, _ in counts(events, "e")) == 3
