"""Reading the text form of a p-graph; ``text.py`` shows it and prints it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from teola.compiler.graph.pgraph import (
    Edge,
    Guard,
    InputPort,
    Json,
    Node,
    Operand,
    OutputPort,
    PGraph,
    Primitive,
    Ref,
    Region,
)
from teola.compiler.graph.text_line import Line
from teola.compiler.source import Source

REGION_KINDS = ("each", "fold", "reduce")


def _attributes(line: Line) -> dict[str, Json]:
    found: dict[str, Json] = {}
    if not line.accept("mark", "{"):
        return found
    while not line.accept("mark", "}"):
        key = line.take("word")
        line.once(key, found)
        line.take("mark", "=")
        found[key] = line.take("word") if key == "engine" else line.json()
        if key == "group" and type(found[key]) is not int:
            line.fail("a group is a number of items")
        if not line.peek("mark", "}"):
            line.take("mark", ",")
    return found


def _guards(line: Line) -> tuple[Guard, ...]:
    guards: list[Guard] = []
    if line.accept("word", "when"):
        line.take("mark", "[")
        while not line.accept("mark", "]"):
            polarity = not line.accept("mark", "!")
            guards.append(Guard(line.ref(), polarity))
            if not line.peek("mark", "]"):
                line.take("mark", ",")
    return tuple(guards)


def _named(line: Line) -> dict[str, Operand]:
    found: dict[str, Operand] = {}
    while line.assigns():
        name = line.take("word")
        line.take("mark", "=")
        line.once(name, found)
        found[name] = line.operand()
    return found


def _results(line: Line) -> Mapping[str, Ref]:
    line.take("arrow")
    results = _named(line)
    if not all(isinstance(ref, Ref) for ref in results.values()):
        line.fail("a region's result is a reference")
    return cast(Mapping[str, Ref], results)


def _node(line: Line, region: str) -> Node:
    node_id = line.take("id")[1:]
    line.take("mark", "=")
    what = line.take("word")
    inputs, config = _named(line), _attributes(line)
    results = _results(line) if what in REGION_KINDS else {}
    guard = _guards(line)
    module = line.take("word") if line.accept("mark", "@") else ""
    if what in REGION_KINDS:
        line.take("mark", "[")
        line.end()
        return Region(node_id, what, inputs, results, config, guard, region, module, line.number)  # type: ignore[arg-type]  # checked by REGION_KINDS
    line.end()
    engine, group = config.pop("engine", None), config.pop("group", None)
    return Primitive(
        node_id,
        what,
        inputs,
        config,
        cast("str | None", engine),
        guard,
        region,
        cast("int | None", group),
        module,
        line.number,
    )


def _input(line: Line) -> InputPort:
    name = line.take("word")
    line.take("mark", ":")
    kind = line.type()
    default = (line.json(),) if line.accept("mark", "=") else None
    about = str(line.json()) if line.accept("mark", "#") else ""
    line.end()
    return InputPort(name, line.known_type(kind), default, about)


def _output(line: Line) -> OutputPort:
    name = line.take("word")
    line.take("mark", ":")
    kind = line.type()
    line.take("mark", "=")
    ref = line.ref()
    line.end()
    return OutputPort(name, line.known_type(kind), ref)


def _edge(line: Line, kind: str) -> Edge:
    source = line.take("id")[1:]
    line.take("arrow")
    target = line.take("id")[1:]
    line.end()
    return Edge(kind, source, target)  # type: ignore[arg-type]  # the caller checked the word


def _engine(line: Line) -> tuple[str, Mapping[str, Json]]:
    name = line.take("word")
    line.take("mark", "=")
    config = line.json()
    if not isinstance(config, dict):
        line.fail("an engine's settings are a JSON object")
    line.end()
    return name, config


def _module(line: Line) -> tuple[str, str]:
    name = line.take("word")
    line.take("mark", "=")
    uses = line.take("word")
    line.end()
    return name, uses


class _Parts:
    """What has been read of a graph so far."""

    def __init__(self) -> None:
        self.name = ""
        self.engines: dict[str, Mapping[str, Json]] = {}
        self.inputs: list[InputPort] = []
        self.outputs: list[OutputPort] = []
        self.nodes: list[Node] = []
        self.edges: set[Edge] = set()
        self.modules: dict[str, str] = {}
        self.open: list[str] = []

    def read(self, line: Line) -> None:
        if line.peek("id"):
            node = _node(line, self.open[-1] if self.open else "")
            self.nodes.append(node)
            if isinstance(node, Region):
                self.open.append(node.id)
        elif line.accept("mark", "]"):
            if not self.open:
                line.fail("no region is open here")
            self.open.pop()
            line.end()
        else:
            self.read_header(line, line.take("word"))

    def read_header(self, line: Line, word: str) -> None:
        if word == "graph":
            name = line.take("word")
            line.end()
            line.once(name, {name} if self.name else ())
            self.name = name
        elif word == "engine":
            name, config = _engine(line)
            line.once(name, self.engines)
            self.engines[name] = config
        elif word == "input":
            port = _input(line)
            line.once(port.name, [known.name for known in self.inputs])
            self.inputs.append(port)
        elif word == "output":
            out = _output(line)
            line.once(out.name, [known.name for known in self.outputs])
            self.outputs.append(out)
        elif word == "module":
            name, uses = _module(line)
            line.once(name, self.modules)
            self.modules[name] = uses
        elif word in ("order", "effect"):
            self.edges.add(_edge(line, word))
        else:
            line.at = 0
            line.fail(
                f"unknown word {word!r}; a line is a node (%id = …) or begins with "
                "graph, engine, input, module, output, order or effect"
            )


def parse_graph(source: Source) -> PGraph:
    """Read the text form.

    Raises:
        CompileError: a line is not of the form; the diagnostic names file, line and column.
    """
    parts = _Parts()
    line = Line(source, 1, "")
    for number, text in enumerate(source.text.split("\n"), 1):
        if text.strip() and not text.lstrip().startswith("#"):
            line = Line(source, number, text)
            parts.read(line)
    if parts.open:
        line.fail(f"region %{parts.open[-1]} is not closed by a line ']'")
    if not parts.name:
        line.fail("the graph has no name: begin with 'graph NAME'")
    return PGraph(
        parts.name,
        tuple(parts.inputs),
        tuple(parts.outputs),
        tuple(parts.nodes),
        frozenset(parts.edges),
        parts.engines,
        parts.modules,
    )
