"""How long a list can be, as far as the graph tells: from constants and the operation table."""

from __future__ import annotations

from teola.compiler.graph.operations import input_kinds, output_port
from teola.compiler.graph.pgraph import INPUTS, Const, Node, Operand, PGraph, Ref


class Lengths:
    """Upper bounds of a graph's lists; None is unknown."""

    def __init__(self, graph: PGraph) -> None:
        self.graph = graph
        self._found: dict[tuple[str, str], int | None] = {}

    def of(self, operand: Operand) -> int | None:
        """The most items that the list ``operand`` can have."""
        if isinstance(operand, Const):
            return len(operand.value) if isinstance(operand.value, list) else None
        node = self.graph.by_id.get(operand.node)
        if operand.node == INPUTS or operand.fields or node is None:
            return None
        place = (operand.node, operand.port)
        if place not in self._found:
            self._found[place] = None  # a graph with a cycle ends here
            self._found[place] = self._port(node, operand.port)
        return self._found[place]

    def _port(self, node: Node, name: str) -> int | None:
        port = output_port(node, name)
        if port is None or not port.is_list:
            return None
        if port.length == "one":
            return 1
        lists = [self.of(operand) for operand in _lists(node)]
        known = [length for length in lists if length is not None]
        complete = bool(lists) and len(known) == len(lists)
        if port.length == "same":
            return max(known) if complete else None
        if port.length == "sum":
            return sum(known) if complete else None
        if port.length == "count":
            count = _count(node)
            bounds = known + ([count] if count is not None else [])
            return min(bounds) if bounds else None
        return None


def _lists(node: Node) -> list[Operand]:
    kinds = input_kinds(node)
    return [node.inputs[name] for name, kind in kinds.items() if kind in ("map", "scan", "gather")]


def _count(node: Node) -> int | None:
    """The constant ``count`` of a node, from its inputs or its config."""
    given = node.inputs.get("count")
    if isinstance(given, Ref):
        return None
    value = given.value if given is not None else node.config.get("count")
    return value if isinstance(value, int) and not isinstance(value, bool) else None
