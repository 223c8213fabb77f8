"""A file with a p-graph in text form: read, verified, and every problem at its line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from teola.compiler.diagnostics import Diagnostics, nearest
from teola.compiler.errors import GraphError
from teola.compiler.graph.operations import OPERATIONS
from teola.compiler.graph.pgraph import BOUND_PORTS, INPUTS, PGraph, Primitive
from teola.compiler.graph.text import parse_graph
from teola.compiler.graph.verify import verify
from teola.compiler.model_folders import check_folder, located
from teola.compiler.source import Source, Span

_OF_NODE = re.compile(r"%(?P<id>[\w.\-]+): (?P<what>.*)", re.DOTALL)
_OF_OUTPUT = re.compile(r"output (?P<name>\w+): ")
_NAMED = re.compile(r"'([^']+)'|(%[\w.\-]+:[\w]+|%[\w.\-]+)")


def read_graph(path: Path) -> PGraph:
    """Read and verify a ``*.pgraph`` file; folders of models are relative to its own.

    Raises:
        CompileError: it is not of the form, breaks the operation table, or names a folder without
            a model; each problem has its line and column.
    """
    source = Source.read(path)
    diagnostics = Diagnostics()
    graph = _with_folders(parse_graph(source), source, path.resolve().parent, diagnostics)
    try:
        verify(graph)
    except GraphError as error:
        if not error.problems:
            raise
        for problem in error.problems:
            _report(problem, graph, source, diagnostics)
    diagnostics.raise_if_errors()
    return graph


def _with_folders(graph: PGraph, source: Source, folder: Path, diagnostics: Diagnostics) -> PGraph:
    engines = dict(graph.engines)
    for name, config in graph.engines.items():
        path = config.get("path")
        if isinstance(path, str):
            place = located(path, folder)
            line = _line_of(source, rf"\s*engine\s+{re.escape(name)}\b")
            if config.get("kind") != "store":
                check_folder(path, place, _span(source, line, [path]), diagnostics)
            engines[name] = {**config, "path": str(place)}
    return graph if engines == graph.engines else graph.with_(engines=engines)


def _report(problem: str, graph: PGraph, source: Source, diagnostics: Diagnostics) -> None:
    """One broken rule, at the node that breaks it: under the word that the problem names."""
    lines = {node.id: node.line for node in graph.nodes}
    of_node, of_output = _OF_NODE.match(problem), _OF_OUTPUT.match(problem)
    named = [quoted or ref for quoted, ref in _NAMED.findall(problem)]
    if of_output is not None:
        line = _line_of(source, rf"\s*output\s+{of_output['name']}\b")
    else:
        line = next((lines[word[1:]] for word in named if word[1:] in lines), 0)
        line = line or _line_of(source, rf".*{re.escape(named[0])}\b" if named else "")
    words = [*named[1:], *named[:1]] if of_node is not None else named
    near = _meant(of_node["what"] if of_node is not None else problem, graph)
    if near is None and of_node is not None and of_node["id"] not in lines:
        near = _near(of_node["id"], lines, "%")
    diagnostics.error(
        "graph-rule",
        problem,
        _span(source, line, words),
        help=f"did you mean {near}?" if near else None,
    )


def _meant(what: str, graph: PGraph) -> str | None:
    """The name that exists and is nearest to the one that does not."""
    if match := re.match(r"there is no operation '(.+)'", what):
        return _near(match[1], [*OPERATIONS, *BOUND_PORTS])
    if match := re.match(r"the engine '(.+)' is not declared", what):
        return _near(match[1], graph.engines)
    if (match := re.match(r"(\w+) has no input '(.+)'", what)) and match[1] in OPERATIONS:
        return _near(match[2], OPERATIONS[match[1]].inputs)
    if match := re.search(r"%([\w.\-]+):(\w+) does not exist", what):
        return _near_port(graph, match[1], match[2])
    return None


def _near_port(graph: PGraph, id_: str, port: str) -> str | None:
    ports = _ports(graph, id_)
    if ports is not None:
        return _near(port, ports, f"%{id_}:")
    near = nearest(id_, [*(node.id for node in graph.nodes), INPUTS])
    return f"%{near}:{port}" if near else None


def _ports(graph: PGraph, id_: str) -> Iterable[str] | None:
    """What a node, or the inputs, can be asked for; None where there is no such node."""
    if id_ == INPUTS:
        return [port.name for port in graph.inputs]
    node = graph.by_id.get(id_)
    if node is None:
        return None
    if not isinstance(node, Primitive):
        return [*node.results, *BOUND_PORTS[node.kind]]
    return OPERATIONS[node.operation].outputs if node.operation in OPERATIONS else ()


def _near(word: str, known: Iterable[str], before: str = "") -> str | None:
    near = nearest(word, known)
    return f"{before}{near}" if near is not None and near != word else None


def _line_of(source: Source, pattern: str) -> int:
    """The first line that ``pattern`` matches from its beginning, else the first of the file."""
    compiled = re.compile(pattern)
    lines = enumerate(source.lines, 1)
    return next((number for number, text in lines if compiled.match(text)), 1)


def _span(source: Source, line: int, words: Iterable[str]) -> Span:
    """The first of ``words`` that stands in the line, else the whole line."""
    text = source.line(line) or ""
    for word in words:
        match = re.search(rf"(?<![\w.\-%]){re.escape(word)}(?![\w\-])", text)
        if match is not None:
            return Span(source, line, match.start() + 1, line, match.end() + 1)
    start = len(text) - len(text.lstrip())
    return Span(source, line, start + 1, line, max(len(text), start + 1) + 1)
