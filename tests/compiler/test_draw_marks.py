"""Streams, hints, the critical path, and what passes changed: in every format."""

import pytest
from hypothesis import given

from teola.compiler.cost.sizes import Sizes
from teola.compiler.draw import VIEWS, draw
from teola.compiler.draw.marks import marked
from teola.compiler.draw.modules import module_view
from teola.compiler.draw.primitives import primitive_view
from teola.compiler.draw.tasks import MOST_ALIKE, egraph_view
from teola.compiler.draw.view import View, lighted
from teola.compiler.graph.expand import expand
from teola.compiler.graph.text import parse_graph
from teola.compiler.passes.pipeline import DEFAULT_PIPELINE, run_pipeline
from teola.compiler.source import Source
from tests.generators import pgraphs

HEAD = """graph g
engine llm = {"kind": "llm", "backend": "fake"}
engine emb = {"kind": "embedder", "backend": "fake"}
input xs: list<text>
input q: text
"""
BEFORE = parse_graph(
    Source(
        "before",
        HEAD
        + """%m.twin = embed texts=%inputs:xs {engine = emb} @m
%m.embed = embed texts=%inputs:xs {engine = emb} @m
%n.prefill = prefill q=%inputs:q x=%m.twin:embeddings {engine = llm} @n
%n.decode = decode state=%n.prefill:state {engine = llm} @n
order %m.embed -> %n.prefill
output o: text = %n.decode:text
""",
    )
)
AFTER = parse_graph(
    Source(
        "after",
        HEAD
        + """%m.embed = embed texts=~%inputs:xs {engine = emb, group = 16} @m
%n.partial_prefill = partial_prefill q=%inputs:q {engine = llm, hint = "n.prefill"} @n
%n.prefill = prefill q=%inputs:q x=%m.embed:embeddings {engine = llm} @n
%n.decode = decode state=%n.prefill:state {engine = llm} @n
output o: text = %n.decode:text
""",
    )
)
MARKED = marked(primitive_view(BEFORE), primitive_view(AFTER))


def test_a_hint_is_a_line_of_its_own():
    """It carries no data and holds nothing back: the call's step does not count it."""
    view = primitive_view(AFTER)
    hints = [line for line in view.lines if line.style == "hint"]
    assert [(line.source, line.target) for line in hints] == [("n.partial_prefill", "n.prefill")]
    text = draw(AFTER)
    assert "2   n.prefill (on llm)" in text
    assert "warmed by n.partial_prefill, q, m.embed" in text
    assert (
        '"n.partial_prefill" -> "n.prefill" [color="#2a9d8f", style=dashed, arrowhead=onormal]'
        in draw(AFTER, "dot")
    )


def test_a_stream_is_a_double_line_that_names_its_group():
    """A line that brings a list whole is neither."""
    for level, end in (("module", "m"), ("pgraph", "m.embed")):
        assert f'"in:xs" -> "{end}" [color="#1f6feb:#ffffff:#1f6feb"' in draw(AFTER, "dot", level)
        assert "#1f6feb" not in draw(BEFORE, "dot", level)
    assert 'label="by 16"' in draw(AFTER, "dot", "module")
    assert 'label="by' not in draw(BEFORE, "dot", "module")


def test_a_group_is_said_once():
    """By the box that takes it, not once more beside the arrow."""
    dot = draw(AFTER, "dot")
    assert "groups of 16" in dot
    assert "by 16" not in dot


def test_streams_and_hints_are_seen_between_modules():
    """A hint inside a module is not."""
    lines = {
        (line.source, line.target, line.style, line.group) for line in module_view(AFTER).lines
    }
    assert ("in:xs", "m", "stream", 16) in lines
    assert all(style != "hint" for _, _, style, _ in lines)


def test_what_a_pass_did_is_marked():
    """New, changed and gone; a list that now comes item by item is one line, a new one."""
    assert {box.id: box.mark for box in MARKED.boxes if box.mark} == {
        "m.twin": "removed",
        "m.embed": "changed",
        "n.partial_prefill": "added",
    }
    marks = {
        (line.source, line.target, line.style): line.mark for line in MARKED.lines if line.mark
    }
    assert marks == {
        ("in:xs", "m.embed", "stream"): "added",
        ("in:q", "n.partial_prefill", "data"): "added",
        ("n.partial_prefill", "n.prefill", "hint"): "added",
        ("m.embed", "n.prefill", "data"): "added",
        ("in:xs", "m.twin", "data"): "removed",
        ("m.twin", "n.prefill", "data"): "removed",
        ("m.embed", "n.prefill", "order"): "removed",
    }


def test_what_is_gone_stands_where_it_stood():
    """Behind what was before it."""
    assert [box.id for box in MARKED.boxes][:4] == ["in:xs", "in:q", "m.twin", "m.embed"]


def test_marks_in_text():
    """Signs, and what they mean."""
    lines = draw(AFTER, "text", "pgraph", BEFORE).splitlines()
    assert lines[0] == "g   (step | what | waits for; ~ item by item; + new; ! changed; - gone)"
    assert [" ".join(line.split()) for line in lines[4:9]] == [
        "1 - m.twin (embed, on emb) -xs",
        "1 ! m.embed (groups of 16, on emb) +~xs",
        "n",
        "1 + n.partial_prefill (on llm) +q",
        "2 n.prefill (on llm) +warmed by n.partial_prefill, q, +m.embed, -m.twin, -after m.embed",
    ]


def test_marks_in_dot():
    """Green is new, orange changed; black and dashed is gone and moves nothing."""
    dot = draw(AFTER, "dot", "pgraph", BEFORE)
    assert '"m.embed" -> "n.prefill" [color="#1c2129", style=dashed, constraint=false]' in dot
    assert '"m.twin" [label=<twin<br/>' in dot
    assert 'style="rounded,dashed", color="#1c2129"' in dot
    assert 'color="#009e73:#ffffff:#009e73"' in dot
    assert ">gone  <" in dot


@given(pgraphs())
def test_marks_are_true(graph):
    """Without the removed the marked view is the later one, without the added the earlier one has
    no more than it; nothing is marked where nothing changed."""
    rewritten, _ = run_pipeline(graph, DEFAULT_PIPELINE)
    for view_of in (primitive_view, module_view):
        old, new = view_of(graph), view_of(rewritten)
        view = marked(old, new)
        kept = [box.id for box in view.boxes if box.mark != "removed"]
        assert kept == [box.id for box in new.boxes]
        assert {box.id for box in view.boxes if box.mark != "added"} == {
            box.id for box in old.boxes
        }
        ends = {end for line in view.lines for end in (line.source, line.target)}
        assert ends <= {box.id for box in view.boxes}
        assert marked(new, new) == new


def test_a_path_is_lit():
    """Its boxes, and the lines between those that follow each other."""
    view = lighted(primitive_view(AFTER), ["m.embed", "n.prefill", "n.decode"])
    assert {box.id for box in view.boxes if box.lit} == {"m.embed", "n.prefill", "n.decode"}
    assert {(line.source, line.target) for line in view.lines if line.lit} == {
        ("m.embed", "n.prefill"),
        ("n.prefill", "n.decode"),
    }


def test_the_tasks_of_a_query():
    """Each a box, under its module; what is critical lit, what warms up a hint."""
    egraph = expand(AFTER)
    view = egraph_view(egraph, frozenset({"n.prefill", "n.decode"}))
    assert [box.id for box in view.boxes if box.role == "work"] == [t.id for t in egraph.tasks]
    assert {box.id for box in view.boxes if box.lit} == {"n.prefill", "n.decode"}
    assert ("n.prefill", "n.decode", True) in {(o.source, o.target, o.lit) for o in view.lines}
    assert {line.style for line in view.lines if line.target == "n.prefill"} == {"data", "hint"}


@pytest.mark.parametrize("number", [MOST_ALIKE, MOST_ALIKE + 1, 200])
def test_more_than_a_few_tasks_are_drawn_as_one(number):
    """A run of one primitive; others are what they were."""
    text = (
        HEAD
        + """%m.embed = embed texts=~%inputs:xs {engine = emb, group = 1} @m
%n.wrap = wrap value=%inputs:q @n
output o: list<embedding> = %m.embed:embeddings
output p: list<text> = %n.wrap:items
"""
    )
    egraph = expand(parse_graph(Source("g", text)), Sizes({"xs": number}))
    view = egraph_view(egraph)
    assert isinstance(view, View)
    found = {box.id: box.note for box in view.boxes if box.id.startswith("m.embed#")}
    if number > MOST_ALIKE:
        assert found == {f"m.embed#0..{number - 1}": f"{number} tasks"}
    else:
        assert len(found) == number
    assert {"n.wrap", "out:o", "out:p"} < {box.id for box in view.boxes}


def test_a_run_ends_where_something_begins_with_it():
    """Each group of a consumer still begins with its own part of what is there."""
    text = (
        HEAD
        + """%m.embed = embed texts=~%inputs:xs {engine = emb, group = 1} @m
%m.ingest = ingest chunks=~%inputs:xs embeddings=~%m.embed:embeddings {engine = emb, group = 16} @m
output o: collection = %m.ingest:collection
"""
    )
    egraph = expand(parse_graph(Source("g", text)), Sizes({"xs": 34}))
    lines = {(line.source, line.target) for line in egraph_view(egraph).lines}
    assert lines >= {
        ("m.embed#0..15", "m.ingest#0"),
        ("m.embed#16..31", "m.ingest#1"),
        ("m.embed#32", "m.ingest#2"),
        ("m.embed#33", "m.ingest#2"),
    }
    assert ("m.embed#0..15", "m.ingest#1") not in lines


def test_a_scan_is_cut_where_something_begins_with_it():
    """Its tasks follow each other, and only the last of a group is waited for."""
    text = (
        HEAD
        + """%m.own = distinct items=~%inputs:xs {group = 1} @m
%n.embed = embed texts=~%m.own:items {engine = emb, group = 16} @n
output o: list<embedding> = %n.embed:embeddings
"""
    )
    egraph = expand(parse_graph(Source("g", text)), Sizes({"xs": 32}))
    lines = [(line.source, line.target) for line in egraph_view(egraph).lines]
    assert lines[:3] == [
        ("m.own#0..15", "m.own#16..31"),
        ("m.own#0..15", "n.embed#0"),
        ("m.own#16..31", "n.embed#1"),
    ]


@pytest.mark.parametrize("level", list(VIEWS))
def test_png_is_a_picture(level):
    """At every level."""
    assert draw(AFTER, "png", level).startswith(b"\x89PNG")
