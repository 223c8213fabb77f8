"""The operation table: what every operation takes, gives, reads and writes, as data.

Passes, verifier, text form and runtime read this one table; nothing else lists operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from teola.compiler.graph.pgraph import Node, Primitive, Ref
from teola.compiler.spelling import nearest
from teola.compiler.types import SCALARS

Kind = Literal["map", "scan", "gather", "whole"]
Combine = Literal["concat", "sum", "unit"]
Length = Literal["one", "same", "sum", "count", "any"]
Resolve = Callable[[Ref], "str | None"]
"""A reference to a collection -> its name, ``*`` where only a run knows it, None for an unnamed
one."""

Effects = Callable[[Primitive, Resolve], tuple[frozenset[str], frozenset[str]]]


@dataclass(frozen=True, slots=True)
class In:
    """An input port.

    map: ``f(xs ++ ys) = f(xs) ++ f(ys)``; scan: ``f(xs)`` is a prefix of ``f(xs ++ ys)``;
    gather: needs the whole list; whole: not a list of items to this operation. ``gather_when``
    names a config key that, set, makes a map input one that gathers.
    """

    kind: Kind
    required: bool = True
    gather_when: str | None = None


@dataclass(frozen=True, slots=True)
class Out:
    """An output port: its type (``T`` stands for the item type of the first list input) and how
    the outputs of groups combine: one after another, added up, or once when all groups are in.

    ``length`` bounds a list: one item, at most as many as the list inputs (same: the longest one,
    sum: all together), at most the input or config ``count``, or any number. ``early``: items leave
    one by one while the operation still runs.
    """

    type: str
    combine: Combine = "unit"
    length: Length = "any"
    early: bool = False

    @property
    def is_list(self) -> bool:
        """Whether the port carries a list of items."""
        return self.type.startswith("list<")


def no_effects(_: Primitive, __: Resolve) -> tuple[frozenset[str], frozenset[str]]:
    """The effects of an operation that touches no resource."""
    return frozenset(), frozenset()


def _always(_: Primitive) -> bool:
    return True


def _greedy(primitive: Primitive) -> bool:
    """Whether a prefill's call is decoded at temperature 0."""
    sampling = primitive.config.get("sampling")
    return not (isinstance(sampling, dict) and sampling.get("temperature"))


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table.

    ``extra`` is the kind of inputs beyond the named ones (None: there may be none). ``effects``
    gives the resources a primitive reads and writes. ``pure``: leaves no trace; ``deterministic``:
    equal requests of this primitive give equal results. ``idempotent``: a second equal request
    changes nothing. ``hint``: only prepares the primitive that its config ``hint`` names; it never
    delays, fails or changes it.
    """

    name: str
    engine_kind: str | None
    inputs: Mapping[str, In]
    outputs: Mapping[str, Out]
    extra: In | None = None
    effects: Effects = field(default=no_effects)
    pure: bool = True
    deterministic: Callable[[Primitive], bool] = field(default=_always)
    idempotent: bool = True
    hint: bool = False
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
        "embed",
        "embedder",
        {"texts": In("map")},
        {"embeddings": Out("list<embedding>", "concat", "same")},
    ),
    Operation(
        "ingest",
        "store",
        {
            "chunks": In("map", gather_when="ordered"),
            "embeddings": In("map", required=False, gather_when="ordered"),
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
        {"hits": Out("list<list<passage>>", "concat", "same")},
        extra=In("whole"),
        effects=_reads_collection,
    ),
    Operation(
        "keyword_search",
        "store",
        {"texts": In("map"), "collection": In("whole"), "top_k": In("whole")},
        {"hits": Out("list<list<passage>>", "concat", "same")},
        extra=In("whole"),
        effects=_reads_collection,
    ),
    Operation(
        "fuse",
        None,
        {"dense": In("map"), "keyword": In("map"), "top_k": In("whole")},
        {"hits": Out("list<list<passage>>", "concat", "same")},
    ),
    Operation(
        "score",
        "reranker",
        {"passages": In("map"), "query": In("whole")},
        {"passages": Out("list<passage>", "concat", "same")},
    ),
    Operation("flatten", None, {"items": In("map")}, {"items": Out("list<T>", "concat")}),
    Operation("convert", None, {"items": In("map")}, {"items": Out("list<T>", "concat", "same")}),
    Operation("wrap", None, {"value": In("whole")}, {"items": Out("list<T>", "concat", "one")}),
    Operation("cast", None, {"value": In("whole")}, {"value": Out("T")}),
    Operation("concat", None, {}, {"items": Out("list<T>", "concat", "sum")}, extra=In("scan")),
    Operation("distinct", None, {"items": In("scan")}, {"items": Out("list<T>", "concat", "same")}),
    Operation(
        "take",
        None,
        {"items": In("scan"), "count": In("whole", required=False)},
        {"items": Out("list<T>", "concat", "count")},
    ),
    Operation(
        "windows",
        None,
        {"items": In("scan")},
        {"windows": Out("list<list<T>>", "concat", "same")},
    ),
    Operation(
        "top",
        None,
        {"items": In("gather"), "count": In("whole")},
        {"items": Out("list<T>", "concat", "count")},
    ),
    Operation(
        "cited",
        None,
        {"text": In("whole"), "passages": In("gather")},
        {"passages": Out("list<passage>", "concat", "same")},
    ),
    Operation("partial_prefill", "llm", {}, {}, extra=In("whole"), hint=True),
    Operation(
        "prefill",
        "llm",
        {},
        {"state": Out("state")},
        extra=In("gather"),
        deterministic=_greedy,
        unit="decode",
    ),
    Operation(
        "decode",
        "llm",
        {
            "state": In("whole"),
            "count": In("whole", required=False),
            "exclude": In("whole", required=False),
        },
        {
            "text": Out("text"),
            "lines": Out("list<text>", "concat", "count", early=True),
            "json": Out("json"),
            "json_list": Out("list<json>", "concat", "count", early=True),
            "choice": Out("text"),
            "bool": Out("bool"),
            "probabilities": Out("json"),
        },
    ),
)

OPERATIONS: dict[str, Operation] = {row.name: row for row in _ROWS}
"""Every operation by name."""


def register_operation(operation: Operation) -> None:
    """Add a plug-in's operation to the table.

    Raises:
        ValueError: an operation of that name exists, or a port says what no port can.
    """
    if operation.name in OPERATIONS:
        raise ValueError(f"operation {operation.name!r} exists already")
    for where, what, word, known in _words(operation):
        if word not in known:
            near = nearest(word, known)
            hint = f"; did you mean {near!r}?" if near else ""
            raise ValueError(
                f"operation {operation.name!r}, {where}: there is no {what} {word!r}; there are: "
                f"{', '.join(known)}{hint}"
            )
    OPERATIONS[operation.name] = operation


def _words(operation: Operation) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """The words by which passes know the ports: where, what, the word, and those that there are."""
    inputs = [(f"input {name!r}", port) for name, port in operation.inputs.items()]
    for where, port in inputs + ([("extra", operation.extra)] if operation.extra else []):
        yield where, "kind", port.kind, get_args(Kind)
    for name, out in operation.outputs.items():
        item = out.type
        while item.startswith("list<") and item.endswith(">"):
            item = item.removeprefix("list<").removesuffix(">")
        yield f"output {name!r}", "type", item, (*SCALARS, "state", "T", "list<…>")
        yield f"output {name!r}", "combine", out.combine, get_args(Combine)
        yield f"output {name!r}", "length", out.length, get_args(Length)


def input_port(operation: Operation, name: str) -> In | None:
    """The declared input ``name``, the row for further inputs, or None where there is none."""
    return operation.inputs.get(name) or operation.extra


def input_kind(node: Node, name: str) -> Kind | None:
    """How a node takes its input ``name``; None where it has none of that name."""
    if not isinstance(node, Primitive):
        return _REGION_INPUTS.get((node.kind, name))
    operation = OPERATIONS.get(node.operation)
    port = input_port(operation, name) if operation else None
    return _kind(node, port)


def input_kinds(node: Node) -> dict[str, Kind | None]:
    """How a node takes each of its inputs."""
    if not isinstance(node, Primitive):
        return {name: _REGION_INPUTS.get((node.kind, name)) for name in node.inputs}
    operation = OPERATIONS.get(node.operation)
    if operation is None:
        return dict.fromkeys(node.inputs)
    ports, extra = operation.inputs, operation.extra
    return {name: _kind(node, ports.get(name, extra)) for name in node.inputs}


def _kind(node: Primitive, port: In | None) -> Kind | None:
    if port is None:
        return None
    gathers = port.gather_when is not None and node.config.get(port.gather_when)
    return "gather" if gathers else port.kind


def output_port(node: Node, name: str) -> Out | None:
    """The output ``name`` of a node; None where it has none of that name."""
    if not isinstance(node, Primitive):
        if name not in node.results:
            return None
        return Out("list<T>", "concat", "same") if node.kind == "each" else Out("text")
    operation = OPERATIONS.get(node.operation)
    return operation.outputs.get(name) if operation else None


_REGION_INPUTS: Mapping[tuple[str, str], Kind] = {
    ("each", "items"): "map",
    ("fold", "items"): "scan",
    ("fold", "initial"): "whole",
    ("reduce", "items"): "gather",
}
