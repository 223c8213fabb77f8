"""The e-graph: what is unrolled into which tasks, and what these wait for."""

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.compiler.cost.sizes import Sizes, parse_sizes
from teola.compiler.graph.expand import ExpansionError, expand
from teola.compiler.graph.text_parser import parse_graph
from teola.compiler.passes.pipeline import DEFAULT_PIPELINE, run_pipeline
from teola.compiler.source import Source
from tests.generators import pgraphs

ENGINES = """
    engine llm = {"kind": "llm", "backend": "fake"}
    engine emb = {"kind": "embedder", "backend": "fake"}
    engine store = {"kind": "store", "backend": "fake"}
    input texts: list<text>
    input passages: list<passage>
    input question: text
"""


def graph_of(text):
    """A graph from its text form, without the lines that all of these have."""
    whole = "graph g\n" + textwrap.dedent(ENGINES) + textwrap.dedent(text)
    return parse_graph(Source("g.pgraph", whole))


def tasks_of(text, *sizes):
    """Task id -> task."""
    graph = graph_of(text)
    return expand(graph, parse_sizes(sizes, graph)).by_id


def after(tasks):
    """Task id -> what it waits for, as one text."""
    return {name: " ".join(task.after) for name, task in tasks.items()}


def test_groups_wait_for_the_groups_that_hold_their_items():
    """Cut differently: two of three in one, the rest in the other."""
    found = tasks_of(
        """
        %a.embed = embed texts=~%inputs:texts {engine = emb, group = 2} @a
        %a.convert = convert items=~%a.embed:embeddings {group = 3} @a
        """,
        "texts=5",
    )
    assert after(found) == {
        "a.embed#0": "",
        "a.embed#1": "",
        "a.embed#2": "",
        "a.convert#0": "a.embed#0 a.embed#1",
        "a.convert#1": "a.embed#1 a.embed#2",
    }
    assert [(task.first, task.items) for task in found.values()] == [
        (0, 2),
        (2, 2),
        (4, 1),
        (0, 3),
        (3, 2),
    ]


def test_a_whole_edge_waits_for_all():
    found = tasks_of(
        """
        %a.embed = embed texts=~%inputs:texts {engine = emb, group = 2} @a
        %a.convert = convert items=%a.embed:embeddings @a
        """,
        "texts=3",
    )
    assert after(found)["a.convert"] == "a.embed#0 a.embed#1"
    assert found["a.convert"].items == 3


def test_many_groups_are_waited_for_through_a_join():
    found = tasks_of(
        """
        %a.embed = embed texts=~%inputs:texts {engine = emb, group = 1} @a
        %a.convert = convert items=%a.embed:embeddings @a
        %b.convert = convert items=%a.embed:embeddings @b
        """,
        "texts=65",
    )
    assert found["a.embed:embeddings"].form == "join"
    assert len(found["a.embed:embeddings"].after) == 65
    assert found["a.convert"].after == found["b.convert"].after == ("a.embed:embeddings",)


def test_a_scan_emits_prefixes():
    """The first input is whole: it comes at once; the second flows behind it, in order."""
    found = tasks_of(
        """
        %q.wrap = wrap value=%inputs:question @q
        %c.embed = embed texts=~%inputs:texts {engine = emb, group = 1} @c
        %c.concat = concat one=%q.wrap:items two=~%c.embed:embeddings {group = 1} @c
        %d.convert = convert items=~%c.concat:items {group = 1} @d
        """,
        "texts=2",
    )
    assert after(found) == {
        "q.wrap": "",
        "c.embed#0": "",
        "c.embed#1": "",
        "c.concat#0": "q.wrap",
        "c.concat#1": "c.embed#0 c.concat#0",
        "c.concat#2": "c.embed#1 c.concat#1",
        "d.convert#0": "c.concat#0",
        "d.convert#1": "c.concat#1",
        "d.convert#2": "c.concat#2",
    }


def test_a_decoded_list_flows_in_parts():
    """Item i is there after (i + 1) / n of the decode; the text, and a whole edge, at its end."""
    text = """
        %e.prefill = prefill q=%inputs:question {engine = llm, messages = []} @e
        %e.decode = decode state=%e.prefill:state count=3 {engine = llm} @e
        %f.embed = embed texts=EDGE%e.decode:lines {engine = emb GROUP} @f
        """
    flowing = tasks_of(
        text.replace("EDGE", "~").replace("GROUP", ", group = 1"), "e.decode=32", "e.prefill=40"
    )
    assert after(flowing) == {
        "e.prefill": "",
        "e.decode#0": "e.prefill",
        "e.decode#1": "e.decode#0",
        "e.decode#2": "e.decode#1",
        "f.embed#0": "e.decode#0",
        "f.embed#1": "e.decode#1",
        "f.embed#2": "e.decode#2",
    }
    parts = [task.tokens for task in flowing.values() if task.form == "decode"]
    assert parts == [10, 11, 11]
    assert flowing["e.prefill"].tokens == 40
    whole = tasks_of(text.replace("EDGE", "").replace("GROUP", ""), "e.decode=32")
    assert after(whole)["f.embed"] == "e.decode"
    assert whole["e.decode"].tokens == 32


def test_order_edges_hold_whole_nodes_back():
    """-O0: the chain of the file; a call begins behind what stands before it."""
    found = tasks_of(
        """
        %a.embed = embed texts=~%inputs:texts {engine = emb, group = 1} @a
        %b.wrap = wrap value=%inputs:question @b
        %c.prefill = prefill q=%inputs:question {engine = llm, messages = []} @c
        %c.decode = decode state=%c.prefill:state {engine = llm} @c
        order %a.embed -> %b.wrap
        order %b.wrap -> %c.prefill
        """,
        "texts=2",
    )
    assert after(found)["b.wrap"] == "a.embed#0 a.embed#1"
    assert after(found)["c.prefill"] == "b.wrap"


def test_a_stream_of_nothing_has_no_groups():
    """Its end is that of what feeds it."""
    found = tasks_of(
        """
        %a.embed = embed texts=%inputs:texts {engine = emb} @a
        %a.convert = convert items=~%a.embed:embeddings {group = 2} @a
        %b.top = top items=%a.convert:items count=3 @b
        """,
        "texts=0",
    )
    assert after(found) == {"a.embed": "", "b.top": "a.embed"}
    assert found["a.embed"].items == 0


def test_a_stream_that_is_not_used_up_is_still_waited_for():
    """``take`` lets its one item out at once, but ends when the list does."""
    found = tasks_of(
        """
        %a.embed = embed texts=~%inputs:texts {engine = emb, group = 1} @a
        %t.take = take items=~%a.embed:embeddings {group = 1, count = 1} @t
        %u.convert = convert items=~%t.take:items {group = 1} @u
        %v.convert = convert items=%u.convert:items @v
        """,
        "texts=2",
    )
    assert after(found)["u.convert#0"] == "t.take#0"
    assert after(found)["v.convert"] == "t.take#1 u.convert#0"


EACH = """
    %a.embed = embed texts=~%inputs:texts {engine = emb, group = 1} @a
    %r = each items=EDGE%a.embed:embeddings -> text=%r.decode:text @r [
      %r.prefill = prefill q=%inputs:question x=%r:item {engine = llm, messages = []} @r
      %r.decode = decode state=%r.prefill:state {engine = llm} @r
    ]
    %z.convert = convert items=~%r:text {group = 2} @z
"""


def test_a_body_is_unrolled_for_each_item():
    """Bound items flow one by one, results in item order; whole, every body waits for all."""
    flowing = after(tasks_of(EACH.replace("EDGE", "~"), "texts=3"))
    assert flowing["r[1]/r.prefill"] == "a.embed#1"
    assert flowing["r[1]/r.decode"] == "r[1]/r.prefill"
    assert flowing["z.convert#0"] == "r[0]/r.decode r[1]/r.decode"
    assert flowing["z.convert#1"] == "r[2]/r.decode"
    whole = after(tasks_of(EACH.replace("EDGE", ""), "texts=3"))
    assert whole["r[1]/r.prefill"] == "a.embed#0 a.embed#1 a.embed#2"


FOLD = """
    %a.prefill = prefill q=%inputs:question {engine = llm, messages = []} @a
    %a.decode = decode state=%a.prefill:state {engine = llm} @a
    %f = fold items=%inputs:passages initial=%a.decode:text AHEAD -> text=%f.decode:text @f [
      %f.wrap = wrap value=%f:item @f
      %f.prefill = prefill x=%f.wrap:items y=%f:state {engine = llm, messages = []} @f
      %f.decode = decode state=%f.prefill:state {engine = llm} @f
    ]
    output out: text = %f:text
"""


def test_a_fold_goes_from_state_to_state():
    """Each iteration begins when the one before has ended, the first when the state is there."""
    found = after(tasks_of(FOLD.replace("AHEAD", ""), "passages=2"))
    assert found["f[0]/f.wrap"] == "a.decode"
    assert found["f[1]/f.wrap"] == "f[0]/f.decode"
    assert found["f[1]/f.prefill"] == "f[0]/f.decode f[1]/f.wrap"


def test_iterations_of_a_fold_begin_ahead():
    """What needs no state goes before its turn, as far as ``ahead`` says."""
    found = after(tasks_of(FOLD.replace("AHEAD", "{ahead = 1}"), "passages=3"))
    assert found["f[0]/f.wrap"] == found["f[1]/f.wrap"] == ""
    assert found["f[2]/f.wrap"] == "f[0]/f.decode"
    assert found["f[0]/f.prefill"] == "a.decode f[0]/f.wrap"
    assert found["f[1]/f.prefill"] == "f[0]/f.decode f[1]/f.wrap"


def test_a_reduction_goes_level_by_level():
    """Five texts by two: two calls and a rest, one call and a rest, one call."""
    found = after(
        tasks_of(
            """
            %t = reduce items=%inputs:texts {fan_in = 2} -> text=%t.decode:text @t [
              %t.prefill = prefill x=%t:items {engine = llm, messages = []} @t
              %t.decode = decode state=%t.prefill:state {engine = llm} @t
            ]
            """,
            "texts=5",
        )
    )
    heads = [name for name in found if name.endswith("prefill")]
    assert heads == [f"t[{mark}]/t.prefill" for mark in ("0.0", "0.1", "1.0", "2.0")]
    assert found["t[1.0]/t.prefill"] == "t[0.0]/t.decode t[0.1]/t.decode"
    assert found["t[2.0]/t.prefill"] == "t[1.0]/t.decode"


def test_warm_ups_are_one_task_for_each_later_part():
    """Each stands for the whole prefix; the call knows them, and does not wait for them."""
    template = f"{'s' * 400}{{{{ q }}}} {{{{ x | join }}}} {{{{ y }}}}"
    found = tasks_of(
        f"""
        %a.embed = embed texts=%inputs:texts {{engine = emb}} @a
        %w.partial_prefill = partial_prefill q=%inputs:question x=%a.embed:embeddings \
{{engine = llm, hint = "c.prefill", min_new_tokens = 1}} @c
        %b.prefill = prefill q=%inputs:question {{engine = llm, messages = []}} @b
        %b.decode = decode state=%b.prefill:state {{engine = llm}} @b
        %c.prefill = prefill q=%inputs:question x=%a.embed:embeddings y=%b.decode:text \
{{engine = llm, messages = [{{"role": "user", "template": "{template}"}}]}} @c
        %c.decode = decode state=%c.prefill:state {{engine = llm}} @c
        """,
        "texts=2",
    )
    first, second = found["w.partial_prefill#0"], found["w.partial_prefill#1"]
    assert (first.after, second.after) == ((), ("a.embed",))
    assert 100 < first.tokens < second.tokens < found["c.prefill"].tokens
    assert second.warmed_by == (first.id,)
    assert found["c.prefill"].warmed_by == (first.id, second.id)
    assert found["c.prefill"].after == ("a.embed", "b.decode")


def test_too_many_tasks_are_an_error_that_says_what_to_lower():
    with pytest.raises(ExpansionError, match=r"100,000 tasks.*%a.embed: lower texts=40000"):
        tasks_of(EACH.replace("EDGE", "~"), "texts=40000")


@pytest.mark.parametrize("count", [0, 1, 7, 64])
def test_more_groups_never_lose_items(count):
    """Whatever the groups, every item is in exactly one of them."""
    for group in (1, 2, 7, 64, 100):
        found = tasks_of(
            f"""
            %a.embed = embed texts=~%inputs:texts {{engine = emb, group = {group}}} @a
            """,
            f"texts={count}",
        )
        assert sum(task.items for task in found.values()) == count


def check(egraph):
    """Ids are unique, every task stands after those it waits for, and each end is an output's or is
    waited for by its region or the query."""
    seen = set()
    for task in egraph.tasks:
        assert task.id not in seen
        assert set(task.after) <= seen
        seen.add(task.id)
    hints = {task.id for task in egraph.tasks if task.form == "hint"}
    for task in egraph.tasks:
        assert set(task.warmed_by) <= hints
        assert not set(task.after) & hints


@given(
    pgraphs(),
    st.integers(0, 5),
    st.lists(st.sampled_from(DEFAULT_PIPELINE), unique=True),
)
def test_every_graph_is_unrolled(graph, items, passes):
    """For any subset and order of passes: it ends, in order, and no primitive is forgotten."""
    optimised, _ = run_pipeline(graph, passes)
    sizes = Sizes({"texts": items, "passages": items})
    egraph = expand(optimised, sizes)
    check(egraph)
    assert expand(optimised, sizes) == egraph
    made = {task.primitive for task in egraph.tasks}
    outside = {
        node.id
        for node in optimised.nodes
        if not node.region
        and hasattr(node, "operation")
        and node.group is None
        and node.operation != "partial_prefill"
    }
    assert outside <= made


@given(pgraphs(), st.integers(0, 6))
def test_groups_keep_the_items(graph, items):
    """Cut into groups or not, a primitive takes the same items in all."""
    sizes = Sizes({"texts": items, "passages": items})
    optimised, _ = run_pipeline(graph, DEFAULT_PIPELINE[3:5])

    def taken(of):
        found = {}
        for task in expand(of, sizes).tasks:
            if task.form in ("items", "scan"):
                place = (task.primitive, task.path)
                found[place] = found.get(place, 0) + task.items
        return {place: total for place, total in found.items() if total}

    assert taken(graph) == taken(optimised)


def test_the_limit_counts_iterations_too():
    """A region without work in it is bounded as well."""
    graph = graph_of(
        """
        %r = each items=%inputs:texts -> one=%r:index @r [
        ]
        """
    )
    with pytest.raises(ExpansionError, match="more than 10 tasks .*texts=11"):
        expand(graph, parse_sizes(["texts=11"], graph), most=10)
