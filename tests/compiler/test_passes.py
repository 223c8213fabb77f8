"""Passes: golden cases with their command in them, and what every pass must hold."""

import io
import shlex
from collections import Counter
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import pytest
from filecheck.finput import FInput
from filecheck.matcher import Matcher
from filecheck.options import Options
from filecheck.parser import Parser
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from teola.compiler.cost.profile import Entry, Profiles, load_profiles
from teola.compiler.errors import CompileError, PassError
from teola.compiler.graph.effects import effect_edges, effects
from teola.compiler.graph.operations import OPERATIONS, In, Operation, Out, register_operation
from teola.compiler.graph.pgraph import PGraph, Primitive, Ref, Region
from teola.compiler.graph.text import parse_graph, print_graph
from teola.compiler.graph.verify import verify
from teola.compiler.graph_file import read_graph
from teola.compiler.passes.base import Context, Pass
from teola.compiler.passes.pipeline import (
    DEFAULT_PIPELINE,
    LEVELS,
    PASSES,
    choose_passes,
    options_text,
    parse_pipeline,
    run_pipeline,
)
from teola.compiler.passes.rewriting import hinted, is_hint, with_refs
from teola.compiler.passes.split_prefill import SplitPrefill
from teola.compiler.source import Source
from teola.runtime.cli.application import teola
from tests.generators import pgraphs

GOLDEN = Path(__file__).parent.parent / "golden" / "passes"
CASES = sorted(GOLDEN.rglob("*.pgraph"))
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


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.stem}")
def test_golden(case):
    """The command of the case prints what the case says."""
    found = commands(case)
    assert found, f"{case} has no line '{RUN} …'"
    for command in found:
        ours, _, check = command.partition("|")
        ours = ours.replace("%s", str(case)).replace("%S", str(case.parent))
        program, *words = shlex.split(ours)
        assert (program, check.split()) == ("teola", ["filecheck", "%s"]), command
        done = CliRunner().invoke(teola, words)
        assert done.exit_code == 0, done.output
        status, complaint = checked(case, done.stdout)
        assert status == 0, f"{complaint}\n{done.stdout}"


def test_a_golden_case_can_fail():
    """The runner of the golden cases sees a wrong output."""
    case = GOLDEN / "prune-order" / "chain.pgraph"
    assert checked(case, case.read_text(encoding="utf-8").replace("effect", "order"))[0] != 0


@pytest.mark.parametrize("name", PASSES)
def test_every_pass_has_its_cases(name):
    """A dozen at least; each states its fact first, runs the pass, and expects something."""
    cases = [case for case in CASES if case.parent.name == name]
    assert len(cases) >= 12
    for case in cases:
        lines = case.read_text(encoding="utf-8").splitlines()
        assert lines[0].startswith("# ")
        assert not lines[0].startswith(RUN)
        assert any(line.startswith("# CHECK") for line in lines)
        for command in commands(case):
            words = shlex.split(command)
            assert name in [step.name for step in parse_pipeline(words[words.index("-p") + 1])]


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


def without_streams(graph: PGraph) -> PGraph:
    """The graph with every list delivered whole."""

    def whole(ref: Ref) -> Ref:
        return replace(ref, stream=False)

    nodes = (with_refs(node, whole) for node in graph.nodes)
    return graph.with_(
        nodes=tuple(
            replace(node, group=None) if isinstance(node, Primitive) else node for node in nodes
        )
    )


@given(pgraphs())
def test_streams_are_all_that_a_stage_changes(graph):
    """decompose-stages and pipeline-decode change how lists are delivered, and nothing else; what
    was a stream is one."""
    for name in ("decompose-stages", "pipeline-decode"):
        cut = PASSES[name]().apply(graph, CONTEXT)
        assert without_streams(cut) == without_streams(graph)
        for node in graph.nodes:
            for key, ref in node.references:
                assert not ref.stream or cut.by_id[node.id].inputs[key].stream


@given(pgraphs())
def test_warm_ups_are_all_that_split_prefill_adds(graph):
    """Without them the graph is what it was; a call has one at most; what they need is known no
    later than by their call."""
    split = PASSES["split-prefill"](ahead=3).apply(graph, CONTEXT)
    warmed = [hinted(node) for node in split.nodes if is_hint(node)]
    assert len(set(warmed)) == len(warmed)
    rest = [
        replace(node, config={key: one for key, one in node.config.items() if key != "ahead"})
        if isinstance(node, Region) and node.config.get("ahead") == 3
        else node
        for node in split.nodes
        if not is_hint(node)
    ]
    assert tuple(rest) == graph.nodes
    assert (split.edges, split.outputs) == (graph.edges, graph.outputs)
    for node in split.nodes:
        if is_hint(node):
            call = split.by_id[str(hinted(node))]
            assert set(node.inputs) < set(call.inputs)
            assert set(node.guard) >= set(call.guard)


@pytest.mark.parametrize(
    ("profile", "given", "least"),
    [
        ({"base_ms": 30, "item_ms": 10, "token_ms": 0.5}, 0, 81),
        ({"base_ms": 0, "item_ms": 0, "token_ms": 0.5}, 0, 1),
        ({"base_ms": 30, "item_ms": 10, "token_ms": 0}, 0, 64),
        ({"base_ms": 30, "item_ms": 10, "token_ms": 0.5}, 7, 7),
    ],
)
def test_a_warm_up_takes_longer_than_a_request(profile, given, least):
    """The profile says how many tokens that are; the option comes before it."""
    entries = [Entry(operation=name, knee=1, **profile) for name in ("prefill", "decode")]
    context = Context(Profiles(tuple(entries), ""))
    graph = read_graph(GOLDEN / "split-prefill" / "part_by_part.pgraph")
    after = SplitPrefill(min_new_tokens=given).apply(graph, context)
    warm_ups = [node for node in after.nodes if is_hint(node)]
    assert [node.config["min_new_tokens"] for node in warm_ups] == [least]


@given(pgraphs())
def test_deduplicate_keeps_writes_and_order(graph):
    """It takes nodes away, never one that writes; those that stay wait for what they waited for."""
    joined = PASSES["deduplicate"]().apply(graph, CONTEXT)
    ids = {node.id for node in joined.nodes}
    assert [node.id for node in graph.nodes if node.id in ids] == [node.id for node in joined.nodes]
    written = {one.node.id for one in effects(graph.nodes, graph.engines) if one.writes}
    assert written <= ids
    assert {pair for pair in reached(graph) if set(pair) <= ids} <= reached(joined)
    assert [(out.name, out.type) for out in joined.outputs] == [
        (out.name, out.type) for out in graph.outputs
    ]


pipelines = st.lists(st.sampled_from(list(PASSES)), unique=True).map(
    lambda names: tuple(PASSES[name]() for name in names)
)


@given(pgraphs(), pipelines)
def test_every_subset_and_order_of_passes_settles(graph, pipeline):
    """The graph is valid and prints as it is after each pass; once more, nothing changes; twice
    gives the same."""

    def look(step, before, after):
        verify(after)
        assert parse_graph(Source("g", print_graph(after))) == after

    result, _ = run_pipeline(graph, pipeline, CONTEXT, look)
    assert run_pipeline(result, pipeline, CONTEXT)[0] is result
    assert run_pipeline(graph, pipeline, CONTEXT)[0] == result


def test_generated_graphs_give_every_pass_work():
    """Of graphs as the tests above draw them, each pass changes one in twenty at least."""
    changed: Counter[str] = Counter()

    @settings(max_examples=200)
    @given(pgraphs())
    def draw(graph):
        changed["graphs"] += 1
        for name, kind in PASSES.items():
            changed[name] += kind().apply(graph, CONTEXT) is not graph

    draw()
    assert {name for name in PASSES if changed[name] < changed["graphs"] / 20} == set()


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


NOTHING: frozenset[str] = frozenset()
BOARD = frozenset({"board"})
PLUGINS = (
    Operation(
        "translate",
        "translator",
        {"texts": In("map"), "to": In("whole")},
        {"texts": Out("list<text>", "concat", "same")},
    ),
    Operation(
        "invent",
        "translator",
        {"about": In("whole")},
        {"ideas": Out("list<text>", "concat", "any", early=True)},
        deterministic=lambda primitive: not primitive.config.get("wild"),
    ),
    Operation("join", None, {"texts": In("gather")}, {"text": Out("text")}),
    Operation(
        "look",
        "translator",
        {"about": In("whole")},
        {"text": Out("text")},
        effects=lambda _, __: (BOARD, NOTHING),
    ),
    Operation(
        "post",
        "translator",
        {"text": In("whole")},
        {"done": Out("bool")},
        effects=lambda _, __: (NOTHING, BOARD),
        pure=False,
    ),
)
"""Operations as a plug-in declares them: nothing in the compiler knows their names."""

PLUGIN_PROFILE = """{"schema": "teola.profile/1", "entries": [
  {"operation": "translate", "knee": 5, "base_ms": 10, "item_ms": 3},
  {"operation": "invent", "knee": 1, "base_ms": 500, "item_ms": 1}
]}"""

PLUGIN_HEAD = """graph plugin
engine llm = {"kind": "llm", "backend": "fake"}
engine mt = {"kind": "translator", "backend": "own"}
input xs: list<text>
input q: text
"""


@pytest.fixture
def plugin(tmp_path):
    """The plug-in's operations in the table and its profile beside the shipped ones: a function
    that runs passes on a graph's text and gives the lines of its nodes and edges."""
    for operation in PLUGINS:
        register_operation(operation)
    path = tmp_path / "plugin.profile.json"
    path.write_text(PLUGIN_PROFILE, encoding="utf-8")
    context = Context(load_profiles(path))

    def run(passes, body):
        graph = parse_graph(Source("plugin.pgraph", PLUGIN_HEAD + body))
        edges = graph.edges | effect_edges(graph.nodes, graph.engines)
        result, _ = run_pipeline(graph.with_(edges=edges), parse_pipeline(passes), context)
        lines = print_graph(result).splitlines()
        return [line for line in lines if line.startswith(("%", "order", "effect"))]

    yield run
    for operation in PLUGINS:
        del OPERATIONS[operation.name]


def test_a_plug_in_operation_is_cut_by_its_profile(plugin):
    """Its map input in groups of its own knee; its gather input gets the list whole."""
    assert plugin(
        "decompose-stages",
        """
        %a.translate = translate texts=%inputs:xs to="fr" {engine = mt}
        %b.translate = translate texts=%a.translate:texts to="de" {engine = mt}
        %c.join = join texts=%b.translate:texts
        %d.take = take items=%inputs:xs {count = 5}
        %e.translate = translate texts=%d.take:items to="fr" {engine = mt}
        %f.distinct = distinct items=%e.translate:texts
        """,
    ) == [
        '%a.translate = translate texts=~%inputs:xs to="fr" {engine = mt, group = 5}',
        '%b.translate = translate texts=~%a.translate:texts to="de" {engine = mt, group = 5}',
        "%c.join = join texts=%b.translate:texts",
        "%d.take = take items=%inputs:xs {count = 5}",
        '%e.translate = translate texts=%d.take:items to="fr" {engine = mt}',
        "%f.distinct = distinct items=%e.translate:texts",
    ]


def test_a_plug_in_operation_is_done_once(plugin):
    """Where it is deterministic and nothing is written to what it reads in between."""
    assert plugin(
        "deduplicate",
        """
        %a.translate = translate texts=%inputs:xs to="fr" {engine = mt}
        %b.translate = translate texts=%inputs:xs to="fr" {engine = mt}
        %c.translate = translate texts=%b.translate:texts to="de" {engine = mt}
        %d.invent = invent about=%inputs:q {engine = mt, wild = true}
        %e.invent = invent about=%inputs:q {engine = mt, wild = true}
        %f.look = look about=%inputs:q {engine = mt}
        %g.look = look about=%inputs:q {engine = mt}
        %h.post = post text=%f.look:text {engine = mt}
        %i.post = post text=%f.look:text {engine = mt}
        %j.look = look about=%inputs:q {engine = mt}
        """,
    ) == [
        '%a.translate = translate texts=%inputs:xs to="fr" {engine = mt}',
        '%c.translate = translate texts=%a.translate:texts to="de" {engine = mt}',
        "%d.invent = invent about=%inputs:q {engine = mt, wild = true}",
        "%e.invent = invent about=%inputs:q {engine = mt, wild = true}",
        "%f.look = look about=%inputs:q {engine = mt}",
        "%h.post = post text=%f.look:text {engine = mt}",
        "%i.post = post text=%f.look:text {engine = mt}",
        "%j.look = look about=%inputs:q {engine = mt}",
        "effect %f.look -> %h.post",
        "effect %f.look -> %i.post",
        "effect %h.post -> %i.post",
        "effect %h.post -> %j.look",
        "effect %i.post -> %j.look",
    ]


def test_a_plug_in_operation_whose_items_leave_early_is_pipelined(plugin):
    """Each idea is translated as it is had."""
    assert plugin(
        "pipeline-decode",
        """
        %a.invent = invent about=%inputs:q {engine = mt}
        %b.translate = translate texts=%a.invent:ideas to="fr" {engine = mt}
        %c.join = join texts=%b.translate:texts
        """,
    ) == [
        "%a.invent = invent about=%inputs:q {engine = mt}",
        '%b.translate = translate texts=~%a.invent:ideas to="fr" {engine = mt, group = 1}',
        "%c.join = join texts=%b.translate:texts",
    ]


def test_a_plug_in_operation_can_be_dead_or_late(plugin):
    """What writes stays though nobody uses it; what its profile says takes time makes a prompt's
    part late, the other nothing."""
    lines = plugin(
        "prune-order,remove-dead,split-prefill",
        """
        %a.look = look about=%inputs:q {engine = mt}
        %b.post = post text=%inputs:q {engine = mt}
        %c.translate = translate texts=%inputs:xs to="fr" {engine = mt}
        %d.prefill = prefill q=%inputs:q x=%c.translate:texts {engine = llm, MESSAGES}
        %d.decode = decode state=%d.prefill:state {engine = llm}
        %e.join = join texts=%inputs:xs
        %e.prefill = prefill q=%inputs:q x=%e.join:text {engine = llm, MESSAGES}
        %e.decode = decode state=%e.prefill:state {engine = llm}
        order %a.look -> %b.post
        output d: text = %d.decode:text
        output e: text = %e.decode:text
        """.replace("MESSAGES", 'messages = [{"splice": "q"}, {"splice": "x"}]'),
    )
    assert [line.partition(" {")[0] for line in lines[:3]] == [
        "%b.post = post text=%inputs:q",
        '%c.translate = translate texts=%inputs:xs to="fr"',
        "%d.partial_prefill = partial_prefill q=%inputs:q",
    ]
    assert not any(line.startswith("%e.partial_prefill") for line in lines)


def test_a_name_is_registered_once(plugin):
    """A plug-in cannot replace an operation."""
    with pytest.raises(ValueError, match="'translate' exists already"):
        register_operation(PLUGINS[0])


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


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        (
            {"x": In("mapp")},
            {},
            "input 'x': there is no kind 'mapp'; .*: map, scan, gather, whole; did you mean 'map'",
        ),
        (
            {},
            {"y": Out("list<text>", "concatt")},
            "output 'y': there is no combine 'concatt'; .*concat, sum, unit; .* mean 'concat'",
        ),
        ({}, {"y": Out("list<text>", "concat", "sam")}, "no length 'sam'; .*did you mean 'same'"),
        ({}, {"y": Out("list<txt>")}, "no type 'txt'; .*did you mean 'text'"),
        ({}, {"y": Out("lst<text>")}, "no type 'lst<text>'; there are: text, .*list<…>"),
    ],
)
def test_a_port_of_no_known_kind_is_refused(inputs, outputs, message):
    """Else passes would leave it alone, and nobody would know why."""
    with pytest.raises(ValueError, match=f"operation 'odd', .*{message}"):
        register_operation(Operation("odd", None, inputs, outputs))
    with pytest.raises(ValueError, match="operation 'odd', extra: there is no kind 'al'"):
        register_operation(Operation("odd", None, {}, {}, extra=In("al")))
    assert "odd" not in OPERATIONS


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Breaks(), "the pass breaks broke the graph: .*%a.wrap: wrap needs the input 'value'"),
        (Grows(), "still changed after 8 rounds, by the passes that diverge: grows$"),
        (Raises(), "the pass raises failed: KeyError: 'a.wrap'"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_pass_that_goes_wrong_is_named(step, message):
    """It breaks the graph, never settles, or raises: compilation fails and says which and why."""
    with pytest.raises(PassError, match=f"(?s){message}"):
        run_pipeline(PGraph("g", (), (), ()), (*DEFAULT_PIPELINE, step))


def test_pipelines_are_written_as_text():
    """Names with commas between them, spaces do not count."""
    one, two = PASSES["prune-order"](), PASSES["split-prefill"]
    assert parse_pipeline("prune-order,split-prefill") == (one, two())
    assert parse_pipeline(" prune-order , split-prefill{ahead=2} ") == (one, two(ahead=2))
    assert parse_pipeline("") == ()


@given(st.data())
def test_passes_are_told_by_the_shortest_options(data):
    """Which choose the same passes again; -O2 is the default pipeline, and -O0 none."""
    chosen = data.draw(st.lists(st.sampled_from([*DEFAULT_PIPELINE, PASSES["split-prefill"](7)])))
    level, passes, disable = None, None, []
    words = options_text(chosen).split(" ")
    for option, value in pairwise([*words, ""]):
        if option.startswith("-O"):
            level = option[1:]
        elif option == "-p":
            passes = parse_pipeline(value)
        elif option == "--disable":
            disable.append(value)
    assert choose_passes(level or "O2", passes, disable) == tuple(chosen)
    assert options_text(DEFAULT_PIPELINE) == "-O2"
    assert options_text(()) == "-O0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", "no pass 'nothing'.*prune-order, deduplicate"),
        ("prune-oder", "no pass 'prune-oder'; .*; did you mean 'prune-order'?"),
        ("split-prefill{ahed=1}", "no option 'ahed'; .*; did you mean 'ahead'?"),
        ("prune-order{size=3}", "prune-order has no option 'size'; it has: none"),
        ("split-prefill{max_group=3}", "no option 'max_group'; it has: min-new-tokens, ahead"),
        ("split-prefill{ahead}", "ahead is a whole number of at least 0, not ''"),
        ("split-prefill{ahead=1.5}", "ahead is a whole number of at least 0, not '1.5'"),
        ("split-prefill{ahead=5-}", "ahead is a whole number of at least 0, not '5-'"),
        ("split-prefill{ahead=²}", "ahead is a whole number of at least 0, not '²'"),
        ("split-prefill{ahead=-1}", "ahead is a whole number of at least 0, not -1"),
        ("split-prefill{ahead=1,ahead=2}", "split-prefill: ahead is given twice"),
        ("decompose-stages{max-group=0}", "max-group is a whole number of at least 1, not 0"),
        ("prune-order,,remove-dead", "cannot read the passes at ',remove-dead'"),
        ("prune-order;remove-dead", "cannot read"),
        ("prune-order{", "cannot read"),
        ("Prune", "cannot read"),
    ],
)
def test_wrong_pipelines_say_what_exists(text, message):
    """The name or option that is wrong, and what there is."""
    with pytest.raises(CompileError, match=message):
        parse_pipeline(text)


def test_options_are_checked_wherever_they_come_from():
    """A pass that is made in Python with a wrong option is refused too."""
    with pytest.raises(CompileError, match="max-group is a whole number of at least 1, not 'many'"):
        PASSES["decompose-stages"](max_group="many")
