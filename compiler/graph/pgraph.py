"""The primitive graph: immutable nodes, references between them, explicit ordering edges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, TypeAlias

from teola.compiler.graph.lazy import lazy

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""Plain data: what configs, constants and plans are made of."""

INPUTS = "inputs"
"""The node name under which references reach the workflow's inputs."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to an output port of a node, or to a workflow input (``node == INPUTS``).

    ``fields`` walks into a record (``inputs.doc.name``); ``stream`` delivers a list item by item
    instead of whole; ``default`` (a one-tuple, so that None is a default too) stands in for a
    field that is absent.
    """

    node: str
    port: str
    fields: tuple[str, ...] = ()
    stream: bool = False
    default: tuple[Json] | None = None

    def streamed(self) -> Ref:
        """The same list, delivered item by item."""
        return Ref(self.node, self.port, self.fields, True, self.default)


@dataclass(frozen=True, slots=True)
class Const:
    """A constant operand."""

    value: Json


Operand: TypeAlias = Ref | Const


@dataclass(frozen=True, slots=True)
class Guard:
    """The node runs only where ``condition`` (a bool port) has the value ``polarity``."""

    condition: Ref
    polarity: bool = True


class _Node:
    """What primitives and regions share."""

    inputs: Mapping[str, Operand]
    guard: tuple[Guard, ...]

    @lazy
    def references(self) -> tuple[tuple[str, Ref], ...]:
        """(input name, reference) of every operand that is one, guards as ``?``."""
        found = [(name, one) for name, one in self.inputs.items() if isinstance(one, Ref)]
        found += [("?", guard.condition) for guard in self.guard]
        return tuple(found)

    @lazy
    def sources(self) -> frozenset[str]:
        """The nodes (and ``INPUTS``) that the references name."""
        return frozenset([ref.node for _, ref in self.references])


@dataclass(frozen=True)
class Primitive(_Node):
    """One unit of work of one operation of the table.

    ``config`` and ``inputs`` are never changed after construction. ``region`` is the id of the
    innermost enclosing region ("" at the top). ``group`` is the number of items an instance takes
    from every stream input (None: no stream inputs). ``module`` and ``line`` say where it came
    from; ``line`` is not part of equality.
    """

    id: str
    operation: str
    inputs: Mapping[str, Operand] = field(default_factory=dict)
    config: Mapping[str, Json] = field(default_factory=dict)
    engine: str | None = None
    guard: tuple[Guard, ...] = ()
    region: str = ""
    group: int | None = None
    module: str = ""
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Region(_Node):
    """A body of nodes instantiated once per item (each), in sequence (fold) or by levels (reduce).

    Bound names, seen inside as ports of the region's own id:
      each    item, index                 inputs: items
      fold    item, index, state          inputs: items, initial; ``state`` is the previous round's
                                          result, ``initial`` in round 0
      reduce  items (a list of texts), index, level
                                          inputs: items; config: fan_in; a lone rest passes through
    ``results`` maps the region's output ports to body ports. each: lists in item order. fold: the
    last round's (exactly one port, which is also the state; ``initial`` when there is no item).
    reduce: exactly one port, the last value left.
    """

    id: str
    kind: Literal["each", "fold", "reduce"]
    inputs: Mapping[str, Operand]
    results: Mapping[str, Ref]
    config: Mapping[str, Json] = field(default_factory=dict)
    guard: tuple[Guard, ...] = ()
    region: str = ""
    module: str = ""
    line: int = field(default=0, compare=False)


Node: TypeAlias = Primitive | Region

BOUND_PORTS: Mapping[str, Mapping[str, str]] = {
    "each": {"item": "T", "index": "int"},
    "fold": {"item": "T", "index": "int", "state": "text"},
    "reduce": {"items": "list<text>", "index": "int", "level": "int"},
}
"""Region kind -> the names its body sees, with their types (T: the item type)."""


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """``target`` starts after ``source`` has ended.

    order: the chain of the file, needed by nothing; effect: two nodes touch one resource, or the
    user wrote ``needs:``. Data edges are the references; hints are configs of the hinting node.
    """

    kind: Literal["order", "effect"]
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class InputPort:
    """A workflow input: its type, and its default (a one-tuple) where it has one."""

    name: str
    type: str
    default: tuple[Json] | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class OutputPort:
    """A workflow output: the reference that feeds it and its type. The first is the main one."""

    name: str
    type: str
    ref: Ref


@dataclass(frozen=True)
class PGraph:
    """A whole p-graph. ``nodes`` stand in chain order, a region before its body.

    ``modules`` says what each module uses, for readers: ``answer`` -> ``synthesize``.
    """

    name: str
    inputs: tuple[InputPort, ...]
    outputs: tuple[OutputPort, ...]
    nodes: tuple[Node, ...]
    edges: frozenset[Edge] = frozenset()
    engines: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def by_id(self) -> Mapping[str, Node]:
        """Every node by its id."""
        return {node.id: node for node in self.nodes}

    def with_(self, **changes: object) -> PGraph:
        """Return a copy with some fields replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]  # field names are the caller's
