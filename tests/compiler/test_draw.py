"""Pictures of a p-graph: everything is in them, in every format."""

import shutil
import subprocess

import pytest
from hypothesis import given

from teola.compiler.draw import FORMATS, VIEWS, draw
from teola.compiler.draw.view import module_view, primitive_view
from teola.compiler.errors import CompileError
from teola.compiler.graph.pgraph import Primitive
from teola.compiler.graph.text import parse_graph
from teola.compiler.source import Source
from tests.generators import pgraphs

TEXT = """graph drawn
engine llm = {"kind": "llm", "backend": "fake"}
engine emb = {"kind": "embedder", "backend": "fake"}
input xs: list<text>
input q: text
%one.embed = embed texts=~%inputs:xs {engine = emb, group = 8} @one
%two.prefill = prefill q=%inputs:q {engine = llm} @two
%two.decode = decode state=%two.prefill:state {engine = llm} @two
%three.fold = fold items=%inputs:xs initial=%two.decode:text -> text=%three.decode:text @three [
  %three.prefill = prefill s=%three.fold:state x=%three.fold:item {engine = llm} @three
  %three.decode = decode state=%three.prefill:state {engine = llm} @three
]
order %one.embed -> %two.prefill
effect %one.embed -> %three.fold
output answer: text = %three.fold:text
output asked: text = %inputs:q
"""
GRAPH = parse_graph(Source("g", TEXT))


@given(pgraphs())
def test_every_graph_can_be_drawn(graph):
    """In text and DOT, at both levels; every primitive is a box once, every line has its ends."""
    for level, view_of in VIEWS.items():
        view = view_of(graph)
        boxes = [box.id for box in view.boxes]
        assert len(boxes) == len(set(boxes))
        assert {end for line in view.lines for end in (line.source, line.target)} <= set(boxes)
        for form in ("text", "dot"):
            assert draw(graph, form, level)
    drawn = {box.id for box in primitive_view(graph).boxes}
    assert {node.id for node in graph.nodes if isinstance(node, Primitive)} <= drawn


def test_kinds_of_edges_are_told_apart():
    """Data, streams, order and effects."""
    styles = {(line.source, line.target): line.style for line in primitive_view(GRAPH).lines}
    assert styles["in:xs", "one.embed"] == "stream"
    assert styles["in:q", "two.prefill"] == "data"
    assert styles["one.embed", "two.prefill"] == "order"
    assert styles["one.embed", "three.prefill"] == "effect"
    assert styles["three.decode", "out:answer"] == "data"


def test_regions_are_frames_that_say_what_they_repeat():
    """A fold's state comes from its first value, its item from its list."""
    view = primitive_view(GRAPH)
    frames = {frame.id: frame for frame in view.frames}
    assert "one after another" in frames["region:three.fold"].label
    assert frames["region:three.fold"].parent == "module:three"
    sources = {line.source for line in view.lines if line.target == "three.prefill"}
    assert {"two.decode", "in:xs"} <= sources


def test_the_module_view_has_modules_only():
    """With the kind of engine that each needs."""
    view = module_view(GRAPH)
    kinds = {box.id: box.kind for box in view.boxes}
    assert kinds == {
        "in:xs": "input",
        "in:q": "input",
        "one": "embedder",
        "two": "llm",
        "three": "llm",
        "out:answer": "output",
        "out:asked": "output",
    }


def test_text_says_what_waits_for_what():
    """A line a primitive: its step, and what is before it."""
    lines = draw(GRAPH, "text").splitlines()
    assert lines[0].startswith("drawn")
    (decode,) = [line for line in lines if "decode" in line and "two" in line.split()[-1]][:1]
    assert decode.split()[0].isdigit()
    assert any("~xs" in line for line in lines)


def test_dot_is_read_by_graphviz():
    """The DOT text is well formed, and SVG comes of it."""
    if shutil.which("dot") is None:
        pytest.skip("Graphviz is not installed")
    svg = draw(GRAPH, "svg")
    assert svg.startswith("<?xml")
    assert "two" in svg
    done = subprocess.run(
        ["dot", "-Tplain"], input=draw(GRAPH, "dot"), capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


def test_without_graphviz_svg_says_what_to_install(monkeypatch):
    """And which formats need nothing."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CompileError, match="install the package graphviz.*text or DOT"):
        draw(GRAPH, "svg")


@pytest.mark.parametrize(
    ("form", "level", "message"),
    [("png", "pgraph", "no format 'png'.*text, dot, svg"), ("dot", "x", "no level 'x'.*module")],
)
def test_what_cannot_be_drawn_says_what_can(form, level, message):
    """Formats and levels by name."""
    with pytest.raises(CompileError, match=message):
        draw(GRAPH, form, level)


def test_formats_are_a_table():
    """One line a format."""
    assert list(FORMATS) == ["text", "dot", "svg"]


def test_the_same_graph_is_the_same_picture():
    """Byte by byte."""
    again = parse_graph(Source("g", TEXT))
    for form in ("text", "dot"):
        assert draw(GRAPH, form) == draw(again, form)
