"""A plan whose engines are simulated ones that stand for its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from teola.compiler.cost.costs import priced
from teola.compiler.cost.profile import Profiles
from teola.compiler.cost.shapes import CHUNK, Shapes
from teola.compiler.engines import BACKENDS, canonical
from teola.compiler.graph.pgraph import Json, PGraph, Primitive, Ref
from teola.compiler.plan import Plan
from teola.runtime.errors import UnsupportedError
from teola.runtime.simulation.workload import Workload


def simulated(plan: Plan, workload: Workload, profile: Path | None) -> Plan:
    """The plan on simulated engines, whose answers and passages have the workload's sizes.

    Raises:
        UnsupportedError: it has an engine of a kind that cannot be simulated.
    """
    for name, settings in plan.graph.engines.items():
        if (settings["kind"], "simulated") not in BACKENDS:
            raise UnsupportedError(
                f"engine '{name}' is of kind {settings['kind']}, which cannot be simulated"
            )
    shapes = Shapes(plan.graph, workload.sizes)
    engines = {
        name: canonical(_stand_in(name, settings, shapes, workload, profile))
        for name, settings in plan.graph.engines.items()
    }
    return replace(plan, graph=plan.graph.with_(engines=engines))


def _stand_in(
    name: str,
    settings: Mapping[str, Json],
    shapes: Shapes,
    workload: Workload,
    profile: Path | None,
) -> dict[str, object]:
    config: dict[str, object] = {
        "kind": settings["kind"],
        "backend": "simulated",
        "stands_for": dict(priced(settings)),
        "profile": None if profile is None else str(profile),
    }
    if settings["kind"] == "llm":
        decodes = list(_own(shapes.graph, name, "decode"))
        config |= {
            "answer_tokens": {node.id: shapes.answer(node) for node in decodes},
            "answer_lines": {
                node.id: shapes.of(Ref(node.id, "lines")).items for node in decodes if _lines(node)
            },
            "spread": workload.spread,
            "seed": workload.seed,
        }
    if settings["kind"] == "store":
        found = [shapes.of(Ref(node.id, "hits")) for node in _own(shapes.graph, name, "search")]
        config["passage_tokens"] = max((shape.tokens for shape in found), default=CHUNK)
    return config


def _own(graph: PGraph, engine: str, operation: str) -> Iterator[Primitive]:
    for node in graph.nodes:
        if isinstance(node, Primitive) and (node.engine, node.operation) == (engine, operation):
            yield node


def _lines(decode: Primitive) -> bool:
    output = decode.config.get("output")
    return isinstance(output, dict) and output.get("shape") == "lines"


def rough(graph: PGraph, profiles: Profiles) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The entries (``decode on llm``) that are structural, and the operations that have none and
    take no time."""
    structural: dict[str, None] = {}
    unknown: dict[str, None] = {}
    for node in graph.nodes:
        if not isinstance(node, Primitive) or node.engine is None or node.config.get("hint"):
            continue
        entry = profiles.entry(node.operation, priced(graph.engines[node.engine]))
        if entry is None:
            unknown[f"{node.operation} on {node.engine}"] = None
        elif entry.origin == "structural":
            structural[f"{node.operation} on {node.engine}"] = None
    return tuple(structural), tuple(unknown)
