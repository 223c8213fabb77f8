"""The operation table: what every operation takes, gives, reads and writes, as data.

Passes, verifier, text form and runtime read this one table; nothing else lists operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from teola.compiler.graph.pgraph import Primitive, Ref

Kind = Literal["map", "scan", "gather", "whole"]
Combine = Literal["concat", "sum", "unit"]
Resolve = Callable[[Ref], "str | None"]
"""A reference to a collection -> its name, ``*`` where only a run knows it, None for an unnamed
one."""

Effects = Callable[[Primitive, Resolve], tuple[frozenset[str], frozenset[str]]]


@dataclass(frozen=True, slots=True)
class In:
    """An input port.

    map: ``f(xs ++ ys) = f(xs) ++ f(ys)``; scan: ``f(xs)`` is a prefix of ``f(xs ++ ys)``;
    gather: needs the whole list; whole: not a list of items to this operation.
    """

    kind: Kind
    required: bool = True


@dataclass(frozen=True, slots=True)
class Out:
    """An output port: its type (``T`` stands for the item type of the first list input) and how
    the outputs of groups combine: one after another, added up, or once when all groups are in."""

    type: str
    combine: Combine = "unit"


def _no_effects(_: Primitive, __: Resolve) -> tuple[frozenset[str], frozenset[str]]:
    return frozenset(), frozenset()


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table.

    ``extra`` is the kind of inputs beyond the named ones (None: there may be none). ``effects``
    gives the resources a primitive reads and writes. ``pure``: equal requests give equal results
    and leave no trace. ``idempotent``: a second equal request changes nothing.
    """

    name: str
    engine_kind: str | None
    inputs: Mapping[str, In]
    outputs: Mapping[str, Out]
    extra: In | None = None
    effects: Effects = field(default=_no_effects)
    pure: bool = True
    idempotent: bool = True
    unit: str | None = None
    """The operation this one must be followed by, exactly once, as one unit (prefill: decode)."""


def _collection(primitive: Primitive, resolve: Resolve) -> str | None:
    """The resource of a named collection; None for an unnamed one (its data edge says all)."""
    given = primitive.inputs.get("collection")
    name = resolve(given) if isinstance(given, Ref) else given and given.value
    return f"{primitive.engine}/{name}" if name is not None else None


def _reads_collection(
    primitive: Primitive, resolve: Resolve
) -> tuple[frozenset[str], frozenset[str]]:
    resource = _collection(primitive, resolve)
    return (frozenset({resource}) if resource else frozenset()), frozenset()


def _writes_collection(
    primitive: Primitive, resolve: Resolve
) -> tuple[frozenset[str], frozenset[str]]:
    resource = _collection(primitive, resolve)
    return frozenset(), (frozenset({resource}) if resource else frozenset())


def same_resource(one: str, other: str) -> bool:
    """Whether two resources can be one: ``store/*`` is every named collection of its store."""
    if one == other:
        return True
    a, _, name_a = one.rpartition("/")
    b, _, name_b = other.rpartition("/")
    return a == b and "*" in (name_a, name_b)


_ROWS = (
    Operation(
        "chunk",
        None,
        {"documents": In("map"), "meta": In("whole", required=False)},
        {"chunks": Out("list<chunk>", "concat")},
    ),
    Operation(
        "embed", "embedder", {"texts": In("map")}, {"embeddings": Out("list<embedding>", "concat")}
    ),
    Operation(
        "ingest",
        "store",
        {
            "chunks": In("map"),
            "embeddings": In("map"),
            "documents": In("gather", required=False),
            "collection": In("whole", required=False),
        },
        {"collection": Out("collection"), "count": Out("int", "sum")},
        effects=_writes_collection,
        pure=False,
    ),
    Operation(
        "search",
        "store",
        {"embeddings": In("map"), "collection": In("whole"), "top_k": In("whole")},
        {"hits": Out("list<list<passage>>", "concat")},
        effects=_reads_collection,
    ),
    Operation(
        "score",
        "reranker",
        {"passages": In("map"), "query": In("whole")},
        {"passages": Out("list<passage>", "concat")},
    ),
    Operation("flatten", None, {"items": In("map")}, {"items": Out("list<T>", "concat")}),
    Operation("convert", None, {"items": In("map")}, {"items": Out("list<T>", "concat")}),
    Operation("wrap", None, {"value": In("whole")}, {"items": Out("list<T>", "concat")}),
    Operation("cast", None, {"value": In("whole")}, {"value": Out("T")}),
    Operation("concat", None, {}, {"items": Out("list<T>", "concat")}, extra=In("scan")),
    Operation("distinct", None, {"items": In("scan")}, {"items": Out("list<T>", "concat")}),
    Operation(
        "take",
        None,
        {"items": In("scan"), "count": In("whole", required=False)},
        {"items": Out("list<T>", "concat")},
    ),
    Operation("windows", None, {"items": In("scan")}, {"windows": Out("list<list<T>>", "concat")}),
    Operation(
        "top",
        None,
        {"items": In("gather"), "count": In("whole")},
        {"items": Out("list<T>", "concat")},
    ),
    Operation(
        "cited",
        None,
        {"text": In("whole"), "passages": In("gather")},
        {"passages": Out("list<passage>", "concat")},
    ),
    Operation("prefill", "llm", {}, {"state": Out("state")}, extra=In("gather"), unit="decode"),
    Operation(
        "decode",
        "llm",
        {
            "state": In("whole"),
            "count": In("whole", required=False),
            "exclude": In("whole", required=False),
        },
        {"text": Out("text"), "lines": Out("list<text>", "concat")},
    ),
)

OPERATIONS: dict[str, Operation] = {row.name: row for row in _ROWS}
"""Every operation by name."""


def register_operation(operation: Operation) -> None:
    """Add a plug-in's operation to the table.

    Raises:
        ValueError: an operation of that name exists.
    """
    if operation.name in OPERATIONS:
        raise ValueError(f"operation {operation.name!r} exists already")
    OPERATIONS[operation.name] = operation


def input_kind(operation: Operation, name: str) -> In | None:
    """The declared input ``name``, the row for further inputs, or None where there is none."""
    return operation.inputs.get(name) or operation.extra
