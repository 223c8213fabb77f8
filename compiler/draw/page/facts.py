"""What there is to know about a box, for whoever points at it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from teola.compiler.cost.critical_path import CriticalPath
from teola.compiler.cost.estimate import Estimate
from teola.compiler.cost.profile import Entry
from teola.compiler.graph.egraph import EGraph
from teola.compiler.graph.operations import OPERATIONS
from teola.compiler.graph.pgraph import Json, Node, PGraph, Primitive
from teola.compiler.graph.text import print_operand, print_ref
from teola.compiler.passes.base import Context

Rows = tuple[tuple[str, str], ...]
"""(what, its value): the first row is the heading."""


@dataclass(slots=True)
class FactTable:
    """All facts of a page, each only once, by number."""

    rows: list[Rows] = field(default_factory=list)
    _numbers: dict[Rows, int] = field(default_factory=dict)

    def number(self, rows: Rows) -> int:
        """The number under which the page finds ``rows``."""
        if rows not in self._numbers:
            self._numbers[rows] = len(self.rows)
            self.rows.append(rows)
        return self._numbers[rows]


@dataclass(frozen=True, slots=True)
class Prediction:
    """One query of a graph, as it is expected to run."""

    egraph: EGraph
    estimate: Estimate
    path: CriticalPath

    def busy_ms(self) -> dict[str, tuple[int, float]]:
        """Primitive -> its instances, and the time from the first one's start to the last one's
        end."""
        spans: dict[str, tuple[int, float, float]] = {}
        for task in self.egraph.tasks:
            if task.form != "join":
                timing = self.estimate.timings[task.id]
                number, start, end = spans.get(task.primitive, (0, timing.start_ms, 0.0))
                spans[task.primitive] = (
                    number + 1,
                    min(start, timing.start_ms),
                    max(end, timing.end_ms),
                )
        return {name: (number, end - start) for name, (number, start, end) in spans.items()}


def graph_facts(graph: PGraph, context: Context, prediction: Prediction) -> dict[str, Rows]:
    """Facts about every box of a p-graph's picture."""
    busy = prediction.busy_ms()
    on_path = prediction.path.primitives
    found: dict[str, Rows] = {}
    for port in graph.inputs:
        given = () if port.default is None else (("default", _json(port.default[0])),)
        about = (("about", port.description),) if port.description else ()
        found[f"in:{port.name}"] = (("input", port.name), ("type", port.type), *about, *given)
    for node in graph.nodes:
        if isinstance(node, Primitive):
            timed = _timed(busy.get(node.id), on_path.get(node.id))
            found[node.id] = (*_node(graph, node, context), *timed)
    for out in graph.outputs:
        rows = (("output", out.name), ("type", out.type), ("from", print_ref(out.ref)))
        found[f"out:{out.name}"] = rows
    return found


def module_facts(graph: PGraph, prediction: Prediction) -> dict[str, Rows]:
    """Facts about every box of a module graph's picture."""
    homes: dict[str, list[Node]] = {}
    for node in graph.nodes:
        homes.setdefault(node.module or node.id, []).append(node)
    took = prediction.estimate.modules
    found: dict[str, Rows] = {}
    for name, nodes in homes.items():
        rows = [
            ("module", name),
            ("uses", graph.modules.get(name, "")),
            ("in the file", _line(nodes[0])),
        ]
        rows.append(("becomes", ", ".join(_short(node, name) for node in nodes)))
        if name in took:
            rows.append(("is at work", f"{milliseconds(took[name])} (predicted)"))
        found[name] = tuple(row for row in rows if row[1])
    return found


def _short(node: Node, module: str) -> str:
    return node.id.removeprefix(f"{module}.")


def _node(graph: PGraph, node: Primitive, context: Context) -> Iterator[tuple[str, str]]:
    yield "primitive", node.id
    yield "operation", node.operation
    uses = graph.modules.get(node.module, "")
    if node.module:
        yield "module", f"{node.module} ({uses})" if uses else node.module
    yield "in the file", _line(node)
    if node.engine is not None:
        yield f"engine {node.engine}", _settings(graph.engines.get(node.engine, {}))
    for name, operand in node.inputs.items():
        yield f"takes {name}", print_operand(operand)
    for name, port in OPERATIONS[node.operation].outputs.items():
        yield f"gives {name}", port.type + (", item by item" if port.early else "")
    if node.group is not None:
        yield "group", f"{node.group} items at a time"
    for guard in node.guard:
        yield "only when", ("" if guard.polarity else "not ") + print_ref(guard.condition)
    for key, value in node.config.items():
        yield key, _value(value)
    entry = context.entry(graph, node)
    yield "profile", _profile(entry) if entry else "no entry: counts as free"


def _line(node: Node) -> str:
    return f"line {node.line}" if node.line else ""


def _settings(settings: Mapping[str, Json]) -> str:
    """The settings of an engine that say something."""
    return ", ".join(
        f"{name} {value if isinstance(value, str) else _json(value)}"
        for name, value in settings.items()
        if value is not None and value != "auto"
    )


def _value(value: Json) -> str:
    """A setting as a reader wants it: prompts as the texts they are."""
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        return "\n".join(_message(one) for one in value if isinstance(one, dict))
    return value if isinstance(value, str) else _json(value)


def _message(entry: Mapping[str, Json]) -> str:
    if "template" in entry:
        return f"{entry.get('role', '')}: {entry['template']}"
    return _json(dict(entry))


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


def _profile(entry: Entry) -> str:
    costs = [f"{entry.base_ms:g} ms", f"{entry.item_ms:g} ms an item"]
    if entry.token_ms:
        costs.append(f"{entry.token_ms:g} ms a token")
    origin = "measured" if entry.origin == "measured" else "a rough figure, not measured"
    return f"{' + '.join(costs)}; batches of {entry.knee} pay off ({origin})"


def _timed(busy: tuple[int, float] | None, on_path: float | None) -> Iterator[tuple[str, str]]:
    if busy is not None:
        number, span = busy
        times = f"{number} times, " if number > 1 else ""
        yield "predicted", f"{times}{milliseconds(span)} from first start to last end"
    if on_path:
        yield "critical path", f"{milliseconds(on_path)} of it"


def milliseconds(ms: float) -> str:
    """A time in a unit that suits it."""
    return f"{ms / 1000:.2f} s" if ms >= 1000 else f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"
