"""The shape of every value of a graph: how many items, of how many tokens.

What ``Sizes`` says counts. The rest is derived from constants and the operation table, and where
these say nothing it is assumed:

- an input list has ``ITEMS`` items, or those of its default (documents: a default names folders);
- a text has ``TEXT`` tokens, a document ``DOCUMENT``, a chunk or passage its operation's ``size``
  or ``CHUNK``, a message ``MESSAGE``, all else one;
- an answer has as many tokens as its call may give, but at most ``ANSWER`` (all of them under
  ``ignore_eos``), a choice ``WORD``, a list ``LINE`` for each item, ``LINES`` items where nobody
  counts them;
- an operation with a ``size`` that gives any number of items cuts texts into pieces of so many
  tokens, less ``overlap``; any other gives all items of nested lists, and else one for one;
- a bounded list is as long as its bound, ``distinct`` included; ``count`` and ``start`` are obeyed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, prod

from teola.compiler.cost.sizes import Sizes, size_name
from teola.compiler.graph.operations import OPERATIONS, Out, input_kind, output_port
from teola.compiler.graph.pgraph import (
    BOUND_PORTS,
    INPUTS,
    Const,
    Json,
    Node,
    Operand,
    PGraph,
    Primitive,
    Ref,
    Region,
)

ITEMS, LINES = 8, 3
TEXT, DOCUMENT, CHUNK, MESSAGE, ANSWER, LINE, WORD = 16, 2000, 256, 64, 64, 16, 3
TOKENS = {
    "text": TEXT,
    "json": TEXT,
    "document": DOCUMENT,
    "chunk": CHUNK,
    "passage": CHUNK,
    "message": MESSAGE,
}
"""Type -> tokens of one value."""

CHARACTERS = 4
"""Characters of a token, in constants and templates."""


@dataclass(frozen=True, slots=True)
class Shape:
    """``dims``: () is one value, (n,) a list of n, (n, m) a list of n lists of m; every leaf is of
    type ``kind`` and has ``tokens`` tokens."""

    dims: tuple[int, ...]
    tokens: int
    kind: str = "text"

    @property
    def items(self) -> int:
        """The items of the list; one where it is no list."""
        return self.dims[0] if self.dims else 1

    @property
    def item_tokens(self) -> int:
        """The tokens of one item."""
        return prod(self.dims[1:]) * self.tokens

    @property
    def item(self) -> Shape:
        """The shape of one item."""
        return replace(self, dims=self.dims[1:])


class Shapes:
    """The shapes of one graph under some sizes."""

    def __init__(self, graph: PGraph, sizes: Sizes | None = None) -> None:
        self.graph, self.sizes = graph, sizes or Sizes()
        self.inputs = {port.name: port for port in graph.inputs}
        self._found: dict[tuple[str, str], Shape] = {}

    def of(self, operand: Operand) -> Shape:
        """The shape of what an operand delivers."""
        if isinstance(operand, Const):
            return _of_constant(operand.value)
        if operand.fields:
            return Shape((), TEXT, "json")
        place = (operand.node, operand.port)
        if place not in self._found:
            self._found[place] = Shape((), TEXT)  # a fold's state leads back to its result
            self._found[place] = self._sized(operand)
        return self._found[place]

    def _sized(self, ref: Ref) -> Shape:
        shape = self._input(ref.port) if ref.node == INPUTS else self._port(ref)
        name = size_name(ref)
        if shape.dims and name in self.sizes.items:
            shape = replace(shape, dims=(self.sizes.items[name], *shape.dims[1:]))
        if name in self.sizes.tokens:
            inner = max(1, prod(shape.dims[1:]))
            shape = replace(shape, tokens=round(self.sizes.tokens[name] / inner))
        return shape

    def _input(self, name: str) -> Shape:
        port = self.inputs[name]
        kind, depth = port.type, 0
        while kind.startswith("list<"):
            kind, depth = kind[5:-1], depth + 1
        tokens = TOKENS.get(kind, 1)
        if not depth:
            return Shape((), tokens, kind)
        given = port.default[0] if port.default else None
        items = len(given) if isinstance(given, list) and kind != "document" else ITEMS
        return Shape((items,) + (1,) * (depth - 1), tokens, kind)

    def _port(self, ref: Ref) -> Shape:
        node = self.graph.by_id[ref.node]
        if isinstance(node, Primitive):
            return self._output(node, ref.port)
        if ref.port in node.results:
            result = self.of(node.results[ref.port])
            items = self.of(node.inputs["items"]).items
            return replace(result, dims=(items, *result.dims)) if node.kind == "each" else result
        return self._bound(node, ref.port)

    def _bound(self, region: Region, port: str) -> Shape:
        """What a body sees of its region."""
        items = self.of(region.inputs["items"])
        if BOUND_PORTS[region.kind][port] == "int":
            return Shape((), 1, "int")
        if port == "state":
            return self.of(next(iter(region.results.values())))
        if region.kind == "reduce":
            return replace(items, dims=(min(items.items, fan_in(region)), *items.dims[1:]))
        return items.item

    def _output(self, node: Primitive, port: str) -> Shape:
        out = output_port(node, port)
        row = OPERATIONS[node.operation]
        if out is None:
            return Shape((), TEXT)
        if any(other.unit == row.name for other in OPERATIONS.values()):
            return self._decoded(node, out)
        kind = out.type.replace("list<", "").replace(">", "")
        source = self._source(node, kind)
        own = source.kind if kind == "T" else kind
        tokens = source.tokens
        if own not in (source.kind, "embedding"):
            tokens = _number(node, "size") or self._stored(node) or TOKENS.get(own, 1)
        if not out.is_list:
            dims = source.dims if out.type == "T" else ()
            return Shape(dims, tokens if out.type in ("T", *TOKENS) else 1, own)
        return Shape(self._dims(node, out, source), tokens, own)

    def _stored(self, node: Primitive) -> int | None:
        """The tokens of what a collection was filled with, where the graph fills it."""
        for operand in node.inputs.values():
            filler = self.graph.by_id.get(operand.node) if isinstance(operand, Ref) else None
            out = output_port(filler, operand.port) if filler and isinstance(operand, Ref) else None
            if filler is not None and out is not None and out.type == "collection":
                return max((self.of(one).tokens for one in _lists(filler)), default=None)
        return None

    def _source(self, node: Primitive, kind: str) -> Shape:
        """The input that an output is made of: one of its type, or the first list, or the first."""
        lists = [self.of(operand) for operand in _lists(node)]
        found = lists or [self.of(operand) for operand in node.inputs.values()]
        same = [shape for shape in found if shape.kind == kind]
        return (same or found or [Shape((), TEXT)])[0]

    def _dims(self, node: Primitive, out: Out, source: Shape) -> tuple[int, ...]:
        shapes = [self.of(operand) for operand in _lists(node)]
        longest = max((shape.items for shape in shapes), default=1)
        rest = source.dims[1:]
        size = _number(node, "size")
        if out.length == "one":
            return (1, *source.dims)
        if out.length == "sum":
            return (sum(shape.items for shape in shapes), *rest)
        if out.length == "count":
            left = max(0, longest - (_number(node, "start") or 0))
            count = _number(node, "count")
            return (left if count is None else min(left, count), *rest)
        if out.type.startswith("list<list<"):
            return self._nested(node, longest, size)
        if out.length == "same":
            return (longest, *rest) if out.type[5:-1] in (source.kind, "T") else (longest,)
        if size:
            step = max(1, size - (_number(node, "overlap") or 0))
            return (longest * max(1, ceil(source.tokens / step)),)
        return (longest * source.dims[1], *source.dims[2:]) if rest else (longest,)

    def _nested(self, node: Primitive, longest: int, size: int | None) -> tuple[int, ...]:
        """Lists of lists: windows of ``size`` items, or so many results for each item."""
        if size is not None:
            least = 1 if node.config.get("keep_empty") else 0
            return (max(least, ceil(longest / max(1, size))), min(size, longest))
        return (longest, _number(node, "top_k") or _number(node, "count") or ITEMS)

    def _decoded(self, node: Primitive, out: Out) -> Shape:
        total = self.answer(node)
        if not out.is_list:
            return Shape((), total)
        lines = self._lines(node)
        return Shape((lines,), ceil(total / max(1, lines)))

    def _lines(self, node: Primitive) -> int:
        count = _number(node, "count")
        return LINES if count is None else max(0, count)

    def answer(self, decode: Primitive) -> int:
        """The tokens that a call gives."""
        if decode.id in self.sizes.tokens:
            return self.sizes.tokens[decode.id]
        output = decode.config.get("output")
        shape = output.get("shape") if isinstance(output, dict) else None
        most = {
            **dict.fromkeys(("lines", "json_list"), LINE * self._lines(decode)),
            **dict.fromkeys(("choice", "bool"), WORD),
        }.get(str(shape), ANSWER)
        head = self.head(decode)
        sampling = head.config.get("sampling") if head is not None else None
        allowed = sampling.get("max_tokens") if isinstance(sampling, dict) else None
        if not isinstance(sampling, dict) or not isinstance(allowed, int):
            return most
        return allowed if sampling.get("ignore_eos") else min(allowed, most)

    def head(self, tail: Primitive) -> Primitive | None:
        """The first half of the unit whose second half ``tail`` is."""
        for operand in tail.inputs.values():
            node = self.graph.by_id.get(operand.node) if isinstance(operand, Ref) else None
            if isinstance(node, Primitive) and OPERATIONS[node.operation].unit == tail.operation:
                return node
        return None


def fan_in(region: Region) -> int:
    """How many items one call of a reduce region takes."""
    given = region.config.get("fan_in")
    return max(2, given) if isinstance(given, int) else 2


def _lists(node: Node) -> list[Operand]:
    kinds = {name: input_kind(node, name) for name in node.inputs}
    return [node.inputs[name] for name, kind in kinds.items() if kind in ("map", "scan", "gather")]


def _number(node: Primitive, name: str) -> int | None:
    """The constant ``name`` of a node, from its inputs or its config."""
    given = node.inputs.get(name)
    value = given.value if isinstance(given, Const) else node.config.get(name)
    if isinstance(given, Ref) or isinstance(value, bool) or not isinstance(value, int):
        return None
    return max(0, value)


def _of_constant(value: Json) -> Shape:
    if isinstance(value, list):
        item = _of_constant(value[0]) if value else Shape((), 0)
        return replace(item, dims=(len(value), *item.dims))
    return Shape(
        (), ceil(len(str(value)) / CHARACTERS), "text" if isinstance(value, str) else "json"
    )
