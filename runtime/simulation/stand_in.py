"""Plans whose engines are simulated ones that stand for their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from teola.compiler.cost.costs import priced
from teola.compiler.cost.profile import Profiles
from teola.compiler.cost.shapes import CHUNK, Shapes
from teola.compiler.cost.sizes import size_name
from teola.compiler.engines import BACKENDS, canonical
from teola.compiler.graph.pgraph import Json, PGraph, Primitive, Ref
from teola.compiler.plan import Plan
from teola.runtime.errors import InputError, UnsupportedError
from teola.runtime.simulation.workload import Application

SEARCHES = ("search", "keyword_search")


def simulated(
    applications: Sequence[Application], profile: Path | None, replicas: Mapping[str, int]
) -> list[Plan]:
    """The plans on simulated engines, whose answers and passages have the workloads' sizes.
    Engines of one name are one engine.

    Raises:
        UnsupportedError: there is an engine of a kind that cannot be simulated.
        InputError: ``replicas`` names no engine.
    """
    uses: dict[str, list[_Use]] = {}
    for one in applications:
        shapes = Shapes(one.plan.graph, one.workload.sizes)
        for name, settings in one.plan.graph.engines.items():
            if (settings["kind"], "simulated") not in BACKENDS:
                raise UnsupportedError(
                    f"engine '{name}' is of kind {settings['kind']}, which cannot be simulated"
                )
            uses.setdefault(name, []).append(_Use(one, shapes, name))
    for name in replicas:
        if name not in uses:
            raise InputError(f"there is no engine {name!r}; there are: {', '.join(sorted(uses))}")
    engines = {
        name: canonical(_stand_in(own, profile, replicas.get(name))) for name, own in uses.items()
    }
    return [
        replace(one.plan, graph=one.plan.graph.with_(engines=_own(one.plan, engines)))
        for one in applications
    ]


def _own(plan: Plan, engines: Mapping[str, dict[str, Json]]) -> dict[str, dict[str, Json]]:
    return {name: engines[name] for name in plan.graph.engines}


@dataclass(frozen=True)
class _Use:
    """An engine of an application, by its name there."""

    application: Application
    shapes: Shapes
    name: str

    @property
    def settings(self) -> Mapping[str, Json]:
        """What it is."""
        return self.shapes.graph.engines[self.name]

    @property
    def replicas(self) -> int:
        """How many the application asks for."""
        return int(str(self.settings.get("replicas", 1)))

    def nodes(self, *operations: str) -> list[Primitive]:
        """What the application asks of it."""
        return [
            node
            for node in self.shapes.graph.nodes
            if isinstance(node, Primitive)
            and node.engine == self.name
            and node.operation in operations
        ]


def _stand_in(
    uses: Sequence[_Use], profile: Path | None, replicas: int | None
) -> dict[str, object]:
    settings = uses[0].settings
    config: dict[str, object] = {
        "kind": settings["kind"],
        "backend": "simulated",
        "stands_for": {**priced(settings), "replicas": 1},
        "profile": None if profile is None else str(profile),
        "replicas": replicas or max(use.replicas for use in uses),
    }
    workload = uses[0].application.workload
    if settings["kind"] == "llm":
        decodes = [(use, node) for use in uses for node in use.nodes("decode")]
        config |= {
            "answer_tokens": {_asker(use, node): use.shapes.answer(node) for use, node in decodes},
            "answer_lines": {
                _asker(use, node): use.shapes.of(Ref(node.id, port)).items
                for use, node in decodes
                if (port := _shape(node)) in ("lines", "json_list")
            },
            "spread": workload.spread,
            "seed": workload.seed,
            "adapters": settings.get("adapters") or {},
        }
    if settings["kind"] == "store":
        found = [
            use.shapes.of(Ref(node.id, "hits")) for use in uses for node in use.nodes(*SEARCHES)
        ]
        config["passage_tokens"] = max((shape.tokens for shape in found), default=CHUNK)
        config["common_passages"] = min(map(_common, uses))
    return config


def _asker(use: _Use, node: Primitive) -> str:
    return f"{use.application.name}:{node.id}"


def _shape(decode: Primitive) -> str:
    output = decode.config.get("output")
    return str(output.get("shape")) if isinstance(output, dict) else "text"


def _common(use: _Use) -> int:
    """How many passages all searches of a query must find alike, for what they find together to
    have as many different ones as somebody said."""
    graph, sizes = use.shapes.graph, use.application.workload.sizes
    for search in use.nodes(*SEARCHES):
        dims = use.shapes.of(Ref(search.id, "hits")).dims
        made = {search.id}
        for node in graph.nodes:
            if isinstance(node, Primitive) and node.engine is None and node.sources & made:
                made.add(node.id)
                different = sizes.items.get(size_name(Ref(node.id, "items")))
                if node.operation == "distinct" and different and len(dims) == 2 and dims[0] > 1:
                    searches, each = dims
                    alike = round((searches * each - different) / (searches - 1))
                    return min(each, max(0, alike))
    return 0


def rough(graphs: Iterable[PGraph], profiles: Profiles) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The entries (``decode on llm``) that are structural, and the operations that have none and
    take no time."""
    structural: dict[str, None] = {}
    unknown: dict[str, None] = {}
    for graph in graphs:
        for node in graph.nodes:
            if not isinstance(node, Primitive) or node.engine is None or node.config.get("hint"):
                continue
            entry = profiles.entry(node.operation, priced(graph.engines[node.engine]))
            if entry is None:
                unknown[f"{node.operation} on {node.engine}"] = None
            elif entry.origin == "structural":
                structural[f"{node.operation} on {node.engine}"] = None
    return tuple(structural), tuple(unknown)
