"""The cost model: sizes, the estimate of one query, its critical path, and the bound."""

import json
import textwrap
from itertools import cycle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teola.compiler.api import compile_workflow
from teola.compiler.check import check
from teola.compiler.cost.bound import bound
from teola.compiler.cost.critical_path import compare, critical_path
from teola.compiler.cost.estimate import estimate
from teola.compiler.cost.profile import Entry, Point, Profiles
from teola.compiler.cost.shapes import Shapes
from teola.compiler.cost.sizes import Sizes, measured_sizes, parse_sizes
from teola.compiler.errors import CompileError
from teola.compiler.graph.expand import expand
from teola.compiler.graph.lowering import lower
from teola.compiler.graph.pgraph import Ref
from teola.compiler.graph.text_parser import parse_graph
from teola.compiler.passes.base import Context
from teola.compiler.passes.pipeline import DEFAULT_PIPELINE, run_pipeline
from teola.compiler.source import Source
from tests.generators import pgraphs, workflows

LEVELS = ("O0", "O2")
WORKFLOWS = Path(__file__).parent.parent.parent / "workflows"

ENGINES = """
    engine llm = {"kind": "llm", "backend": "fake"}
    engine one = {"kind": "llm", "backend": "fake", "max_requests": 1}
    engine emb = {"kind": "embedder", "backend": "fake"}
    engine big = {"kind": "embedder", "backend": "fake", "batch_size": 4}
    engine store = {"kind": "store", "backend": "fake"}
    engine emb2 = {"kind": "embedder", "backend": "fake", "model": "other", "replicas": 2}
    engine llm2 = {"kind": "llm", "backend": "fake", "model": "other", "replicas": 2}
    engine store2 = {"kind": "store", "backend": "fake", "metric": "l2", "replicas": 2}
    input texts: list<text>
    input question: text
"""


def entry(operation, knee, base, item, token=0.0, origin="measured"):
    return Entry(
        operation=operation, knee=knee, base_ms=base, item_ms=item, token_ms=token, origin=origin
    )


PROFILES = Profiles(
    (
        entry("embed", 2, 10, 1),
        entry("search", 4, 2, 1),
        entry("chunk", 1, 1, 5),
        entry("prefill", 1, 20, 0, 0.5),
        entry("decode", 16, 20, 2, origin="structural"),
    ),
    "test",
)

LONGER = Profiles((*PROFILES.entries[:4], entry("decode", 16, 20, 2, 0.125)), "longer")
"""Decoding costs more after a longer context."""


def graph_of(text):
    """A graph from its text form, without the lines that all of these have."""
    whole = "graph g\n" + textwrap.dedent(ENGINES) + textwrap.dedent(text)
    return parse_graph(Source("g.pgraph", whole))


def estimated(text, *sizes):
    graph = graph_of(text)
    return estimate(expand(graph, parse_sizes(sizes, graph)), PROFILES)


def spans(found):
    """Task id -> (start, end)."""
    return {name: (one.start_ms, one.end_ms) for name, one in found.timings.items()}


counts = st.lists(st.integers(1, 4), min_size=5, max_size=5)

SIZES = tuple((items, tokens) for tokens in (4, 16, 40) for items in (1, 2, 3, 8))
uneven = st.lists(st.floats(0.25, 4), min_size=len(SIZES), max_size=len(SIZES))
"""By how much measured batches differ from their line."""


def measured(made, factors):
    """An entry with points beside its line."""
    points = [
        Point(items=n, tokens=t, ms=factor * made.latency_ms(n, t))
        for (n, t), factor in zip(SIZES, factors, strict=True)
    ]
    return Entry(**made.model_dump(exclude={"points"}), points=tuple(points))


def multiplied(graph, replicas):
    """The graph on engines with so many replicas each."""
    engines = dict(zip(graph.engines, cycle(replicas), strict=False))
    return graph.with_(
        engines={
            name: {**graph.engines[name], "replicas": count} for name, count in engines.items()
        }
    )


def call(name, engine="llm", inputs="q=%inputs:question"):
    return f"""
    %{name}.prefill = prefill {inputs} {{engine = {engine}, messages = []}} @{name}
    %{name}.decode = decode state=%{name}.prefill:state {{engine = {engine}}} @{name}
    """


def test_an_engine_batches_up_to_its_knee():
    """Five items by two: 12 + 12 + 11."""
    found = estimated("%a.embed = embed texts=%inputs:texts {engine = emb} @a", "texts=5")
    assert found.total_ms == found.engines["emb"] == found.modules["a"] == 35
    assert found.first_token_ms is None


def test_a_batch_size_counts_before_the_knee():
    """Five items by four: 14 + 11."""
    found = estimated("%a.embed = embed texts=%inputs:texts {engine = big} @a", "texts=5")
    assert found.total_ms == 25


def test_waiting_tasks_share_a_batch():
    """Five items by four: the first batch takes an item of the second task."""
    found = estimated(
        "%a.embed = embed texts=~%inputs:texts {engine = big, group = 3} @a", "texts=5"
    )
    assert spans(found) == {"a.embed#0": (0, 14), "a.embed#1": (0, 25)}


def test_tokens_cost():
    """An entry's ``token_ms`` counts for every token of an item."""
    profiles = Profiles((entry("embed", 8, 10, 1, 0.5),), "test")
    graph = graph_of("%a.embed = embed texts=%inputs:texts {engine = emb} @a")
    sizes = parse_sizes(["texts=3", "texts:tokens=20"], graph)
    assert estimate(expand(graph, sizes), profiles).total_ms == 10 + 3 * (1 + 20 * 0.5)


def test_the_cpu_works_beside_the_engines():
    """Chunking and embedding at once; chunks one after another."""
    found = estimated(
        """
        %c.chunk = chunk documents=~%inputs:texts {group = 1} @c
        %a.embed = embed texts=%inputs:texts {engine = emb} @a
        """,
        "texts=3",
    )
    assert spans(found) == {
        "c.chunk#0": (0, 6),
        "c.chunk#1": (6, 12),
        "c.chunk#2": (12, 18),
        "a.embed": (0, 23),
    }
    assert found.timings["c.chunk#1"].queued
    assert found.timings["c.chunk#1"].cause == "c.chunk#0"


def test_a_call():
    """A prompt of 100 tokens: 70; its prefill gives the first token, ten steps the others."""
    text = call("a") + "output out: text = %a.decode:text"
    found = estimated(text, "a.prefill=100", "a.decode=11")
    assert spans(found) == {"a.prefill": (0, 70), "a.decode": (70, 290)}
    assert found.first_token_ms == 70
    assert found.structural == ("decode on llm",)
    assert found.unknown == ()


def test_calls_run_together():
    """Two prompts in one step: 120; ten steps of two sequences: 240."""
    sizes = [f"{name}.{half}" for name in "ab" for half in ("prefill=100", "decode=11")]
    found = estimated(call("a") + call("b"), *sizes)
    assert found.total_ms == 360
    assert found.engines["llm"] == 360


def test_an_engine_that_runs_one_call_lets_the_other_wait():
    sizes = [f"{name}.{half}" for name in "ab" for half in ("prefill=100", "decode=11")]
    found = estimated(call("a", "one") + call("b", "one"), *sizes)
    assert spans(found)["b.prefill"] == (290, 360)
    assert found.timings["b.prefill"].cause == "a.decode"
    assert found.total_ms == 580


def test_a_call_joins_at_the_next_step():
    """B comes at 100, in the second step of A's decode, which ends at 114; one step with B's
    prompt, seven of both, three of B alone."""
    found = estimated(
        call("a")
        + """
    %e.embed = embed texts=%inputs:texts {engine = emb} @e
    """
        + call("b", inputs="x=%e.embed:embeddings"),
        *("texts=16", "a.prefill=100", "a.decode=11", "b.prefill=100", "b.decode=11"),
    )
    assert spans(found)["e.embed"] == (0, 96)
    assert spans(found)["b.prefill"] == (114, 186)
    assert spans(found)["a.decode"] == (70, 354)
    assert spans(found)["b.decode"] == (186, 420)


def test_long_prompts_are_filled_in_chunks():
    """1,500 tokens are two steps; the base is paid once."""
    found = estimated(call("a"), "a.prefill=1500", "a.decode=1")
    assert found.total_ms == 20 + 1500 * 0.5


WARM = (
    """
    %e.embed = embed texts=%inputs:texts {engine = emb} @e
    %c.partial_prefill = partial_prefill q=%inputs:question \
{engine = llm, hint = "c.prefill", min_new_tokens = 1} @c
    %c.prefill = prefill q=%inputs:question x=%e.embed:embeddings \
{engine = llm, messages = [{"role": "user", "template": "{{ q }} {{ x | join }}"}]} @c
    %c.decode = decode state=%c.prefill:state {engine = llm} @c
    """,
    "texts=4",
    "question=84",
    "c.prefill=200",
    "c.decode=1",
)


def test_a_finished_warm_up_is_saved():
    """The call pays for its new tokens only."""
    slow = Profiles((entry("embed", 1, 100, 0), *PROFILES.entries[3:]), "test")
    graph = graph_of(WARM[0])
    egraph = expand(graph, parse_sizes(WARM[1:], graph))
    hint, prompt = egraph.by_id["c.partial_prefill#0"], egraph.by_id["c.prefill"]
    assert 0 < hint.tokens < prompt.tokens == 200
    found = spans(estimate(egraph, slow))
    assert found["c.partial_prefill#0"] == (0, 20 + hint.tokens * 0.5)
    assert found["c.prefill"] == (400, 420 + (200 - hint.tokens) * 0.5)


def test_a_call_waits_for_its_running_warm_up():
    """It came at 24 and goes on when the warm-up has ended."""
    graph = graph_of(WARM[0])
    egraph = expand(graph, parse_sizes(WARM[1:], graph))
    found = estimate(egraph, PROFILES)
    warm = found.timings["c.partial_prefill#0"]
    timing = found.timings["c.prefill"]
    assert timing.ready_ms == 24
    assert timing.start_ms == warm.end_ms > 24


def test_a_queued_warm_up_is_dropped():
    """Requests go first; when the call comes, its warm-up has not begun."""
    text = call("b") + WARM[0]
    graph = graph_of(text)
    sizes = parse_sizes([*WARM[1:], "b.prefill=1000", "b.decode=1"], graph)
    found = estimate(expand(graph, sizes), PROFILES)
    dropped = found.timings["c.partial_prefill#0"]
    assert dropped.start_ms == dropped.end_ms == 24
    assert found.timings["c.prefill"].end_ms == 520 + 120


def test_free_replicas_share_what_waits():
    """Five items by two on two machines: 12 and 12 at once, then 11."""
    found = estimated("%a.embed = embed texts=%inputs:texts {engine = emb2} @a", "texts=5")
    assert (found.total_ms, found.engines["emb2"]) == (23, 35)


def test_engines_that_differ_in_replicas_are_one():
    """It has as many as the one that has most."""
    graph = graph_of(
        """
        engine more = {"kind": "embedder", "backend": "fake", "replicas": 2}
        %a.embed = embed texts=%inputs:texts {engine = emb} @a
        %b.embed = embed texts=%inputs:texts {engine = more} @b
        """
    )
    found = estimate(expand(graph, parse_sizes(["texts=4"], graph)), PROFILES)
    assert (found.total_ms, found.engines) == (24, {"emb": 48})


def test_a_collection_stays_on_one_replica():
    """Two searches of one collection wait for each other, one of another does not."""
    search = "%{0}.search = search embeddings=%inputs:vectors collection={1} top_k=2 {{engine = \
store2}} @{0}\n"
    graph = graph_of(
        "input vectors: list<embedding>\n"
        + "".join(search.format(*of) for of in (("a", '"kb"'), ("b", '"kb"'), ("c", '"other"')))
    )
    sizes = parse_sizes(["vectors=4"], graph)
    found = estimate(expand(graph, sizes), PROFILES)
    assert spans(found) == {"a.search": (0, 6), "b.search": (6, 12), "c.search": (0, 6)}
    least = bound(graph, sizes, PROFILES).engines["store2"]
    assert (least.work_ms, least.replicas, least.total_ms) == (12, 1, 12)


def test_indexes_without_names_are_different_collections():
    """Each is searched on the replica where it was made."""
    part = """
        %{0}.ingest = ingest chunks=%inputs:chunks embeddings=%inputs:vectors \
{{engine = store2}} @{0}
        %{0}.search = search embeddings=%inputs:vectors collection=%{0}.ingest:collection top_k=2 \
{{engine = store2}} @{0}
        %{0}2.search = search embeddings=%inputs:vectors collection=%{0}.ingest:collection top_k=2 \
{{engine = store2}} @{0}2
    """
    graph = graph_of(
        "input vectors: list<embedding>\ninput chunks: list<chunk>\n"
        + "".join(textwrap.dedent(part.format(name)) for name in "ab")
    )
    profiles = Profiles((entry("ingest", 8, 5, 0), *PROFILES.entries), "test")
    sizes = parse_sizes(["vectors=4", "chunks=4"], graph)
    egraph = expand(graph, sizes)
    found = spans(estimate(egraph, profiles))
    assert {found[f"{name}.ingest"] for name in "ab"} == {(0, 5)}
    assert {found[f"{name}.search"] for name in "ab"} == {(5, 11)}
    assert {found[f"{name}2.search"] for name in "ab"} == {(11, 17)}


def test_calls_go_to_the_replica_with_the_least_to_do():
    """Two calls at once, each alone; the third joins the one whose answer is shorter."""
    sizes = [f"{name}.prefill=100" for name in "abc"]
    sizes += ["a.decode=11", "b.decode=11", "c.decode=5"]
    text = call("a", "llm2") + call("b", "llm2") + call("c", "llm2")
    found = estimated(text, *sizes)
    times = spans(found)
    assert times["b.prefill"] == (0, 70)
    assert times["a.prefill"] == times["c.prefill"] == (0, 120)
    assert found.engines["llm2"] == (120 + 4 * 24 + 6 * 22) + 290


@pytest.mark.parametrize(("busy", "saved"), [(0, True), (1000, False)])
def test_a_call_goes_where_its_prefix_is(busy, saved):
    """Unless what waits there costs more than that saves."""
    slow = Profiles((entry("embed", 1, 100, 0), *PROFILES.entries[3:]), "test")
    more = "" if not busy else call("b", "llm2", "x=%w.embed:embeddings")
    more += "%w.embed = embed texts=%inputs:others {engine = emb2} @w" if busy else ""
    graph = graph_of("input others: list<text>\n" + more + WARM[0].replace("= llm", "= llm2"))
    sizes = ["others=2"] + ([f"b.prefill={busy}", "b.decode=500"] if busy else [])
    egraph = expand(graph, parse_sizes([*WARM[1:], *sizes], graph))
    timing = estimate(egraph, slow).timings["c.prefill"]
    hint = egraph.by_id["c.partial_prefill#0"]
    assert timing.start_ms == 400
    assert timing.end_ms == 420 + (200 - saved * hint.tokens) * 0.5


PIPELINED = """
    %x.prefill = prefill q=%inputs:question {engine = llm, messages = []} @x
    %x.decode = decode state=%x.prefill:state count=2 {engine = llm} @x
    %f.embed = embed texts=EDGE%x.decode:lines {engine = emb GROUP} @f
"""


def test_pipelined_decoding_gains():
    """The first line is embedded while the second is decoded."""
    sizes = ("x.prefill=100", "x.decode=21")
    whole = estimated(PIPELINED.replace("EDGE", "").replace("GROUP", ""), *sizes)
    assert whole.total_ms == 70 + 20 * 22 + 12
    text = PIPELINED.replace("EDGE", "~").replace("GROUP", ", group = 1")
    flowing = estimated(text, *sizes)
    assert spans(flowing)["f.embed#0"] == (70 + 9 * 22, 70 + 9 * 22 + 11)
    assert flowing.total_ms == 70 + 20 * 22 + 11


def test_a_longer_context_costs_more_to_decode():
    """A step costs what its sequences have before them, the answer's own half included."""
    graph = graph_of(call("x"))
    sizes = parse_sizes(["x.prefill=100", "x.decode=21"], graph)
    found = estimate(expand(graph, sizes), LONGER)
    assert found.total_ms == 70 + 20 * (22 + 0.125 * (100 + 21 / 2))
    assert bound(graph, sizes, LONGER).total_ms == found.total_ms


def test_what_has_no_entry_is_named():
    found = estimated(
        """
        %s.score = score passages=%inputs:texts query=%inputs:question {engine = rr} @s
        """.replace("engine = rr", "engine = big"),
        "texts=3",
    )
    assert found.unknown == ("score on big",)
    assert found.total_ms == 0


def test_the_critical_path_has_no_gaps():
    """Two branches, the longer one counts; queueing leads to what the engine did."""
    graph = graph_of(
        """
        %a.embed = embed texts=%inputs:texts {engine = emb} @a
        %b.wrap = wrap value=%inputs:question @b
        %b.embed = embed texts=%b.wrap:items {engine = emb} @b
        %b.search = search embeddings=%b.embed:embeddings collection="kb" top_k=2 \
{engine = store} @b
        """
    )
    egraph = expand(graph, parse_sizes(["texts=4"], graph))
    path = critical_path(egraph, estimate(egraph, PROFILES))
    found = [(one.task, one.from_ms, one.to_ms, one.queued) for one in path.segments]
    assert found == [
        ("a.embed", 0, 24, False),
        ("b.embed", 24, 35, True),
        ("b.search", 35, 38, False),
    ]
    assert path.total_ms == 38
    assert path.primitives == {"a.embed": 24, "b.embed": 11, "b.search": 3}
    assert compare(path, path)[0] == ("a.embed", 24, 24)


def test_the_bound():
    """C: one item through each stage; the embedder: all its items in batches of two, then one
    search."""
    graph = graph_of(
        """
        %a.embed = embed texts=%inputs:texts {engine = emb} @a
        %a.search = search embeddings=%a.embed:embeddings collection="kb" top_k=2 \
{engine = store} @a
        """
    )
    found = bound(graph, parse_sizes(["texts=8"], graph), PROFILES)
    assert found.path_ms == 11 + 3
    assert found.engines["emb"].work_ms == 4 * 12
    assert found.engines["emb"].tail_ms == 3
    assert (found.engines["store"].head_ms, found.engines["store"].work_ms) == (11, 12)
    assert found.total_ms == 4 * 12 + 3


def test_the_bound_of_calls_and_without_order_edges():
    """Order edges do not count; decodes run together at best."""
    text = call("a") + call("b") + "order %a.decode -> %b.prefill"
    graph = graph_of(text)
    sizes = [f"{name}.{half}" for name in "ab" for half in ("prefill=100", "decode=11")]
    found = bound(graph, parse_sizes(sizes, graph), PROFILES)
    assert found.path_ms == 290
    assert found.engines["llm"].work_ms == 120 + 240
    assert found.total_ms == 360


def test_replicas_divide_the_work_of_the_bound():
    """But neither the path nor what is before and after."""
    graph = graph_of(
        """
        %a.embed = embed texts=%inputs:texts {engine = emb2} @a
        %a.search = search embeddings=%a.embed:embeddings collection="kb" top_k=2 \
{engine = store2} @a
        """
    )
    found = bound(graph, parse_sizes(["texts=8"], graph), PROFILES)
    assert found.path_ms == 11 + 3
    embedding, searching = found.engines["emb2"], found.engines["store2"]
    assert (embedding.work_ms, embedding.replicas, embedding.total_ms) == (48, 2, 24 + 3)
    assert (searching.work_ms, searching.replicas, searching.total_ms) == (12, 1, 11 + 12)


def test_a_collection_is_complete_before_it_is_searched():
    """The plain formula lets the call begin after one item; but all eight are embedded before the
    search, and then the call is still to come."""
    graph = graph_of(
        """
        %a.embed = embed texts=%inputs:texts {engine = emb} @a
        %a.ingest = ingest chunks=%inputs:texts embeddings=%a.embed:embeddings {engine = store} @a
        %q.embed = embed texts=["q"] {engine = big} @q
        %q.search = search embeddings=%q.embed:embeddings collection=%a.ingest:collection \
top_k=2 {engine = store} @q
        """
        + call("c", inputs="x=%q.search:hits"),
    )
    sizes = parse_sizes(["texts=8", "c.prefill=100", "c.decode=11"], graph)
    plain = bound(graph, sizes, PROFILES, path_only=True)
    assert plain.path_ms == 11 + 3 + 290
    assert plain.engines["emb"].total_ms == 48 + 3 + 290
    found = bound(graph, sizes, PROFILES)
    store = found.engines["store"]
    assert (store.head_ms, store.work_ms, store.tail_ms) == (48, 3, 290), "of ingest and search"
    assert found.path_ms == 48 + 3 + 290


def test_the_bound_of_some_of_an_engines_work():
    """A call that needs all embeddings begins after them, though a warm-up and a call that need
    none could begin at once: what comes late is what counts."""
    text = """
    %a.embed = embed texts=%inputs:texts {engine = emb} @a
    """
    late = [call(name, inputs="x=%a.embed:embeddings") for name in "bc"]
    graph = graph_of(text + call("early") + late[0] + late[1])
    sizes = [
        f"{one}.{half}" for one in ("early", "b", "c") for half in ("prefill=100", "decode=11")
    ]
    found = bound(graph, parse_sizes(["texts=32", *sizes], graph), PROFILES)
    assert found.engines["llm"].head_ms == 16 * 12
    assert found.engines["llm"].work_ms == 120 + 240
    plain = bound(graph, parse_sizes(["texts=32", *sizes], graph), PROFILES, path_only=True)
    assert plain.engines["llm"].head_ms == 0
    assert plain.engines["llm"].work_ms == pytest.approx(170 + 260)


def test_calls_that_follow_on_one_another_are_not_batched():
    """Three calls, each needing the one before, and a warm-up beside them: their decodes take the
    latency of one."""
    text = call("a") + call("b", inputs="x=%a.decode:text") + call("c", inputs="x=%b.decode:text")
    graph = graph_of(text)
    sizes = [f"{name}.{half}" for name in "abc" for half in ("prefill=100", "decode=11")]
    found = bound(graph, parse_sizes(sizes, graph), PROFILES)
    assert found.engines["llm"].work_ms == found.path_ms == 3 * 290


@given(
    pgraphs(),
    st.integers(0, 5),
    st.lists(st.sampled_from(DEFAULT_PIPELINE), unique=True),
    st.integers(1, 4),
    counts,
    st.lists(st.none() | uneven, min_size=7, max_size=7),
    st.booleans(),
)
def test_no_schedule_beats_the_bound(graph, items, passes, knee, replicas, factors, paged):
    """For any subset and order of passes, any replicas and whatever was measured beside the line;
    and the same graph has the same estimate, the critical path of which has no gaps."""
    if paged:
        engines = {name: {**own, "kv_page_tokens": 4} for name, own in graph.engines.items()}
        graph = graph.with_(engines=engines)
    graph = multiplied(graph, replicas)
    entries = (
        entry("embed", knee, 10, 3, 0.25),
        entry("score", knee, 5, 1),
        entry("ingest", 3, 1, 2),
        entry("search", 2, 2, 1),
        *LONGER.entries[3:],
    )
    entries = [
        one if beside is None else measured(one, beside)
        for one, beside in zip(entries, factors, strict=False)
    ]
    profiles = Profiles(tuple(entries), "test")
    optimised, _ = run_pipeline(graph, passes, Context(profiles))
    sizes = Sizes({"texts": items, "passages": items})
    egraph = expand(optimised, sizes)
    found = estimate(egraph, profiles)
    assert found == estimate(egraph, profiles)
    least = bound(optimised, sizes, profiles).total_ms
    assert found.total_ms >= least - 1e-6
    assert least >= bound(optimised, sizes, profiles, path_only=True).total_ms - 1e-6
    assert all(one.end_ms >= one.start_ms >= one.ready_ms for one in found.timings.values())
    for task in egraph.tasks:
        ends = [found.timings[name].end_ms for name in task.after]
        assert found.timings[task.id].ready_ms >= max(ends, default=0) - 1e-6
    at = 0.0
    for segment in critical_path(egraph, found).segments:
        assert segment.from_ms == pytest.approx(at)
        at = segment.to_ms
    assert at == found.total_ms


@given(st.integers(1, 12), st.integers(1, 8), st.integers(1, 50), uneven, uneven)
def test_no_batches_beat_the_bound(items, knee, tokens, embedding, decoding):
    """Be it that big batches were measured to be dear, or small ones; nor do calls side by side."""
    text = "%a.embed = embed texts=%inputs:texts {engine = emb} @a"
    graph = graph_of(text + call("b") + call("c") + call("d", inputs="x=%b.decode:text"))
    entries = (
        measured(entry("embed", knee, 10, 3, 0.25), embedding),
        entry("prefill", 1, 0, 0, 0.01),
        measured(LONGER.entries[-1], decoding),
    )
    profiles = Profiles(entries, "uneven")
    calls = [f"{name}.{half}" for name in "bcd" for half in ("prefill", "decode")]
    for texts, length in ((items, 0), (0, tokens)):
        sizes = Sizes({"texts": texts}, {"texts": tokens, **dict.fromkeys(calls, length)})
        found = estimate(expand(graph, sizes), profiles)
        assert found.total_ms >= bound(graph, sizes, profiles).total_ms - 1e-6


@settings(max_examples=40)
@given(workflows(modules=12), st.integers(0, 3), st.integers(0, 12), counts, st.none() | uneven)
def test_no_schedule_of_a_workflow_beats_the_bound(text, documents, chunks, replicas, factors):
    """Unoptimised and optimised, whatever the sizes of its lists, on any replicas, with batches as
    the line says and others."""
    modules, _ = check(Source("w.yaml", text))
    profiles = LONGER
    if factors is not None:
        profiles = Profiles(tuple(measured(one, factors) for one in LONGER.entries), "uneven")
    for passes in ((), DEFAULT_PIPELINE):
        source = multiplied(lower(modules), replicas)
        graph, _ = run_pipeline(source, passes, Context(profiles))
        names = [f"{node.id}:chunks" for node in graph.nodes if node.id.endswith(".chunk")]
        sizes = Sizes({"documents": documents, **dict.fromkeys(names, chunks)})
        found = estimate(expand(graph, sizes), profiles)
        assert found.total_ms >= bound(graph, sizes, profiles).total_ms - 1e-6


@pytest.mark.parametrize("name", ["naive_rag", "advanced_rag"])
def test_passes_gain_on_the_workflows(name):
    """bound <= -O2 <= -O0 on the shipped profiles."""
    plan = {level: compile_workflow(WORKFLOWS / f"{name}.yaml", level=level) for level in LEVELS}
    sizes = Sizes({"documents": 46, "chunks.chunk:chunks": 320})
    totals = [estimate(expand(plan[level].graph, sizes)).total_ms for level in LEVELS]
    assert bound(plan["O2"].graph, sizes).total_ms <= totals[1] < totals[0]


def test_sizes_are_read():
    """Items, tokens, and what a primitive's id alone means."""
    taken = "    %t.take = take items=%f.embed:embeddings @t\n"
    graph = graph_of(PIPELINED.replace("EDGE", "").replace("GROUP", "") + taken)
    found = parse_sizes(
        [
            "texts = 4",
            "texts:tokens=9",
            "question=7",
            "x.decode=32",
            "x.decode:lines=5",
            "f.embed=6",
        ],
        graph,
    )
    assert found.items == {"texts": 4, "x.decode:lines": 5, "f.embed:embeddings": 6}
    assert found.tokens == {"texts": 9, "question": 7, "x.decode": 32}
    assert parse_sizes(["x.decode:tokens=8"], graph).tokens == {"x.decode": 8}
    assert found.updated(Sizes({"texts": 1})).items["texts"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("texts", "cannot read the size 'texts': write NAME=N"),
        ("texts=-1", "write NAME=N"),
        ("text=4", "did you mean 'texts'.*texts, .*question.*x.decode"),
        ("nothing:tokens=4", "names nothing of this workflow"),
        ("x.prefill:state=3", "names nothing of this workflow"),
        ("x.decode:json_list=3", "names nothing of this workflow: did you mean"),
        ("f.embed=6", "names nothing of this workflow"),
    ],
)
def test_sizes_that_cannot_be(text, message):
    graph = graph_of(PIPELINED.replace("EDGE", "").replace("GROUP", ""))
    with pytest.raises(CompileError, match=message):
        parse_sizes([text], graph)


def test_sizes_that_are_not_given_are_derived():
    """From constants, bounds and configs."""
    graph = graph_of(
        """
        %c.chunk = chunk documents=%inputs:texts {size = 10, overlap = 2} @c
        %e.embed = embed texts=%c.chunk:chunks {engine = emb} @e
        %s.search = search embeddings=%e.embed:embeddings collection="kb" top_k=4 \
{engine = store} @s
        %f.flatten = flatten items=%s.search:hits @f
        %t.take = take items=%f.flatten:items {start = 1} @t
        %w.windows = windows items=%t.take:items {size = 2} @w
        """
    )
    shapes = Shapes(graph, parse_sizes(["texts=3", "texts:tokens=16"], graph))
    found = {
        ref: shapes.of(Ref(*ref.split(":"))).dims
        for ref in (
            "c.chunk:chunks",
            "e.embed:embeddings",
            "s.search:hits",
            "f.flatten:items",
            "t.take:items",
            "w.windows:windows",
        )
    }
    assert list(found.values()) == [(6,), (6,), (6, 4), (24,), (23,), (12, 2)]
    assert shapes.of(Ref("c.chunk", "chunks")).tokens == 10


def test_sizes_are_measured():
    """Lists from the items that were taken, tokens from the calls, means over iterations."""
    graph = graph_of(
        """
        %e.embed = embed texts=%inputs:texts {engine = emb} @e
        %r = each items=%e.embed:embeddings -> text=%r.decode:text @r [
          %r.prefill = prefill q=%inputs:question {engine = llm, messages = []} @r
          %r.decode = decode state=%r.prefill:state {engine = llm} @r
        ]
        """
    )
    calls = [
        {"primitive": "r.decode", "path": [f"r[{n}]"], "items": 0, **tokens}
        for n, tokens in enumerate(
            [
                {"prompt_tokens": 10, "completion_tokens": 4},
                {"prompt_tokens": 20, "completion_tokens": 8},
            ]
        )
    ]
    run = {
        "timeline": [
            {"primitive": "e.embed", "items": 2, "item_tokens": 30, "emitted": {"embeddings": 2}},
            {"primitive": "gone", "items": 2},
            *calls,
        ],
        "usage": {"requests": 2, "prompt_tokens": 30, "completion_tokens": 12},
    }
    found = measured_sizes(json.loads(json.dumps(run)), graph)
    assert found.origin == "measured"
    assert found.items == {"texts": 2, "e.embed:embeddings": 2}
    assert found.tokens == {"texts": 30, "r.prefill": 15, "r.decode": 6}


def test_tokens_of_a_run_are_shared_out():
    """Where the timeline does not tell, every call has the mean."""
    graph = graph_of(call("a"))
    usage = {"requests": 2, "prompt_tokens": 30, "completion_tokens": 12}
    found = measured_sizes({"timeline": [], "usage": usage}, graph)
    assert found.tokens == {"a.prefill": 15, "a.decode": 6}


def warmed_tokens(engine):
    """The tokens of the only warm-up, on an engine."""
    messages = 'messages = [{"role": "user", "template": "{{ q }}{{ x }}"}]'
    calls = call("c", engine=engine, inputs="q=%inputs:question x=%e.embed:embeddings")
    graph = graph_of(
        """
        engine paged = {"kind": "llm", "backend": "fake", "kv_page_tokens": 32}
        %e.embed = embed texts=%inputs:texts {engine = emb} @e
        """
        + calls.replace("messages = []", messages)
        + f"%c.partial_prefill = partial_prefill q=%inputs:question {{engine = {engine}, "
        'hint = "c.prefill", min_new_tokens = 1} @c'
    )
    egraph = expand(graph, parse_sizes(["question=84", "texts=1", "c.prefill=200"], graph))
    (hint,) = (task for task in egraph.tasks if task.form == "hint")
    return hint.tokens


def test_a_warm_up_leaves_whole_pages():
    """Less the last eight tokens, which are unsure."""
    known = warmed_tokens("llm")
    assert 0 < warmed_tokens("paged") == (known - 8) // 32 * 32 < known
