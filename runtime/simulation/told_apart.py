"""Applications that share a pool, told apart: names of their own, engines by one name each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, count

from teola.compiler.graph.pgraph import Json, Node, PGraph, Primitive
from teola.runtime.simulation.workload import Application

NAMING = ("tokenizer", "embedder")
"""Settings of primitives that name an engine."""


def unique(names: Sequence[str]) -> list[str]:
    """The names; the second of a kind gets ``#2``, and so on."""
    found: list[str] = []
    for name in names:
        tries = chain((name,), (f"{name}#{number}" for number in count(2)))
        found.append(next(one for one in tries if one not in found))
    return found


def told_apart(applications: Sequence[Application]) -> list[Application]:
    """Each with a name of its own, which its workflow has, too. Engines of equal settings have the
    name that the first of them has; different ones of one name are ``application:engine``."""
    names = unique([one.name or one.plan.name for one in applications])
    known: dict[str, str] = {}
    found = []
    for name, one in zip(names, applications, strict=True):
        graph = one.plan.graph
        called = {own: _called(own, graph, name, known) for own in graph.engines}
        plan = replace(one.plan, graph=_renamed(graph, called).with_(name=name))
        found.append(Application(plan, one.workload, name))
    return found


def _called(own: str, graph: PGraph, application: str, known: dict[str, str]) -> str:
    settings = {key: value for key, value in graph.engines[own].items() if key != "replicas"}
    key = json.dumps(settings, sort_keys=True)
    if key not in known:
        taken = known.values()
        known[key] = own if own not in taken else f"{application}:{own}"
    return known[key]


def _renamed(graph: PGraph, called: Mapping[str, str]) -> PGraph:
    if all(old == new for old, new in called.items()):
        return graph
    engines: dict[str, Mapping[str, Json]] = {}
    for name, settings in graph.engines.items():
        engines.setdefault(called[name], settings)
    return graph.with_(
        engines=engines, nodes=tuple(_with_names(node, called) for node in graph.nodes)
    )


def _with_names(node: Node, called: Mapping[str, str]) -> Node:
    if not isinstance(node, Primitive):
        return node
    config = {
        key: called[value] if key in NAMING and isinstance(value, str) else value
        for key, value in node.config.items()
    }
    return replace(node, engine=called[node.engine] if node.engine else None, config=config)


def replicas_of(applications: Sequence[Application]) -> dict[str, int]:
    """Engine -> replicas that the plans ask for, of applications that are told apart."""
    found: dict[str, int] = {}
    for one in applications:
        for name, settings in one.plan.graph.engines.items():
            found[name] = max(found.get(name, 1), int(str(settings.get("replicas", 1))))
    return found
