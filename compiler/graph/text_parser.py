"""Reading the text form of a p-graph; ``text.py`` shows it and prints it."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping
from typing import NoReturn, cast

from teola.compiler.diagnostics import Diagnostic, render
from teola.compiler.errors import CompileError
from teola.compiler.graph.pgraph import (
    Const,
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
from teola.compiler.source import Source, Span
from teola.compiler.types import TypeSyntaxError, parse_type

REGION_KINDS = ("each", "fold", "reduce")

_TOKEN = re.compile(
    r"\s*(?:(?P<ref>~?%[A-Za-z_][\w.\-]*:[\w.]+)|(?P<id>%[A-Za-z_][\w.\-]*)|(?P<arrow>->)"
    r"|(?P<type>list<[a-z<>]+>)|(?P<word>[A-Za-z_][\w.\-]*)|(?P<mark>[={}\[\],:?@!#]))"
)
_ASSIGNMENT = re.compile(r"\s*[A-Za-z_][\w.\-]*\s*=")
_DECODER = json.JSONDecoder()


class _Line:
    """A cursor over one line; every failure becomes a diagnostic at its column."""

    def __init__(self, source: Source, number: int, text: str) -> None:
        self.source, self.number, self.text, self.at = source, number, text, 0

    def fail(self, what: str) -> NoReturn:
        column = min(self.at, len(self.text)) + 1
        span = Span(self.source, self.number, column, self.number, column + 1)
        problem = Diagnostic("graph-syntax", what, span)
        raise CompileError(render([problem]), [problem])

    def peek(self, kind: str, value: str | None = None) -> bool:
        match = _TOKEN.match(self.text, self.at)
        return bool(match and match[kind] and value in (None, match[kind]))

    def take(self, kind: str, value: str | None = None) -> str:
        match = _TOKEN.match(self.text, self.at)
        if not match or not match[kind] or value not in (None, match[kind]):
            self.fail(f"expected {value or kind}")
        self.at = match.end()
        return match[kind]

    def accept(self, kind: str, value: str | None = None) -> bool:
        if not self.peek(kind, value):
            return False
        self.take(kind, value)
        return True

    def json(self) -> Json:
        start = len(self.text) - len(self.text[self.at :].lstrip())
        try:
            value, self.at = _DECODER.raw_decode(self.text, start)
        except ValueError as error:
            self.fail(f"expected a reference or a JSON value ({error})")
        return cast(Json, value)

    def type(self) -> str:
        return self.take("type") if self.peek("type") else self.take("word")

    def known_type(self, text: str) -> str:
        """Refuse a type that there is not."""
        try:
            return str(parse_type(text))
        except TypeSyntaxError as error:
            self.fail(str(error))

    def ref(self) -> Ref:
        text = self.take("ref")
        node, _, path = text.lstrip("~")[1:].partition(":")
        port, *fields = path.split(".")
        default = (self.json(),) if self.accept("mark", "?") else None
        return Ref(node, port, tuple(fields), text.startswith("~"), default)

    def operand(self) -> Operand:
        return self.ref() if self.peek("ref") else Const(self.json())

    def assigns(self) -> bool:
        """Whether ``name=`` comes next."""
        return bool(_ASSIGNMENT.match(self.text, self.at))

    def once(self, name: str, known: Container[str]) -> None:
        """Refuse a name that was given before."""
        if name in known:
            self.fail(f"{name!r} is given twice")

    def end(self) -> None:
        if self.text[self.at :].strip():
            self.fail("expected the end of the line")


def _attributes(line: _Line) -> dict[str, Json]:
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


def _guards(line: _Line) -> tuple[Guard, ...]:
    guards: list[Guard] = []
    if line.accept("word", "when"):
        line.take("mark", "[")
        while not line.accept("mark", "]"):
            polarity = not line.accept("mark", "!")
            guards.append(Guard(line.ref(), polarity))
            if not line.peek("mark", "]"):
                line.take("mark", ",")
    return tuple(guards)


def _named(line: _Line) -> dict[str, Operand]:
    found: dict[str, Operand] = {}
    while line.assigns():
        name = line.take("word")
        line.take("mark", "=")
        line.once(name, found)
        found[name] = line.operand()
    return found


def _results(line: _Line) -> Mapping[str, Ref]:
    line.take("arrow")
    results = _named(line)
    if not all(isinstance(ref, Ref) for ref in results.values()):
        line.fail("a region's result is a reference")
    return cast(Mapping[str, Ref], results)


def _node(line: _Line, region: str) -> Node:
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


def _input(line: _Line) -> InputPort:
    name = line.take("word")
    line.take("mark", ":")
    kind = line.type()
    default = (line.json(),) if line.accept("mark", "=") else None
    about = str(line.json()) if line.accept("mark", "#") else ""
    line.end()
    return InputPort(name, line.known_type(kind), default, about)


def _output(line: _Line) -> OutputPort:
    name = line.take("word")
    line.take("mark", ":")
    kind = line.type()
    line.take("mark", "=")
    ref = line.ref()
    line.end()
    return OutputPort(name, line.known_type(kind), ref)


def _edge(line: _Line, kind: str) -> Edge:
    source = line.take("id")[1:]
    line.take("arrow")
    target = line.take("id")[1:]
    line.end()
    return Edge(kind, source, target)  # type: ignore[arg-type]  # the caller checked the word


def _engine(line: _Line) -> tuple[str, Mapping[str, Json]]:
    name = line.take("word")
    line.take("mark", "=")
    config = line.json()
    if not isinstance(config, dict):
        line.fail("an engine's settings are a JSON object")
    line.end()
    return name, config


class _Parts:
    """What has been read of a graph so far."""

    def __init__(self) -> None:
        self.name = ""
        self.engines: dict[str, Mapping[str, Json]] = {}
        self.inputs: list[InputPort] = []
        self.outputs: list[OutputPort] = []
        self.nodes: list[Node] = []
        self.edges: set[Edge] = set()
        self.open: list[str] = []

    def read(self, line: _Line) -> None:
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

    def read_header(self, line: _Line, word: str) -> None:
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
        elif word in ("order", "effect"):
            self.edges.add(_edge(line, word))
        else:
            line.at = 0
            line.fail(
                f"unknown word {word!r}; a line is a node (%id = …) or begins with "
                "graph, engine, input, output, order or effect"
            )


def parse_graph(source: Source) -> PGraph:
    """Read the text form.

    Raises:
        CompileError: a line is not of the form; the diagnostic names file, line and column.
    """
    parts = _Parts()
    line = _Line(source, 1, "")
    for number, text in enumerate(source.text.split("\n"), 1):
        if text.strip() and not text.lstrip().startswith("#"):
            line = _Line(source, number, text)
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
    )
