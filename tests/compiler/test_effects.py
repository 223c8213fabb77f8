"""Effects: who touches one resource, one of them writing, keeps the order of the chain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.compiler.graph.effects import effect_edges, effects
from teola.compiler.graph.operations import same_resource
from teola.compiler.graph.text import parse_graph
from teola.compiler.source import Source

HEAD = """graph g
engine emb = {"kind": "embedder", "backend": "fake"}
engine store = {"kind": "store", "backend": "fake"}
engine other = {"kind": "store", "backend": "fake", "model": "other"}
engine alias = {"kind": "store", "backend": "fake"}
engine more = {"kind": "store", "backend": "fake", "replicas": 2}
input cs: list<chunk>
input vs: list<embedding>
input name: text
input xs: list<text>
"""


def write(id_, where, store="store"):
    """An ingest into ``where``; a text, a reference, or nothing."""
    words = {"": "", "?": "collection=%inputs:name "}.get(where, f'collection="{where}" ')
    named = ", named = true" if where == "?" else ""
    attributes = f"{{engine = {store}{named}}}"
    return f"%{id_} = ingest chunks=%inputs:cs embeddings=%inputs:vs {words}{attributes}"


def read(id_, where, store="store"):
    """A search in ``where``."""
    operand = "%inputs:name" if where == "?" else f'"{where}"'
    named = ", named = true" if where == "?" else ""
    attributes = f"{{engine = {store}{named}}}"
    return f"%{id_} = search embeddings=%inputs:vs collection={operand} top_k=1 {attributes}"


def edges(*lines):
    """The effect edges of a graph, as pairs."""
    graph = parse_graph(Source("g", HEAD + "\n".join(lines)))
    return {(edge.source, edge.target) for edge in effect_edges(graph.nodes, graph.engines)}


PAIRS = [
    (read("a", "kb"), read("b", "kb"), False),
    (write("a", "kb"), read("b", "kb"), True),
    (read("a", "kb"), write("b", "kb"), True),
    (write("a", "kb"), write("b", "kb"), True),
    (write("a", "kb"), read("b", "other"), False),
    (write("a", "kb"), write("b", "other"), False),
    (write("a", "kb"), read("b", "kb", "other"), False),
    (write("a", "?"), read("b", "kb"), True),
    (write("a", "kb"), read("b", "?"), True),
    (write("a", "?"), write("b", "?"), True),
    (read("a", "?"), read("b", "?"), False),
    (write("a", "?"), read("b", "kb", "other"), False),
    (write("a", ""), read("b", "kb"), False),
    (write("a", ""), read("b", "?"), False),
    (write("a", ""), write("b", ""), False),
]


@pytest.mark.parametrize(("first", "second", "conflict"), PAIRS)
def test_conflicts_keep_chain_order(first, second, conflict):
    """Read after write, write after read, write after write; a name known only at run time means
    every named collection of its store; an unnamed one is touched by nobody else."""
    assert edges(first, second) == ({("a", "b")} if conflict else set())


def test_two_names_of_one_engine_are_one_store():
    """Equal definitions are one engine: what is written through one name is read through the
    other."""
    assert edges(write("a", "kb"), read("b", "kb", "alias")) == {("a", "b")}
    assert edges(write("a", "kb"), read("b", "kb", "more")) == {("a", "b")}


def test_every_conflict_in_a_chain_has_its_edge():
    """Between any two that conflict, not only neighbours."""
    assert edges(
        write("a", "kb"), read("b", "kb"), read("c", "?"), write("d", "kb"), write("e", "x")
    ) == {("a", "b"), ("a", "c"), ("a", "d"), ("b", "d"), ("c", "d"), ("c", "e")}


REGION = "%r = each items=%inputs:xs -> x={inner}:{port} [\n{line}\n]"


def test_an_effect_on_a_region_waits_for_all_its_items():
    """From outside the region stands for what its body does."""
    inside = REGION.format(inner="%b", port="count", line=write("b", "kb"))
    assert edges(write("a", "kb"), inside, read("c", "kb")) == {
        ("a", "r"),
        ("r", "c"),
        ("a", "c"),
    }


def test_within_a_region_nodes_stand_for_themselves():
    """Two conflicts of one body keep their order in every item."""
    inside = REGION.format(inner="%b", port="hits", line=write("a", "kb") + "\n" + read("b", "kb"))
    assert edges(inside) == {("a", "b")}


def test_resources_are_named_by_store_and_collection():
    """What the table says a primitive reads and writes."""
    lines = [write("a", "kb"), read("b", "?"), write("c", ""), "%d.take = take items=%inputs:xs"]
    graph = parse_graph(Source("g", HEAD + "\n".join(lines)))
    assert [
        (e.node.id, set(e.reads), set(e.writes)) for e in effects(graph.nodes, graph.engines)
    ] == [
        ("a", set(), {"store/kb"}),
        ("b", {"store/*"}, set()),
    ]


names = st.sampled_from(["a/x", "a/y", "a/*", "b/x", "b/*", "world"])


@given(names, names)
def test_sameness_of_resources_is_symmetric(one, other):
    """And a star meets every collection of its store, and no other."""
    assert same_resource(one, other) == same_resource(other, one)
    assert same_resource(one, one)
    if one.partition("/")[0] != other.partition("/")[0]:
        assert not same_resource(one, other)
    elif "*" in one:
        assert same_resource(one, other)
