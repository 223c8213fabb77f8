"""Sizes: how many items lists have and how many tokens texts have, where somebody said or measured
it. What nobody said is derived or assumed (``shapes``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from teola.compiler.diagnostics import nearest
from teola.compiler.errors import CompileError
from teola.compiler.graph.operations import OPERATIONS, input_kind, output_port
from teola.compiler.graph.pgraph import INPUTS, Node, PGraph, Primitive, Ref, Region

TOKENS = "tokens"
LISTED = 24
"""Names that an error lists at most."""

SIZELESS = ("int", "float", "bool", "embedding", "collection", "state")
"""Types of single values that have no size."""

EXAMPLES = "documents=46, chunks.chunk:chunks=320, question:tokens=16, answer.decode:tokens=32"


@dataclass(frozen=True, slots=True)
class Sizes:
    """Known sizes by name: ``items`` of a list, ``tokens`` of a text or of each item of a list.

    A name is that of a workflow input (``documents``), of a port (``chunks.chunk:chunks``) or, for
    the tokens of a prompt or an answer, of a primitive (``answer.prefill``, ``answer.decode``).
    Inside a region a size is the mean over its iterations.
    """

    items: Mapping[str, int] = field(default_factory=dict)
    tokens: Mapping[str, int] = field(default_factory=dict)
    origin: Literal["assumed", "measured"] = "assumed"

    def updated(self, other: Sizes) -> Sizes:
        """These sizes, but where ``other`` has one, that."""
        return replace(
            self, items={**self.items, **other.items}, tokens={**self.tokens, **other.tokens}
        )


def size_name(ref: Ref) -> str:
    """The name under which the size of what ``ref`` delivers is given."""
    return ref.port if ref.node == INPUTS else f"{ref.node}:{ref.port}"


def parse_sizes(texts: Iterable[str], graph: PGraph) -> Sizes:
    """Read assumptions: ``NAME=N`` are the items of a list or the tokens of anything else,
    ``NAME:tokens=N`` the tokens of a text or of each item of a list.

    A primitive's id alone stands for its one list, or for the tokens of its prompt or answer.

    Raises:
        CompileError: it cannot be read, or the graph has no such name; the message says which
            there are.
    """
    items: dict[str, int] = {}
    tokens: dict[str, int] = {}
    lists, texts_ = _names(graph)
    for text in texts:
        name, number = _split(text)
        word = name.removesuffix(f":{TOKENS}")
        known = _port_of(word, graph, lists)
        if word != name and (known in lists or known in texts_):
            tokens[known] = number
        elif word == name and known in lists:
            items[known] = number
        elif word == name and known in texts_:
            tokens[known] = number
        else:
            raise CompileError(_unknown(text, name, [*lists, *texts_]))
    return Sizes(items, tokens)


def _split(text: str) -> tuple[str, int]:
    name, _, number = (part.strip() for part in text.rpartition("="))
    if not name or not (number.isascii() and number.isdigit()):
        raise CompileError(f"cannot read the size {text!r}: write NAME=N, as in {EXAMPLES}")
    return name, int(number)


def _port_of(name: str, graph: PGraph, lists: Mapping[str, None]) -> str:
    """The one list of the primitive or region ``name``; ``name`` itself where it has none."""
    if name in lists or name not in graph.by_id:
        return name
    own = [port for port in lists if port.startswith(f"{name}:")]
    return own[0] if len(own) == 1 and not _is_call(graph.by_id[name]) else name


def _is_call(node: Node) -> bool:
    """Whether it is one half of a unit: its own size is that of a prompt or an answer."""
    tails = {row.unit for row in OPERATIONS.values()}
    return isinstance(node, Primitive) and (
        OPERATIONS[node.operation].unit is not None or node.operation in tails
    )


def _names(graph: PGraph) -> tuple[dict[str, None], dict[str, None]]:
    """The names whose items can be given, and those of which only the tokens can: of what somebody
    takes."""
    lists: dict[str, None] = {}
    texts: dict[str, None] = {}
    taken = {size_name(ref) for ref in _taken(graph)}
    for port in graph.inputs:
        (lists if port.type.startswith("list<") else texts)[port.name] = None
    for node in graph.nodes:
        for name, type in _outputs(node):
            if f"{node.id}:{name}" in taken:
                if type.startswith("list<"):
                    lists[f"{node.id}:{name}"] = None
                elif type not in SIZELESS:
                    texts[f"{node.id}:{name}"] = None
        if _is_call(node):
            texts[node.id] = None
    return lists, texts


def _taken(graph: PGraph) -> Iterator[Ref]:
    """What nodes, and the workflow's outputs, refer to."""
    for node in graph.nodes:
        results = node.results.values() if isinstance(node, Region) else ()
        yield from (one for one in (*node.inputs.values(), *results) if isinstance(one, Ref))
    yield from (out.ref for out in graph.outputs)


def _outputs(node: Node) -> Iterator[tuple[str, str]]:
    own = node.results if isinstance(node, Region) else OPERATIONS[node.operation].outputs
    for name in own:
        port = output_port(node, name)
        yield name, port.type if port is not None else ""


def _unknown(text: str, name: str, names: Sequence[str]) -> str:
    near = nearest(name, names)
    have = ", ".join(names[:LISTED]) + (", …" if len(names) > LISTED else "")
    hint = f"did you mean {near!r}? " if near else ""
    return f"the size {text!r} names nothing of this workflow: {hint}sizes can be given for: {have}"


def measured_sizes(run: Mapping[str, Any], graph: PGraph) -> Sizes:
    """The sizes of a finished run, from its result as JSON (``timeline`` and ``usage``).

    Each timeline entry says with ``items`` how many items its primitive took, which is the length
    of the lists that feed it. Where an entry has them, these say more: ``emitted`` (output port ->
    items), ``prompt_tokens`` and ``completion_tokens`` of a call, ``item_tokens`` (the tokens of
    one item, a mean), ``text_tokens`` (input port of a prompt -> tokens). Several instances of one
    primitive give their mean. Without tokens by call, each call has the mean of ``usage``.
    """
    found = _Measured()
    for entry in run.get("timeline") or ():
        node = graph.by_id.get(entry.get("primitive"))
        if node is not None:
            _measure(found, entry, node)
            _texts(found, entry, graph.by_id.get(_head(node) or ""))
    _usage(found, run.get("usage") or {}, graph)
    return Sizes(_means(found.items), _means(found.tokens), "measured")


@dataclass
class _Measured:
    items: dict[str, list[float]] = field(default_factory=dict)
    tokens: dict[str, list[float]] = field(default_factory=dict)


def _measure(found: _Measured, entry: Mapping[str, Any], node: Node) -> None:
    for port, count in (entry.get("emitted") or {}).items():
        found.items.setdefault(f"{node.id}:{port}", []).append(count)
    lists = [
        ref
        for name, ref in node.inputs.items()
        if isinstance(ref, Ref)
        and not ref.fields
        and input_kind(node, name) in ("map", "scan", "gather")
    ]
    one_length = len(lists) == 1 or not isinstance(node, Primitive) or _lined_up(node)
    if one_length and not _is_call(node) and not _reduces(node):
        for ref in lists:
            if entry.get("items") is not None:
                found.items.setdefault(size_name(ref), []).append(entry["items"])
            if entry.get("item_tokens") is not None:
                found.tokens.setdefault(size_name(ref), []).append(entry["item_tokens"])
    for name, key in (("prompt_tokens", _head(node)), ("completion_tokens", node.id)):
        if entry.get(name) is not None and _is_call(node) and key is not None:
            found.tokens.setdefault(key, []).append(entry[name])


def _texts(found: _Measured, entry: Mapping[str, Any], head: Node | None) -> None:
    for port, tokens in (entry.get("text_tokens") or {}).items():
        ref = head.inputs.get(port) if head is not None else None
        if isinstance(ref, Ref):
            found.tokens.setdefault(size_name(ref), []).append(tokens)


def _lined_up(node: Primitive) -> bool:
    """Whether the node's lists are of one length: those of a map are."""
    return all(input_kind(node, name) != "scan" for name in node.inputs)


def _reduces(node: Node) -> bool:
    """Whether the node's ``items`` count calls, not the items of its list."""
    return isinstance(node, Region) and node.kind == "reduce"


def _head(node: Node) -> str | None:
    """The id of the prefill whose decode ``node`` is: a unit has one timeline entry."""
    state = node.inputs.get("state")
    return state.node if isinstance(state, Ref) else None


def _usage(found: _Measured, usage: Mapping[str, Any], graph: PGraph) -> None:
    requests = usage.get("requests") or 0
    for node in graph.nodes:
        head = _head(node)
        if head is None or not requests:
            continue
        for name, key in (("prompt_tokens", head), ("completion_tokens", node.id)):
            if usage.get(name) is not None:
                found.tokens.setdefault(key, [usage[name] / requests])


def _means(found: Mapping[str, Sequence[float]]) -> dict[str, int]:
    return {name: round(sum(values) / len(values)) for name, values in found.items()}
