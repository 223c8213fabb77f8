"""Effect edges: two nodes that touch one resource, one of them writing, keep their chain order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from teola.compiler.graph.operations import OPERATIONS, Resolve, no_effects, same_resource
from teola.compiler.graph.pgraph import Const, Edge, Json, Node, Primitive, Ref


class Effect(NamedTuple):
    """A node that reads or writes resources."""

    node: Primitive
    reads: frozenset[str]
    writes: frozenset[str]


def resolver(nodes: Mapping[str, Node]) -> Resolve:
    """Which collection a reference means: the one that the node it names fills."""

    def resolve(ref: Ref) -> str | None:
        target = nodes.get(ref.node)
        operation = OPERATIONS.get(target.operation) if isinstance(target, Primitive) else None
        if target is None or operation is None or "collection" not in operation.outputs:
            return "*"
        name = target.inputs.get("collection")
        if name is None:
            return None
        return str(name.value) if isinstance(name, Const) else "*"

    return resolve


Engines = Mapping[str, Mapping[str, Json]]


def effects(nodes: Sequence[Node], engines: Engines) -> list[Effect]:
    """Every primitive with an effect, in chain order; engines of equal settings are one."""
    found = []
    rows = {row.name: row for row in OPERATIONS.values() if row.effects is not no_effects}
    resolve = resolver({node.id: node for node in nodes})
    homes = homes_of(engines)
    for node in nodes:
        if not isinstance(node, Primitive) or node.operation not in rows:
            continue
        reads, writes = rows[node.operation].effects(node, resolve)
        if reads or writes:
            found.append(Effect(node, _at_home(reads, homes), _at_home(writes, homes)))
    return found


def homes_of(engines: Engines) -> dict[str, str]:
    """Engine name -> the first engine with the same settings, however many replicas they have."""
    alone = {name: {**config, "replicas": 1} for name, config in engines.items()}
    return {
        name: next(other for other, same in alone.items() if same == config)
        for name, config in alone.items()
    }


def _at_home(resources: frozenset[str], homes: Mapping[str, str]) -> frozenset[str]:
    """The resources, named after the first of equal engines."""
    split = (resource.partition("/") for resource in resources)
    return frozenset(f"{homes.get(engine, engine)}/{name}" for engine, _, name in split)


def conflict(one: Effect, other: Effect) -> bool:
    """Whether the two touch one resource and at least one of them writes it."""
    pairs = (
        (one.writes, other.writes),
        (one.writes, other.reads),
        (one.reads, other.writes),
    )
    return any(same_resource(a, b) for left, right in pairs for a in left for b in right)


def effect_edges(nodes: Sequence[Node], engines: Engines) -> frozenset[Edge]:
    """The effect edges that the table demands of ``nodes`` (in chain order).

    A primitive inside a region is stood for by the region, as seen from outside: an effect on a
    region waits for all its items (compiler.md, "Streams").
    """
    touching = effects(nodes, engines)
    if len(touching) < 2:
        return frozenset()
    parents = {node.id: node.region for node in nodes}
    edges = set()
    for first, second in combinations(touching, 2):
        if first.node.id not in second.node.sources and conflict(first, second):
            source, target = _lift(first.node.id, second.node.id, parents)
            if source != target:
                edges.add(Edge("effect", source, target))
    return frozenset(edges)


def _path(node_id: str, parents: dict[str, str]) -> list[str]:
    """The ids from the outermost region down to the node itself."""
    path = [node_id]
    while parents.get(path[-1]):
        path.append(parents[path[-1]])
    return path[::-1]


def _lift(one: str, other: str, parents: dict[str, str]) -> tuple[str, str]:
    """The two ancestors (or the nodes themselves) that stand in the same region."""
    for a, b in zip(_path(one, parents), _path(other, parents), strict=False):
        if a != b:
            return a, b
    return one, one
