"""The queries of a simulation: when they come and what they are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from random import Random
from typing import Any

from teola.compiler.cost.shapes import Shape, Shapes
from teola.compiler.cost.sizes import Sizes, size_name
from teola.compiler.graph.pgraph import INPUTS, InputPort, PGraph, Primitive, Ref
from teola.compiler.locations import DOCUMENT_TYPES
from teola.compiler.plan import Plan
from teola.runtime.documents.api import Documents
from teola.runtime.draw import log_normal
from teola.runtime.engines.tokenizer.estimate import CHARACTERS
from teola.runtime.errors import InputError

WORD = 2 * CHARACTERS
"""Characters of a word of a made-up document: no two are alike."""


@dataclass(frozen=True)
class Workload:
    """``arrivals`` in seconds after the start. ``sizes`` are means; the lengths of documents (and
    so the number of chunks) and of answers vary log-normally around them with sigma ``spread``.
    Inputs in ``same`` are equal for all queries, so that what is made of them is shared."""

    arrivals: Sequence[float]
    sizes: Sizes = field(default_factory=Sizes)
    spread: float = 0.5
    seed: int = 0
    same: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Application:
    """A plan and the queries that come for it. ``name`` is for reports; else the workflow's."""

    plan: Plan
    workload: Workload
    name: str = ""


class Inputs:
    """Makes up the inputs of queries: of the sizes that an estimate has, of no meaning. Those of
    other ``application`` names are different ones, but for what is the same for all queries."""

    def __init__(self, graph: PGraph, workload: Workload, application: str = "") -> None:
        self.graph, self.workload, self.application = graph, workload, application
        self.shapes = Shapes(graph, workload.sizes)
        self._text = ""
        if unknown := workload.same - {port.name for port in graph.inputs}:
            have = ", ".join(port.name for port in graph.inputs) or "none"
            raise InputError(
                f"{graph.name} has no input {', '.join(map(repr, sorted(unknown)))} (it has {have})"
            )
        self._same: dict[str, Any] = {}
        first = self.of_query(0)
        self._same = {name: first[name] for name in workload.same}

    def of_query(self, number: int) -> dict[str, Any]:
        """What a query is given.

        Raises:
            InputError: nothing can be made up for the type of an input.
        """
        same, own = self.workload.same, f"{self.application}{number}"
        made = {
            port.name: self._of(port, "0" if port.name in same else own)
            for port in self.graph.inputs
            if port.name not in self._same
        }
        return {**made, **self._same}

    def _of(self, port: InputPort, query: str) -> Any:
        shape = self.shapes.of(Ref(INPUTS, port.name))
        if port.type in DOCUMENT_TYPES:
            random = Random(f"{self.workload.seed}:{port.name}:{query}")  # noqa: S311 - no secret
            factor = log_normal(random, self.workload.spread)
            return Documents(self._documents(port, shape, query, factor))
        if port.default is not None and shape.kind != "text":
            return port.default[0]
        make = MADE_UP.get(shape.kind)
        if make is None:
            raise InputError(
                f"input '{port.name}': a {port.type} cannot be made up; give it a default"
            )
        return _filled(shape.dims, f"{port.name}.{query}", lambda name: make(name, shape.tokens))

    def _documents(
        self, port: InputPort, shape: Shape, query: str, factor: float
    ) -> list[dict[str, Any]]:
        lengths = [max(1, round(tokens * factor)) for tokens in self._lengths(port, shape)]
        texts, begin = [], 0
        for index, tokens in enumerate(lengths):
            end = begin + CHARACTERS * tokens
            text = self._words(end)[begin:end]
            texts.append({"name": f"{port.name}.{query}.{index}", "text": text, "meta": {}})
            begin = end + -end % WORD
        return texts

    def _lengths(self, port: InputPort, shape: Shape) -> Sequence[int]:
        """The tokens of each document: those that somebody said, else those that give the chunks
        that are assumed."""
        chunks, sizes = self._chunking(port), self.workload.sizes
        wanted = chunks and sizes.items.get(size_name(Ref(chunks.id, "chunks")))
        if chunks is None or not wanted or port.name in sizes.tokens:
            return [shape.tokens] * shape.items
        size, overlap = (int(str(chunks.config.get(name) or 0)) for name in ("size", "overlap"))
        each, more = divmod(wanted, shape.items)
        counts = [each + (index < more) for index in range(shape.items)]
        return [size + (count - 1) * (size - overlap) if count else 1 for count in counts]

    def _chunking(self, port: InputPort) -> Primitive | None:
        """The primitive that cuts an input's documents, where its ``size`` is known."""
        for node in self.graph.nodes:
            if (
                isinstance(node, Primitive)
                and node.operation == "chunk"
                and node.config.get("size")
            ):
                source = node.inputs.get("documents")
                if isinstance(source, Ref) and (source.node, source.port) == (INPUTS, port.name):
                    return node
        return None

    def _words(self, length: int) -> str:
        if length > len(self._text):
            self._text = "".join(f"{n:07x} " for n in range(ceil(2 * length / WORD)))
        return self._text


def _filled(dims: Sequence[int], name: str, make: Callable[[str], Any]) -> Any:
    if not dims:
        return make(name)
    return [_filled(dims[1:], f"{name}.{index}", make) for index in range(dims[0])]


def _text(name: str, tokens: int) -> str:
    length = CHARACTERS * tokens
    return f"{name} ".ljust(length, "x")[: max(length, len(name))]


def _chunk(name: str, tokens: int) -> dict[str, Any]:
    return {
        "id": name,
        "text": _text(name, tokens),
        "document": name,
        "index": 0,
        "context": "",
        "meta": {},
    }


MADE_UP: Mapping[str, Callable[[str, int], Any]] = {
    "text": _text,
    "chunk": _chunk,
    "passage": lambda name, tokens: {**_chunk(name, tokens), "score": 0.5, "rank": 1},
    "message": lambda name, tokens: {"role": "user", "content": _text(name, tokens)},
    "int": lambda name, tokens: 1,
    "float": lambda name, tokens: 1.0,
    "bool": lambda name, tokens: True,
    "json": lambda name, tokens: {},
}
"""Type -> what makes up a value of a name and a length."""
