"""The text form of a p-graph: ``parse_graph(print_graph(g)) == g``, source lines excepted.

    graph naive_rag
    engine llm = {"kind": "llm", "backend": "fake"}
    input question: text
    module answer = synthesize
    %answer.prefill = prefill question=%inputs:question {engine = llm, messages = [...]} @answer
    %answer.tree = reduce items=%answer.leaves:text -> text=%answer.tree.decode:text @answer [
      %answer.tree.prefill = ...
    ]
    effect %indexed.ingest -> %found.search
    output answer: text = %answer.tree:text

A reference is ``%node:port.field``, a stream one ``~%node:port``, a default follows after ``?``;
constants are JSON. ``when [%a:b, !%c:d]`` gives the guards. Lines that begin with
``#`` are comments.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from teola.compiler.graph.pgraph import Guard, Json, Node, Operand, PGraph, Primitive, Ref, Region
from teola.compiler.graph.text_parser import parse_graph

__all__ = ["parse_graph", "print_graph", "print_node", "print_operand", "print_ref"]


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


def print_ref(ref: Ref) -> str:
    """``~%node:port.field?default``."""
    path = ".".join((ref.port, *ref.fields))
    default = "" if ref.default is None else "?" + _json(ref.default[0])
    return f"{'~' if ref.stream else ''}%{ref.node}:{path}{default}"


def print_operand(operand: Operand) -> str:
    """A reference, or a constant as JSON."""
    return print_ref(operand) if isinstance(operand, Ref) else _json(operand.value)


def print_node(node: Node) -> str:
    """One node's line, without indentation; a region's ends before its ``[``."""
    what = node.operation if isinstance(node, Primitive) else node.kind
    words = [f"%{node.id} = {what}"]
    words += [f"{name}={print_operand(operand)}" for name, operand in node.inputs.items()]
    attributes = [f"{key} = {_json(value)}" for key, value in node.config.items()]
    if isinstance(node, Primitive):
        if node.group is not None:
            attributes.insert(0, f"group = {node.group}")
        if node.engine is not None:
            attributes.insert(0, f"engine = {node.engine}")
    if attributes:
        words.append("{" + ", ".join(attributes) + "}")
    if isinstance(node, Region):
        words.append("->")
        words += [f"{name}={print_ref(ref)}" for name, ref in node.results.items()]
    if node.guard:
        words.append("when [" + ", ".join(_print_guard(guard) for guard in node.guard) + "]")
    if node.module:
        words.append(f"@{node.module}")
    return " ".join(words)


def _print_guard(guard: Guard) -> str:
    return ("" if guard.polarity else "!") + print_ref(guard.condition)


def _node_lines(nodes: Iterable[Node], region: str, depth: int) -> Iterable[str]:
    nodes = list(nodes)
    for node in nodes:
        if node.region != region:
            continue
        if isinstance(node, Region):
            yield "  " * depth + print_node(node) + " ["
            yield from _node_lines(nodes, node.id, depth + 1)
            yield "  " * depth + "]"
        else:
            yield "  " * depth + print_node(node)


def print_graph(graph: PGraph) -> str:
    """The whole graph as text, ending with a newline."""
    lines = [f"graph {graph.name}"]
    lines += [f"engine {name} = {_json(dict(conf))}" for name, conf in graph.engines.items()]
    for port in graph.inputs:
        default = "" if port.default is None else f" = {_json(port.default[0])}"
        about = f" # {_json(port.description)}" if port.description else ""
        lines.append(f"input {port.name}: {port.type}{default}{about}")
    lines += [f"module {name} = {uses}" for name, uses in graph.modules.items()]
    lines += _node_lines(graph.nodes, "", 0)
    lines += [f"{e.kind} %{e.source} -> %{e.target}" for e in sorted(graph.edges)]
    lines += [f"output {out.name}: {out.type} = {print_ref(out.ref)}" for out in graph.outputs]
    return "\n".join(lines) + "\n"
