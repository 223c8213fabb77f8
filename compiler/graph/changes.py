"""What differs between two graphs: what a pass did, as data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from teola.compiler.graph.pgraph import Edge, Json, Node, Operand, PGraph, Primitive, Ref


@dataclass(frozen=True, slots=True)
class Stream:
    """An input that has become a stream; ``group`` is None where a region takes single items."""

    node: str
    input: str
    group: int | None


@dataclass(frozen=True, slots=True)
class Rewired:
    """An input that is fed by something else."""

    node: str
    input: str
    before: Operand
    after: Operand


@dataclass(frozen=True, slots=True)
class Configured:
    """A setting that was changed, or added."""

    node: str
    key: str
    value: Json


@dataclass(frozen=True, slots=True)
class Changes:
    """All that is different; nodes by id, everything in the order of the graphs."""

    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    edges_removed: tuple[Edge, ...] = ()
    edges_added: tuple[Edge, ...] = ()
    streams: tuple[Stream, ...] = ()
    rewired: tuple[Rewired, ...] = ()
    configured: tuple[Configured, ...] = ()

    def __bool__(self) -> bool:
        return self != Changes()


def changes(before: PGraph, after: PGraph) -> Changes:
    """What ``after`` has that ``before`` has not, and the other way round."""
    if before is after:
        return Changes()
    kept = [(before.by_id[node.id], node) for node in after.nodes if node.id in before.by_id]
    return Changes(
        tuple(node.id for node in before.nodes if node.id not in after.by_id),
        tuple(node.id for node in after.nodes if node.id not in before.by_id),
        tuple(sorted(before.edges - after.edges)),
        tuple(sorted(after.edges - before.edges)),
        tuple(stream for old, new in kept for stream in _streams(old, new)),
        tuple(rewired for old, new in kept for rewired in _rewired(old, new)),
        tuple(
            Configured(new.id, key, value)
            for old, new in kept
            for key, value in new.config.items()
            if key not in old.config or old.config[key] != value
        ),
    )


def _streams(old: Node, new: Node) -> Iterator[Stream]:
    """Inputs that are streams now, or that are cut otherwise."""
    group = new.group if isinstance(new, Primitive) else None
    same = group == (old.group if isinstance(old, Primitive) else None)
    for name, operand in new.inputs.items():
        given = old.inputs.get(name)
        was = isinstance(given, Ref) and given.stream
        if isinstance(operand, Ref) and operand.stream and not (was and same):
            yield Stream(new.id, name, group)


def _rewired(old: Node, new: Node) -> Iterator[Rewired]:
    for name, operand in new.inputs.items():
        given = old.inputs.get(name)
        if given is not None and _place(given) != _place(operand):
            yield Rewired(new.id, name, given, operand)


def _place(operand: Operand) -> object:
    if isinstance(operand, Ref):
        return operand.node, operand.port, operand.fields
    return operand
