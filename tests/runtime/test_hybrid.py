"""Search by embeddings, by words and by both, and only among chunks that a ``where`` allows."""

from textwrap import indent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.compiler.api import compile_workflow
from teola.runtime.errors import ModuleError
from teola.runtime.operations.collections import fused
from teola.runtime.simulation import Workload, poisson, simulate
from tests.runtime.workbench import virtual

FLOW = """
teola: 1
name: found
inputs:
  documents: list<document>
  queries: list<text>
  kinds: {{type: list<text>, default: [html]}}
engines:
  embedder: {{kind: embedder, backend: fake, dimension: 8}}
  store: {{kind: store, backend: fake}}
modules:
  chunks:
    uses: chunk
    inputs: {{documents: inputs.documents}}
    with: {{by: characters, size: 40}}
  indexed: {{uses: index, inputs: {{chunks: chunks.chunks}}, with: {{mode: {index}}}}}
  found:
    uses: search
    inputs: {{queries: inputs.queries, collection: indexed.collection{inputs}}}
    with: {search}
outputs: {{passages: found.passages, count: indexed.count}}
"""
DOCUMENTS = [
    {"name": name, "text": text, "meta": {"type": kind, "year": year}}
    for name, text, kind, year in [
        ("a", "the write-ahead log grows until a checkpoint", "html", 2019),
        ("b", "a checkpoint copies pages of the log", "text", 2021),
        ("c", "a rollback journal is another matter", "html", 2021),
        ("d", "locks are held by readers", "text", 2023),
    ]
]


def flow(tmp_path, index="hybrid", search="{}", inputs="", level="O2"):
    path = tmp_path / "flow.yaml"
    path.write_text(FLOW.format(index=index, search=search, inputs=inputs))
    return compile_workflow(path, level=level)


def names(result):
    return [passage["document"] for passage in result["passages"]]


rankings = st.lists(
    st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8).map(
        lambda ids: [{"id": id_, "text": id_} for id_ in ids]
    ),
    min_size=2,
    max_size=2,
)


@given(rankings=rankings, count=st.integers(0, 10))
def test_fusion_adds_reciprocal_ranks(rankings, count):
    """The score is the sum of 1 / (60 + rank); of equal scores what came first stays first."""
    score = {}
    for ranking in rankings:
        for rank, passage in enumerate(ranking, 1):
            score[passage["id"]] = score.get(passage["id"], 0) + 1 / (60 + rank)
    first = list(score)
    right = sorted(score, key=lambda id_: (-score[id_], first.index(id_)))[:count]
    found = fused(rankings, count)
    assert [passage["id"] for passage in found] == right
    assert [passage["score"] for passage in found] == [score[id_] for id_ in right]
    assert [passage["rank"] for passage in found] == list(range(1, len(right) + 1))


@given(rankings=rankings)
def test_what_both_rankings_have_first_is_first(rankings):
    both = [[{"id": "x", "text": "x"}, *ranking] for ranking in rankings]
    assert fused(both, 1)[0]["id"] == "x"


@pytest.mark.parametrize("level", ["O0", "O1", "O2"])
@virtual
async def test_keywords_find_chunks_with_the_words(bench, tmp_path, level):
    """No embedder is asked for anything."""
    plan = flow(tmp_path, "keyword", "{top_k: 2}", level=level)
    result = await bench.run(plan, documents=DOCUMENTS, queries=["journal", "the checkpoint"])
    assert names(result) == ["c", "b", "a"]
    assert result["count"] == 5
    assert not any(spy.kind == "embedder" and spy.calls for spy in bench.spies)


@virtual
async def test_every_level_finds_the_same(bench, tmp_path):
    """By both: what one of the two rankings has comes before what neither has high up."""
    results = []
    for level in ("O0", "O1", "O2"):
        plan = flow(tmp_path, search="{top_k: 3}", level=level)
        result = await bench.run(plan, documents=DOCUMENTS, queries=["rollback journal", "locks"])
        results.append(result["passages"])
    assert results[0] == results[1] == results[2]
    assert "c" in [passage["document"] for passage in results[0][:2]]
    assert max(passage["score"] for passage in results[0]) <= 2 / 61


@virtual
async def test_a_hybrid_collection_is_searched_by_either(bench, tmp_path):
    words = flow(tmp_path, search="{mode: keyword}")
    result = await bench.run(words, documents=DOCUMENTS, queries=["readers"])
    assert names(result) == ["d"]
    vectors = flow(tmp_path, search="{mode: dense}")
    result = await bench.run(vectors, documents=DOCUMENTS, queries=["readers"])
    assert set(names(result)) == {"a", "b", "c", "d"}


@pytest.mark.parametrize("mode", ["dense", "keyword", "hybrid"])
@virtual
async def test_where_leaves_other_chunks_out(bench, tmp_path, mode):
    """Before the best are taken: what is allowed is found, however near all others are."""
    search = """
      top_k: 1
      where: meta.type in kinds and meta.year >= 2020
    """
    plan = flow(tmp_path, mode, "\n" + indent(search.strip("\n"), ""), ", kinds: inputs.kinds")
    asked = {"documents": DOCUMENTS, "queries": ["a the by"]}
    assert names(await bench.run(plan, **asked)) == ["c"]
    assert names(await bench.run(plan, kinds=[], **asked)) == []
    both = await bench.run(plan, kinds=["text", "html"], **asked)
    assert len(names(both)) == 1


@virtual
async def test_a_collection_has_the_mode_it_was_made_with(bench, tmp_path):
    """One by name, of which the file does not say how it was made."""
    made = tmp_path / "made.yaml"
    made.write_text(
        FLOW.format(index="keyword", search="{}", inputs="")
        .replace(
            "inputs: {chunks: chunks.chunks}",
            "inputs: {chunks: chunks.chunks, collection: inputs.at}",
        )
        .replace("  queries:", "  at: text\n  queries:")
    )
    searched = """
    teola: 1
    name: searched
    inputs: {at: text, query: text}
    engines:
      embedder: {kind: embedder, backend: fake, dimension: 8}
      store: {kind: store, backend: fake}
    modules:
      found: {uses: search, inputs: {query: inputs.query, collection: inputs.at}}
    outputs: {passages: found.passages}
    """
    path = tmp_path / "searched.yaml"
    path.write_text(searched.replace("\n    ", "\n"))
    await bench.run(compile_workflow(made), documents=DOCUMENTS, queries=["log"], at="kb")
    with pytest.raises(ModuleError, match="mode keyword: it cannot be searched by embeddings"):
        await bench.run(compile_workflow(path), at="kb", query="log")


@virtual
async def test_a_search_by_words_of_several_queries_is_one_batch(bench, tmp_path):
    plan = flow(tmp_path, "keyword")
    await bench.run(plan, documents=DOCUMENTS, queries=["log", "locks", "journal"])
    assert bench.spy("store").items("keyword_search") == ["log", "locks", "journal"]


def test_hybrid_search_is_simulated(tmp_path):
    """Simulated stores have both operations, and profiles an entry for each."""
    report = simulate(flow(tmp_path, search="{top_k: 4}"), Workload(poisson(rate=1, count=5)))
    assert report.done == 5
