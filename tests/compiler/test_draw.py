"""Pictures of a p-graph: everything is in them, in every format."""

import shutil
import subprocess

import pytest
from hypothesis import given

from teola.compiler.api import compile_workflow
from teola.compiler.draw import FORMATS, VIEWS, draw
from teola.compiler.draw.modules import module_view
from teola.compiler.draw.primitives import primitive_view
from teola.compiler.draw.view import Engine
from teola.compiler.errors import CompileError
from teola.compiler.graph.pgraph import Primitive
from teola.compiler.graph.text import parse_graph, print_graph
from teola.compiler.plan import load_plan
from teola.compiler.source import Source
from tests.generators import pgraphs

TEXT = """graph drawn
engine llm = {"kind": "llm", "backend": "fake"}
engine emb = {"kind": "embedder", "backend": "fake"}
input xs: list<text>
input q: text
module one = index
module three = synthesize
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
    assert styles["three.decode", "three.prefill"] == "again"
    assert styles["three.decode", "out:answer"] == "data"


def test_regions_are_frames_that_say_what_they_repeat():
    """A fold's state comes from its first value and from the round before, its item from a list."""
    view = primitive_view(GRAPH)
    frames = {frame.id: frame for frame in view.frames}
    assert frames["region:three.fold"].note == "fold: one item after another"
    assert frames["region:three.fold"].parent == "module:three"
    entering = {
        (line.source, line.style, line.ports)
        for line in view.lines
        if line.target == "three.prefill"
    }
    assert entering == {
        ("two.decode", "data", ("s",)),
        ("three.decode", "again", ("s",)),
        ("in:xs", "data", ("x",)),
        ("one.embed", "effect", ()),
    }


@pytest.mark.parametrize(
    ("region", "bound", "again"),
    [
        ("each items=%inputs:xs", "item", []),
        ("reduce items=%inputs:xs {fan_in = 2}", "items", [("m.body", "m.body")]),
    ],
)
def test_what_comes_back_is_drawn(region, bound, again):
    """A reduction takes its own results until one is left; items of an each do not meet."""
    text = f"""graph g
input xs: list<text>
%m.r = {region} -> out=%m.body:items @m [
  %m.body = wrap value=%m.r:{bound} @m
]
output o: list<text> = %m.r:out
"""
    lines = primitive_view(parse_graph(Source("g", text))).lines
    assert [(line.source, line.target) for line in lines if line.style == "again"] == again


def test_the_module_view_has_modules_only():
    """With what each uses and the engines that it needs."""
    view = module_view(GRAPH)
    llm = (Engine("llm", "llm"),)
    assert [(box.id, box.note, box.engines) for box in view.boxes] == [
        ("in:xs", "", ()),
        ("in:q", "", ()),
        ("one", "index", (Engine("emb", "embedder"),)),
        ("two", "", llm),
        ("three", "synthesize", llm),
        ("out:answer", "", ()),
        ("out:asked", "", ()),
    ]


def test_a_workflow_file_says_what_its_modules_use(root):
    """So do its plan and its text form; a module on two engines has both."""
    plan = compile_workflow(root / "workflows" / "advanced_rag.yaml")
    for graph in (
        plan.graph,
        load_plan(plan.to_json(), "p", None).graph,
        parse_graph(Source("g", print_graph(plan.graph))),
    ):
        boxes = {box.id: box for box in module_view(graph).boxes}
        assert boxes["answer"].note == "synthesize"
        assert [engine.kind for engine in boxes["found"].engines] == ["embedder", "store"]
    assert 'fillcolor="#a9d3f5;0.5:#b5e0b0"' in draw(plan.graph, "dot", "module")


def test_two_boxes_have_one_line_of_a_style():
    """It names all that the target takes; an order that data gives anyway is not drawn."""
    text = """graph g
input q: text
%a = wrap value=%inputs:q
%b = concat x=%a:items y=%a:items
order %a -> %b
output o: list<text> = %b:items
"""
    between = [
        line
        for line in primitive_view(parse_graph(Source("g", text))).lines
        if (line.source, line.target) == ("a", "b")
    ]
    assert [(line.style, line.ports) for line in between] == [("data", ("x", "y"))]


def test_names_are_those_inside_their_frame():
    """Numbers that only tell ids apart are not shown; engines are named where there are several."""
    text = """graph g
engine small = {"kind": "llm"}
engine big = {"kind": "llm"}
input xs: list<text>
%m.take_2 = take items=%inputs:xs {start = 1} @m
%m.prefill = prefill xs=%m.take_2:items {engine = small} @m
%n.prefill = prefill xs=%inputs:xs {engine = big} @n
"""
    graph = parse_graph(Source("g", text))
    boxes = {box.id: box for box in primitive_view(graph).boxes}
    assert (boxes["m.take_2"].title, boxes["m.prefill"].title) == ("take", "prefill")
    dot = draw(graph, "dot")
    assert "on small" in dot
    assert "llm: small, big" in dot


def test_text_says_what_waits_for_what():
    """A line a primitive: its step, and what is before it; outputs stand as they are declared."""
    assert (
        draw(GRAPH, "text")
        == """\
drawn   (step | what | waits for; ~ item by item)
      input xs
      input q
     one: index
  1   one.embed (groups of 8, on emb)  ~xs
     two
  2   two.prefill (on llm)             q, after one.embed
  3   two.decode (on llm)              two.prefill
     three: synthesize
     three.fold: fold: one item after another
  4   three.prefill (on llm)           two.decode, each round after three.decode, xs, \
after (effect) one.embed
  5   three.decode (on llm)            three.prefill
      output answer                    three.decode
      output asked                     q
"""
    )


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
    with pytest.raises(CompileError, match="install the package graphviz.*text, DOT or HTML"):
        draw(GRAPH, "svg")


@pytest.mark.parametrize(
    ("form", "level", "message"),
    [
        ("pdf", "pgraph", "no format 'pdf'.*text, dot, svg, png"),
        ("dot", "x", "no level 'x'.*module"),
    ],
)
def test_what_cannot_be_drawn_says_what_can(form, level, message):
    """Formats and levels by name."""
    with pytest.raises(CompileError, match=message):
        draw(GRAPH, form, level)


def test_formats_are_a_table():
    """One line a format."""
    assert list(FORMATS) == ["text", "dot", "svg", "png"]


def test_the_same_graph_is_the_same_picture():
    """Byte by byte."""
    again = parse_graph(Source("g", TEXT))
    for form in ("text", "dot"):
        assert draw(GRAPH, form) == draw(again, form)
