"""Passes: golden cases with their command in them, and what every pass must hold."""

import io
import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

import pytest
from filecheck.finput import FInput
from filecheck.matcher import Matcher
from filecheck.options import Options
from filecheck.parser import Parser
from hypothesis import given
from typer.testing import CliRunner

from teola.compiler.errors import CompileError, PassError
from teola.compiler.graph.effects import effects
from teola.compiler.graph.pgraph import PGraph, Primitive
from teola.compiler.graph.verify import verify
from teola.compiler.passes.base import Context, Pass
from teola.compiler.passes.pipeline import (
    DEFAULT_PIPELINE,
    LEVELS,
    PASSES,
    parse_pipeline,
    run_pipeline,
)
from teola.runtime.cli.application import teola
from tests.generators import pgraphs

GOLDEN = Path(__file__).parent.parent / "golden" / "passes"
RUN = "# RUN:"
CONTEXT = Context()


def commands(case: Path) -> list[str]:
    """The commands that a case holds."""
    lines = case.read_text(encoding="utf-8").splitlines()
    return [line.removeprefix(RUN).strip() for line in lines if line.startswith(RUN)]


def checked(case: Path, output: str) -> tuple[int, str]:
    """What filecheck says of an output: its exit status and its complaint."""
    options = Options(str(case), comment_prefixes="COM,RUN")
    matcher = Matcher(options, FInput(str(case), output), Parser.from_opts(options))
    matcher.stderr = io.StringIO()
    return matcher.run(), matcher.stderr.getvalue()


@pytest.mark.parametrize("case", sorted(GOLDEN.glob("*.pgraph")), ids=lambda case: case.stem)
def test_golden(case):
    """The command of the case prints what the case says."""
    found = commands(case)
    assert found, f"{case} has no line '{RUN} …'"
    for command in found:
        ours, _, check = command.partition("|")
        program, *words = shlex.split(ours.replace("%s", str(case)))
        assert (program, check.split()) == ("teola", ["filecheck", "%s"]), command
        done = CliRunner().invoke(teola, words)
        assert done.exit_code == 0, done.output
        status, complaint = checked(case, done.stdout)
        assert status == 0, f"{complaint}\n{done.stdout}"


def test_a_golden_case_can_fail():
    """The runner of the golden cases sees a wrong output."""
    case = GOLDEN / "prune_order.pgraph"
    assert checked(case, case.read_text(encoding="utf-8").replace("effect", "order"))[0] != 0


@given(pgraphs())
def test_passes_keep_graphs_valid(graph):
    """Every pass, alone: a valid graph comes out, and a second time nothing changes."""
    for kind in PASSES.values():
        once = kind().apply(graph, CONTEXT)
        verify(once)
        assert kind().apply(once, CONTEXT) is once


@given(pgraphs())
def test_a_pass_returns_the_same_object_when_nothing_changes(graph):
    """An equal graph is the same graph."""
    for kind in PASSES.values():
        result = kind().apply(graph, CONTEXT)
        assert (result is graph) == (result == graph)


@given(pgraphs())
def test_prune_order_deletes_order_edges_only(graph):
    """Nodes and effect edges stay."""
    pruned = PASSES["prune-order"]().apply(graph, CONTEXT)
    assert pruned.nodes == graph.nodes
    assert pruned.edges == {edge for edge in graph.edges if edge.kind == "effect"}


def reached(graph: PGraph) -> set[tuple[str, str]]:
    """Every pair of nodes with a path of order and effect edges between them."""
    found = {(edge.source, edge.target) for edge in graph.edges}
    while more := {(a, d) for a, b in found for c, d in found if b == c} - found:
        found |= more
    return found


@given(pgraphs())
def test_remove_dead_keeps_writes_outputs_and_order(graph):
    """Writes and outputs stay; what was ordered through a node that goes still is."""
    kept = PASSES["remove-dead"]().apply(graph, CONTEXT)
    ids = {node.id for node in kept.nodes}
    assert [node for node in graph.nodes if node.id in ids] == list(kept.nodes)
    assert {
        effect.node.id for effect in effects(graph.nodes, graph.engines) if effect.writes
    } <= ids
    assert kept.outputs == graph.outputs
    assert reached(kept) == {pair for pair in reached(graph) if set(pair) <= ids}


@given(pgraphs())
def test_the_pipeline_is_deterministic(graph):
    """The same graph twice: the same result, the same report but for the times."""
    one, reports = run_pipeline(graph, DEFAULT_PIPELINE)
    two, again = run_pipeline(graph, DEFAULT_PIPELINE)
    assert one == two
    assert [(r.name, r.changed, r.nodes_after) for r in reports] == [
        (r.name, r.changed, r.nodes_after) for r in again
    ]
    assert {report.name for report in reports} == {step.name for step in DEFAULT_PIPELINE}


@given(pgraphs())
def test_no_passes_no_change(graph):
    """-O0 gives the same object."""
    assert run_pipeline(graph, LEVELS["O0"])[0] is graph


@pytest.mark.parametrize("kind", PASSES.values(), ids=PASSES)
def test_passes_are_described(kind):
    """A pass is a frozen dataclass with a name and a sentence about it; options are numbers."""
    assert PASSES[kind.name] is kind
    assert kind.__doc__
    assert kind.__dataclass_params__.frozen
    assert all(option.type in ("int", int) for option in fields(kind))


GRAPH = PGraph("g", (), (), (Primitive("a.wrap", "wrap", {}),))


@dataclass(frozen=True)
class Breaks(Pass):
    """Leaves a primitive without what it needs."""

    name: ClassVar[str] = "breaks"

    def apply(self, graph: PGraph, context: Context) -> PGraph:
        return GRAPH


@dataclass(frozen=True)
class Grows(Pass):
    """Never settles."""

    name: ClassVar[str] = "grows"

    def apply(self, graph: PGraph, context: Context) -> PGraph:
        return graph.with_(name=graph.name + "x")


@dataclass(frozen=True)
class Raises(Pass):
    """Has a defect."""

    name: ClassVar[str] = "raises"

    def apply(self, graph: PGraph, context: Context) -> PGraph:
        raise KeyError("a.wrap")


@pytest.mark.parametrize("step", [Breaks(), Grows(), Raises()], ids=lambda step: step.name)
def test_a_pass_that_goes_wrong_is_named(step):
    """It breaks the graph, never settles, or raises: compilation fails and names the pass."""
    with pytest.raises(PassError, match=step.name):
        run_pipeline(PGraph("g", (), (), ()), (*DEFAULT_PIPELINE, step))


def test_pipelines_are_written_as_text():
    """Names with commas between them, spaces do not count."""
    one, two = PASSES["prune-order"](), PASSES["split-prefill"]
    assert parse_pipeline("prune-order,split-prefill") == (one, two())
    assert parse_pipeline(" prune-order , split-prefill{ahead=2} ") == (one, two(ahead=2))
    assert parse_pipeline("") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", "no pass 'nothing'.*prune-order, deduplicate"),
        ("prune-order{size=3}", "prune-order has no option 'size=3'.*none"),
        ("prune-order;remove-dead", "cannot read"),
        ("prune-order{", "cannot read"),
        ("Prune", "cannot read"),
    ],
)
def test_wrong_pipelines_say_what_exists(text, message):
    """The name or option that is wrong, and what there is."""
    with pytest.raises(CompileError, match=message):
        parse_pipeline(text)
