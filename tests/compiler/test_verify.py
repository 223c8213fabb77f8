"""The verifier: every rule, broken once, is named with the node that breaks it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.compiler.errors import GraphError
from teola.compiler.graph.dependencies import dependencies
from teola.compiler.graph.effects import effect_edges
from teola.compiler.graph.pgraph import Node, Primitive, Ref
from teola.compiler.graph.text import parse_graph
from teola.compiler.graph.verify import verify
from teola.compiler.source import Source
from tests.generators import pgraphs

HEAD = """graph g
engine llm = {"kind": "llm", "backend": "fake"}
engine emb = {"kind": "embedder", "backend": "fake"}
engine store = {"kind": "store", "backend": "fake"}
input q: text
input xs: list<text>
input cs: list<chunk>
"""


def graph(body):
    return parse_graph(Source("g.pgraph", HEAD + body))


CALL = (
    "%a.prefill = prefill q=%inputs:q {engine = llm}\n"
    "%a.decode = decode state=%a.prefill:state {engine = llm}\n"
)
EACH = "%r = each items=%inputs:xs -> x=%r.wrap:items [\n  %r.wrap = wrap value=%r:item\n]\n"

RULES = {
    "an id is used once": (
        "%a.wrap = wrap value=1\n%a.wrap = wrap value=2",
        "%a.wrap: the id is used twice",
    ),
    "an operation is in the table": ("%a.x = xyz value=1", "%a.x: there is no operation 'xyz'"),
    "an input is in the table": (
        "%a.wrap = wrap value=1 more=2",
        "%a.wrap: wrap has no input 'more'",
    ),
    "a required input is there": ("%a.wrap = wrap", "%a.wrap: wrap needs the input 'value'"),
    "an engine is declared": (
        "%a.embed = embed texts=%inputs:xs {engine = gone}",
        "%a.embed: the engine 'gone' is not declared",
    ),
    "an engine is needed": (
        "%a.embed = embed texts=%inputs:xs",
        "%a.embed: the engine None is not declared",
    ),
    "an engine has its kind": (
        "%a.embed = embed texts=%inputs:xs {engine = llm}",
        "%a.embed: embed needs an engine of kind embedder, 'llm' is of kind llm",
    ),
    "no engine where none is needed": (
        "%a.wrap = wrap value=1 {engine = llm}",
        "%a.wrap: wrap runs on no engine, not on 'llm'",
    ),
    "a reference is to a node": (
        "%a.wrap = wrap value=%b.wrap:items",
        "%a.wrap: value: %b.wrap:items does not exist",
    ),
    "a reference is to a port": (
        "%a.wrap = wrap value=1\n%b.wrap = wrap value=%a.wrap:nothing",
        "%b.wrap: value: %a.wrap:nothing does not exist",
    ),
    "an input of the workflow exists": (
        "%a.wrap = wrap value=%inputs:nothing",
        "%a.wrap: value: %inputs:nothing does not exist",
    ),
    "a guard's reference exists": (
        "%a.wrap = wrap value=1 when [%inputs:nothing]",
        "%a.wrap: ?: %inputs:nothing does not exist",
    ),
    "a body is seen inside only": (
        EACH + "%b.wrap = wrap value=%r.wrap:items",
        "%b.wrap: value: %r.wrap:items does not exist or is not in reach",
    ),
    "bound names are seen inside only": (
        EACH + "%b.wrap = wrap value=%r:item",
        "%b.wrap: value: %r:item does not exist or is not in reach",
    ),
    "a stream is a list": (
        "%a.take = take items=~%inputs:q {group = 1}",
        "%a.take: items: %inputs:q is no list, it cannot be a stream",
    ),
    "a stream enters a map or scan": (
        "%a.top = top items=~%inputs:xs count=1 {group = 1}",
        "%a.top: a stream cannot enter 'items': it is a gather input",
    ),
    "a stream has a group": (
        "%a.take = take items=~%inputs:xs",
        "%a.take: a node with a stream input needs a group of at least 1",
    ),
    "a group is at least 1": (
        "%a.take = take items=~%inputs:xs {group = 0}",
        "%a.take: a node with a stream input needs a group of at least 1",
    ),
    "a group has a stream": (
        "%a.take = take items=%inputs:xs {group = 1}",
        "%a.take: a group needs a stream input",
    ),
    "a prefill has a decode": (
        "%a.prefill = prefill {engine = llm}",
        "%a.prefill: has 0 decodes, it needs exactly one",
    ),
    "a prefill has one decode": (
        CALL + "%b.decode = decode state=%a.prefill:state {engine = llm}",
        "%a.prefill: has 2 decodes, it needs exactly one",
    ),
    "only a decode takes a state": (
        CALL + "%b.wrap = wrap value=%a.prefill:state",
        "%b.wrap: only a decode may use %a.prefill",
    ),
    "a unit has one engine": (
        'engine other = {"kind": "llm", "backend": "fake", "model": "x"}\n'
        + CALL.replace("state {engine = llm", "state {engine = other"),
        "%a.decode: differs from %a.prefill in engine, guard or region",
    ),
    "a unit has one guard": (
        CALL.replace("state {engine = llm}", "state {engine = llm} when [%inputs:q]"),
        "%a.decode: differs from %a.prefill in engine, guard or region",
    ),
    "a unit has one region": (
        CALL.splitlines()[0]
        + "\n%r = each items=%inputs:xs -> x=%a.decode:text [\n"
        + CALL.splitlines()[1]
        + "\n]",
        "%a.decode: differs from %a.prefill in engine, guard or region",
    ),
    "a region has its inputs": (
        EACH.replace("each items=%inputs:xs", "each"),
        "%r: a each region needs items",
    ),
    "a region has no other input": (
        EACH.replace("items=%inputs:xs", "items=%inputs:xs initial=1"),
        "%r: a each region has no input initial",
    ),
    "a fold has an initial": (
        EACH.replace("each", "fold"),
        "%r: a fold region needs initial",
    ),
    "a reduce has one result": (
        "%r = reduce items=%inputs:xs -> x=%r.w:items y=%r.w:items [\n  %r.w = wrap value=1\n]",
        "%r: a reduce region has exactly one result",
    ),
    "a result is not a bound name": (
        EACH.replace("x=%r.wrap", "item=%r.wrap"),
        "%r: a result has the name of a bound port",
    ),
    "a result is in the body": (
        "%a.wrap = wrap value=1\n" + EACH.replace("x=%r.wrap:items", "x=%a.wrap:items"),
        "%r: x: %a.wrap:items",
    ),
    "a result exists": (
        EACH.replace("x=%r.wrap:items", "x=%r.wrap:gone"),
        "%r: x: %r.wrap:gone does not exist",
    ),
    "an output exists": (
        "output o: text = %a.wrap:items",
        "output o: %a.wrap:items does not exist",
    ),
    "an output is at the top": (
        EACH + "output o: list<text> = %r.wrap:items",
        "output o: %r.wrap:items does not exist",
    ),
    "an edge has two ends": (
        "%a.wrap = wrap value=1\norder %a.wrap -> %b.wrap",
        "%b.wrap: an order edge names it, but there is no such node",
    ),
    "effects have their edges": (
        """
        %a.embed = embed texts=%inputs:cs {engine = emb}
        %a.ingest = ingest chunks=%inputs:cs embeddings=%a.embed:embeddings collection="kb" \
            {engine = store}
        %a.search = search embeddings=%a.embed:embeddings collection="kb" top_k=1 {engine = store}
        """,
        "%a.search: the effect edge from %a.ingest is missing",
    ),
    "data has no cycle": (
        "%a.wrap = wrap value=%b.wrap:items\n%b.wrap = wrap value=%a.wrap:items",
        "a cycle: ",
    ),
    "edges make no cycle": (
        "%a.wrap = wrap value=1\n%b.wrap = wrap value=%a.wrap:items\norder %b.wrap -> %a.wrap",
        "a cycle: ",
    ),
    "data does not come from the node itself": (
        "%a.wrap = wrap value=%a.wrap:items",
        "%a.wrap: value: waits for itself",
    ),
    "an edge has two different ends": (
        "%a.wrap = wrap value=1\neffect %a.wrap -> %a.wrap",
        "%a.wrap: the effect edge from %a.wrap joins it to itself",
    ),
    "an edge does not end in its own region": (
        EACH + "order %r -> %r.wrap",
        "%r.wrap: the order edge from %r joins it to itself",
    ),
    "nodes stand in the order of the chain": (
        "%a.wrap = wrap value=1\n%b.wrap = wrap value=1\norder %b.wrap -> %a.wrap",
        "%a.wrap: stands before %b.wrap, which it waits for",
    ),
    "a region does not wait for itself": (
        EACH.replace("items=%inputs:xs", "items=%b.wrap:items") + "%b.wrap = wrap value=%r:x",
        "a cycle: ",
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_broken_rule_is_named(rule):
    """With the node that breaks it."""
    body, message = RULES[rule]
    with pytest.raises(GraphError) as caught:
        verify(graph(body))
    assert message in str(caught.value)
    assert "'g'" in str(caught.value)


def test_all_problems_are_named_together():
    """One verification finds everything."""
    with pytest.raises(GraphError) as caught:
        verify(graph("%a.x = xyz\n%b.wrap = wrap\n%c.wrap = wrap value=%gone:x"))
    for node in ("%a.x", "%b.wrap", "%c.wrap"):
        assert node in str(caught.value)


def test_a_node_stands_in_its_region():
    """In the text form it always does; a graph that is made otherwise is refused."""
    made = graph(EACH)
    region, body = made.nodes
    with pytest.raises(GraphError, match="stands outside its region"):
        verify(made.with_(nodes=(body, region)))


@given(pgraphs())
def test_generated_graphs_are_valid(graph):
    """What the strategy makes holds every rule."""
    verify(graph)


@pytest.mark.parametrize("body", [CALL, EACH, "", CALL + EACH])
def test_valid_graphs_pass(body):
    """The building blocks of the rules above break none."""
    verify(graph(body))


def test_dependencies_are_lifted_to_one_region():
    """What a body needs from outside, its region waits for."""
    made = graph(
        "%a.wrap = wrap value=1\n"
        "%r = each items=%inputs:xs -> x=%r.take:items [\n"
        "  %r.take = take items=%a.wrap:items\n"
        "]\n"
        "%b.wrap = wrap value=%r:x\n"
    )
    assert dependencies(made) == {
        "a.wrap": set(),
        "r": {"a.wrap"},
        "r.take": set(),
        "b.wrap": {"r"},
    }


def problems(found, known=None):
    """What the verifier says of a graph."""
    try:
        verify(found, known)
    except GraphError as error:
        return set(error.problems)
    return set()


@given(pgraphs(), st.data())
def test_what_is_known_need_not_be_looked_at_again(valid, data):
    """After any change of a valid graph, looking at what changed finds what looking at all does."""
    nodes = list(valid.nodes)
    for _ in range(data.draw(st.integers(1, 3))):
        if not nodes:
            break
        at = data.draw(st.integers(0, len(nodes) - 1))
        other = data.draw(st.sampled_from(nodes))
        inputs = {
            **nodes[at].inputs,
            "items": Ref(other.id, "items", stream=data.draw(st.booleans())),
        }
        changes = [{"inputs": inputs}, {"region": other.region}, {"config": {"hint": other.id}}]
        if isinstance(nodes[at], Primitive):
            changes += [{"group": 3}, {"operation": "take"}, {"engine": "emb"}]
        change = data.draw(st.sampled_from([None, *changes]))
        if change is None:
            del nodes[at]
        else:
            nodes[at] = replace(nodes[at], **change)
    changed = valid.with_(nodes=tuple(nodes))
    assert problems(changed, valid) == problems(changed)


@given(pgraphs(), st.randoms(use_true_random=False))
def test_chain_order_is_that_of_lifted_dependencies(valid, random):
    """With its top-level nodes in another order, each with its body, a graph is refused where one
    stands before a node of its own region that it waits for, and only there."""
    blocks: list[list[Node]] = []
    for node in valid.nodes:
        blocks += [] if node.region else [[]]
        blocks[-1].append(node)
    random.shuffle(blocks)
    nodes = tuple(node for block in blocks for node in block)
    missing = effect_edges(nodes, valid.engines) - valid.edges
    shuffled = valid.with_(nodes=nodes, edges=valid.edges | missing)
    place = {node.id: number for number, node in enumerate(nodes)}
    needs = dependencies(shuffled).items()
    late = {one for one, found in needs if any(place[other] > place[one] for other in found)}
    said = problems(shuffled)
    assert bool(said) == bool(late)
    assert all(any(f"%{one}" in what for one in late) or "a cycle" in what for what in said)
