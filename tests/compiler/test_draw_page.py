"""The page: everything stands apart, lines run clear of boxes, and all of it is in one file."""

import base64
import hashlib
import json
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given, settings

from teola.compiler.api import Compilation, compilation
from teola.compiler.cost.sizes import Sizes
from teola.compiler.draw.marks import marked
from teola.compiler.draw.modules import module_view
from teola.compiler.draw.page import draw_page
from teola.compiler.draw.page.grid import place, place_alike
from teola.compiler.draw.page.measure import measure_alike
from teola.compiler.draw.page.story import purpose, told
from teola.compiler.draw.primitives import primitive_view
from teola.compiler.graph.text import parse_graph
from teola.compiler.passes.base import Context
from teola.compiler.passes.pipeline import (
    DEFAULT_PIPELINE,
    PASSES,
    Step,
    parse_pipeline,
    run_pipeline,
)
from teola.compiler.plan import Plan
from teola.compiler.source import Source
from tests.generators import pgraphs

MOST_BYTES = 300_000


def compiled(graph):
    """A graph and what the passes make of it."""
    steps = []
    result, reports = run_pipeline(
        graph, DEFAULT_PIPELINE, None, lambda *step: steps.append(Step(*step))
    )
    return Compilation(Plan(result, "-O2", reports), graph, tuple(steps), Context())


def views(graph):
    """Pictures to be compared, one of them with marks."""
    before, after = primitive_view(graph), primitive_view(compiled(graph).plan.graph)
    return before, after, marked(before, after)


@given(pgraphs())
@settings(max_examples=60)
def test_every_box_has_a_place_of_its_own(graph):
    """In a row below all that it waits for, in its module's lane; no region covers another's."""
    for view in (*views(graph), module_view(graph)):
        grid = place(view)
        assert set(grid.at) == {box.id for box in view.boxes}
        assert len(set(grid.at.values())) == len(grid.at)
        lanes = {lane.frame.id: lane for lane in grid.lanes if lane.frame}
        frames = {frame.id: frame for frame in view.frames}
        for box in view.boxes:
            around = []
            frame = box.frame
            while frame:
                around.append(frame)
                frame = frames[frame].parent
            column = grid.at[box.id][1]
            if around:
                assert lanes[around[-1]].left <= column <= lanes[around[-1]].right
            for name, block in grid.regions.items():
                assert (grid.at[box.id] in set(block.cells())) == (name in around)


@given(pgraphs())
@settings(max_examples=60)
def test_lines_run_clear_of_boxes(graph):
    """Each from its source to its target, through no other box."""
    for measure in measure_alike(place_alike(views(graph))):
        places = {box.id: measure.box(box) for box in measure.grid.view.boxes}
        for way in measure.routes.ways:
            points = measure.points(way)
            source, target = places[way.line.source], places[way.line.target]
            assert source.x <= points[0][0] <= source.x + source.width
            assert points[0][1] == source.y + source.height
            assert target.x <= points[-1][0] <= target.x + target.width
            assert points[-1][1] == target.y
            for (x1, y1), (x2, y2) in pairwise(points):
                assert abs(x1 - x2) < 0.5 or abs(y1 - y2) < 0.5
                for at in places.values():
                    across = min(x1, x2) < at.x + at.width and max(x1, x2) > at.x
                    down = min(y1, y2) < at.y + at.height and max(y1, y2) > at.y
                    assert not (across and down)


def test_a_module_stands_at_one_place_in_all_pictures():
    """Whatever passes do to the rows: pictures can be compared."""
    plan = compilation("advanced_rag")
    graphs = [plan.source, *(step.after for step in plan.steps)]
    measures = measure_alike(place_alike([primitive_view(graph) for graph in graphs]))
    assert len({tuple(measure.column_x) for measure in measures}) == 1
    assert measures[-1].grid.rows < measures[0].grid.rows


def test_a_line_keeps_out_of_the_way():
    """Straight down where nothing is between, else around."""
    text = """graph g
input q: list<text>
%a = distinct items=%inputs:q
%b = distinct items=%a:items
%c = concat x=%b:items y=%a:items z=%inputs:q
output o: list<text> = %c:items
"""
    (measure,) = measure_alike([place(primitive_view(parse_graph(Source("g", text))))])
    ways = {(way.line.source, way.line.target): way for way in measure.routes.ways}
    assert len(measure.points(ways["a", "b"])) in (2, 4)
    assert ways["a", "c"].gutter is not None
    assert ways["in:q", "c"].gutter is not None
    nets = [ways["a", "c"].net, ways["in:q", "c"].net]
    tracks = {measure.routes.down[ways["a", "c"].gutter, net] for net in nets}
    assert len(tracks) == 2


@pytest.fixture(scope="module", params=["advanced_rag", "naive_rag"])
def page(request):
    """The page of a workflow."""
    return draw_page(compilation(request.param))


def test_the_page_is_one_small_file(page):
    """It names nothing outside of itself."""
    assert len(page.encode()) < MOST_BYTES
    assert not re.search(r"\b(src|href|action)=|@import|url\((?!#)", page)
    assert "http:" not in page
    assert "https:" not in page


def test_the_page_runs_its_own_script_only(page):
    """The policy allows that by its hash, and no connection at all."""
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in page
    assert not re.search(r"<[^>]+ on[a-z]+=", page)


def test_the_pictures_are_well_formed(page):
    """Each box with facts; lines between boxes that are there."""
    facts = json.loads(re.search(r'id="facts">(.*?)</script>', page)[1])
    drawings = re.findall(r'<svg class="picture.*?</svg>', page, re.DOTALL)
    assert len(drawings) >= 7
    for drawing in drawings:
        root = ET.fromstring(drawing)  # noqa: S314  # ours
        boxes = {one.get("data-box") for one in root.iter("g") if one.get("data-box")}
        assert all(
            int(one.get("data-facts")) < len(facts) for one in root.iter("g") if one.get("data-box")
        )
        ends = {one.get(end) for one in root.iter("g") for end in ("data-from", "data-to")}
        assert ends - {None} <= boxes


def test_the_same_compilation_is_the_same_page(page):
    """Byte by byte."""
    name = re.search(r"<h1>(.*?)</h1>", page)[1]
    assert draw_page(compilation(name)) == page


def test_a_page_says_what_the_passes_did():
    """All that changed something, with the time they are expected to save."""
    page = draw_page(compilation("advanced_rag"))
    for name in ("prune-order", "pipeline-decode", "decompose-stages", "split-prefill"):
        assert f"<b>{name}</b>" in page
    assert "<b>deduplicate</b>" not in page
    assert re.search(r'"pass idle">deduplicate <span class="time">nothing to do<', page)
    assert (
        "7 lines removed (order of the file only; 5 of them beside a line of data, not drawn)"
        in page
    )
    assert re.search(r"indexed\.ingest takes chunks \d+ items at a time", page)
    assert "answer.partial_prefill warms up answer.prefill with question" in page
    assert re.search(r"to take <b>[\d.]+ s</b> instead of [\d.]+ s: <b class=.saved", page)


def test_less_than_a_percent_is_no_gain():
    """Neither in words nor in colour."""
    page = draw_page(compilation("advanced_rag", passes=parse_pipeline("pipeline-decode")))
    assert "about the same as before the passes" in page
    assert 'class="saved"' not in page
    assert " % less" not in page


def test_a_plan_has_no_steps(tmp_path):
    """Its page shows what it is, not how it came about."""
    compilation("naive_rag").plan.save(tmp_path / "n.plan.json")
    page = draw_page(compilation(tmp_path / "n.plan.json"))
    assert ">Primitives</button>" in page
    assert 'id="passes"' not in page
    assert "instead of" not in page


def test_what_merged_is_told():
    """Not as something gone and something rewired."""
    head = "graph g\ninput q: list<text>\n%a = distinct items=%inputs:q\n"
    before = parse_graph(
        Source(
            "g",
            head
            + "%b = distinct items=%inputs:q\n%c = concat x=%a:items y=%b:items\n"
            + "output o: list<text> = %c:items\n",
        )
    )
    after, _ = run_pipeline(before, [PASSES["deduplicate"]()])
    assert told(before, after) == [("b was the same as a: computed once", ("b", "a"))]


@pytest.mark.parametrize("name", PASSES)
def test_every_pass_says_what_it_is_for(name):
    """In one plain sentence."""
    sentence = purpose(PASSES[name]())
    assert sentence.endswith(".")
    assert "`" not in sentence
    assert "(paper" not in sentence


@given(pgraphs())
@settings(max_examples=25, deadline=None)
def test_every_graph_has_a_page(graph):
    """Also one with no modules, no outputs, no engines."""
    page = draw_page(compiled(graph), Sizes())
    assert page.startswith("<!doctype html>")
    for drawing in re.findall(r'<svg class="picture.*?</svg>', page, re.DOTALL):
        ET.fromstring(drawing)  # noqa: S314  # ours
