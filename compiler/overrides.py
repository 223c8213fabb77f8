"""``--set path=value``: constants of a file replaced from outside, checked as if written in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from yaml import YAMLError

from teola.compiler.composer import RefusedError, compose
from teola.compiler.diagnostics import Diagnostics, nearest
from teola.compiler.located import LocatedTree, Marks, Source, Span, TreePath
from teola.compiler.scalars import BadNumberError, resolve
from teola.compiler.values import described

OPTION = "--set"
"""The name of the source that diagnostics of an override point into."""

_NAMED_SECTIONS = ("inputs", "engines", "modules", "outputs")
"""Maps from names that the file gives: an override changes what is there and adds no name."""

_SHORT_FORMS = {"inputs": "type", "outputs": "from"}
"""Section -> the key that its entries' short form stands for."""


@dataclass(frozen=True)
class Override:
    """One ``path=value``; spans of the path's parts and of the value point into the option."""

    source: Source
    path: tuple[str, ...]
    spans: tuple[Span, ...]
    value: LocatedTree


def apply_overrides(
    tree: LocatedTree, sets: Sequence[str], diagnostics: Diagnostics
) -> LocatedTree:
    """Return the tree with every ``path=value`` of ``sets`` applied in order.

    ``engines.llm.dtype=float32`` and ``modules.best.with.top_k=5`` replace a constant or add one;
    list items are named by position (``messages.0.content``). The value is a YAML scalar, or a
    quoted, ``[…]`` or ``{…}`` value. What cannot be applied is reported and left out.
    """
    for text in sets:
        override = read_override(text, diagnostics)
        if override is not None:
            tree = _apply(tree, override, diagnostics)
    return tree


def read_override(text: str, diagnostics: Diagnostics) -> Override | None:
    """Take one option apart; None (and a problem) where it is not ``path=value``."""
    source = Source(OPTION, text)
    left, equals, right = text.partition("=")
    end = _span(source, 0, max(len(left.rstrip()), 1))
    if not equals:
        diagnostics.error(
            "bad-override",
            "there is no '='",
            end,
            help="write path=value: engines.llm.dtype=float32",
        )
        return None
    parts = left.strip().split(".")
    offset = len(left) - len(left.lstrip())
    spans = []
    for part in parts:
        spans.append(_span(source, offset, offset + len(part)))
        offset += len(part) + 1
    if not all(parts):
        diagnostics.error(
            "bad-override",
            "a part of the path is empty",
            end,
            help="write path=value: engines.llm.dtype=float32",
        )
        return None
    value = _value(source, len(left) + 1, right, diagnostics)
    return None if value is None else Override(source, tuple(parts), tuple(spans), value)


def _value(source: Source, start: int, text: str, diagnostics: Diagnostics) -> LocatedTree | None:
    """Read the value: YAML where it is quoted or bracketed, else one scalar, word for word."""
    span = _span(source, start, max(start + len(text), start + 1))
    stripped = text.strip()
    if not stripped:
        diagnostics.error(
            "bad-override", "there is no value after '='", span, help='for an empty text write ""'
        )
        return None
    if stripped[0] in "\"'" or (stripped[0] in "[{" and not stripped.startswith(("{{", "{%"))):
        return _composed(source, start, text, span, diagnostics)
    try:
        data = resolve(stripped)
    except BadNumberError as error:
        diagnostics.error("bad-number", str(error), span)
        return None
    return LocatedTree(source, data, {(): span}, {})


def _composed(
    source: Source, start: int, text: str, span: Span, diagnostics: Diagnostics
) -> LocatedTree | None:
    found = Diagnostics()
    try:
        value = compose(source, " " * start + text, found)
    except (YAMLError, RefusedError):
        diagnostics.error(
            "bad-override",
            f"the value {text} is not complete",
            span,
            help="check its quotes and brackets; a shell takes away quotes that are not quoted",
        )
        return None
    diagnostics.extend(found)
    return None if found.errors else value


def _apply(tree: LocatedTree, override: Override, diagnostics: Diagnostics) -> LocatedTree:
    data = _changed(tree, (), tree.data, override, diagnostics)
    if data is None:
        return tree
    path = _in_tree(override.path, tree.data)
    values: dict[TreePath, Span | Marks] = {
        known: span for known, span in tree.value_spans.items() if known[: len(path)] != path
    }
    keys: dict[TreePath, Span | Marks] = {
        known: span for known, span in tree.key_spans.items() if known[: len(path)] != path
    }
    value = override.value
    values |= {(*path, *below): value.value_span(below) for below in value.value_spans}
    keys |= {(*path, *below): value.key_span(below) for below in value.key_spans}
    for depth in range(1, len(path) + 1):
        if path[:depth] not in values or depth == len(path):
            keys.setdefault(path[:depth], override.spans[depth - 1])
            values.setdefault(path[:depth], override.spans[depth - 1])
    return replace(tree, data=data, value_spans=values, key_spans=keys)


def _changed(
    tree: LocatedTree, path: TreePath, data: object, override: Override, diagnostics: Diagnostics
) -> object:
    """Return ``data``, which stands at ``path``, with the override applied below; None: it cannot
    be."""
    depth = len(path)
    part = override.path[depth]
    last = depth == len(override.path) - 1
    if isinstance(data, list):
        return _changed_list(tree, path, data, override, diagnostics)
    if isinstance(data, str) and depth == 2 and path[0] in _SHORT_FORMS:
        data = {_SHORT_FORMS[str(path[0])]: data}
    if data is None and depth > 0:
        data = {}
    if not isinstance(data, Mapping):
        _no_map(path, data, override, diagnostics)
        return None
    names_given = depth == 1 and path[0] in _NAMED_SECTIONS
    if part not in data and (names_given or (depth == 0 and not last and not data)):
        _unknown(path, data, override, diagnostics)
        return None
    if last:
        return {**data, part: override.value.data}
    below = _changed(tree, (*path, part), data.get(part, {}), override, diagnostics)
    return None if below is None else {**data, part: below}


def _changed_list(
    tree: LocatedTree,
    path: TreePath,
    data: Sequence[object],
    override: Override,
    diagnostics: Diagnostics,
) -> object:
    part = override.path[len(path)]
    position = int(part) if part.isascii() and part.isdecimal() and len(part) < 6 else None
    if position is None or position >= len(data):
        diagnostics.error(
            "unknown-path",
            f"'{'.'.join(override.path[: len(path)])}' is a list of {len(data)}, "
            f"it has no position '{part}'",
            override.spans[len(path)],
            help=f"positions: 0 to {len(data) - 1}" if data else None,
        )
        return None
    items = list(data)
    if len(path) == len(override.path) - 1:
        items[position] = override.value.data
        return items
    below = _changed(tree, (*path, position), items[position], override, diagnostics)
    items[position] = below
    return None if below is None else items


def _no_map(path: TreePath, data: object, override: Override, diagnostics: Diagnostics) -> None:
    where = ".".join(map(str, path))
    diagnostics.error(
        "unknown-path",
        f"'{where}' is {described(data)}, it has no '{override.path[len(path)]}'",  # type: ignore[arg-type]  # YAML gives plain data
        override.spans[len(path)],
    )


def _unknown(
    path: TreePath, data: Iterable[str], override: Override, diagnostics: Diagnostics
) -> None:
    names = list(data)
    part = override.path[len(path)]
    close = nearest(part, names)
    where = ".".join(map(str, path))
    diagnostics.error(
        "unknown-path",
        f"the file has no '{where}.{part}'",
        override.spans[len(path)],
        notes=[f"{where}: {', '.join(names) or 'nothing'}"],
        help=f"did you mean '{where}.{close}'?" if close else None,
    )


def _in_tree(parts: Sequence[str], data: object) -> TreePath:
    """Return the path as the tree has it: positions of lists are numbers."""
    path: list[str | int] = []
    for part in parts:
        if isinstance(data, list):
            path.append(int(part))
            data = data[int(part)]
        else:
            path.append(part)
            data = data.get(part) if isinstance(data, Mapping) else None
    return tuple(path)


def _span(source: Source, start: int, end: int) -> Span:
    return Span(source, 1, start + 1, 1, end + 1)
