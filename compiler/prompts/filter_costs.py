"""Filters whose result can be far larger than their value, or take far longer: what they cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from teola.compiler.prompts.budget import Budget
from teola.compiler.prompts.errors import PromptError
from teola.compiler.prompts.values import as_text

MAX_PRECISION = 300
MAX_INDENT = 1000
MAX_NUMBER_TEXT = 10_000

_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "batch": ("linecount",),
    "center": ("width",),
    "filesizeformat": (),
    "float": (),
    "indent": ("width",),
    "int": (),
    "replace": ("old", "new"),
    "round": ("precision",),
    "slice": ("slices",),
    "striptags": (),
    "sum": ("attribute", "start"),
    "tojson": ("indent",),
    "trim": ("chars",),
    "wordwrap": ("width", "break_long_words", "wrapstring"),
}
"""Filter -> names of its first arguments, which may also be given without name."""

Given = Mapping[str, Any]


def pay(
    budget: Budget, name: str, value: Any, args: Sequence[Any], named: Mapping[str, Any]
) -> None:
    """Pay for a call of ``value | name(*args, **named)`` in advance.

    Raises:
        PromptError: the budget does not suffice, or an argument is out of all bounds.
    """
    if name in _PARAMETERS:
        _COSTS[name](budget, value, {**dict(zip(_PARAMETERS[name], args, strict=False)), **named})


def _batch(budget: Budget, _: Any, given: Given) -> None:
    budget.step(given.get("linecount", 0))


def _slice(budget: Budget, _: Any, given: Given) -> None:
    budget.step(given.get("slices", 0))


def _center(budget: Budget, _: Any, given: Given) -> None:
    budget.write(given.get("width", 80))


def _indent(budget: Budget, value: Any, given: Given) -> None:
    width = given.get("width", 4)
    size = len(width) if isinstance(width, str) else width
    budget.write((str(value).count("\n") + 1) * size)


def _replace(budget: Budget, value: Any, given: Given) -> None:
    old, new = str(given.get("old", " ")), str(as_text(given.get("new", "")))
    budget.write(str(value).count(old) * len(new))


def _round(_: Budget, __: Any, given: Given) -> None:
    if abs(given.get("precision", 0)) > MAX_PRECISION:
        raise PromptError(f"`round` takes a precision of at most {MAX_PRECISION}")


def _striptags(budget: Budget, value: Any, _: Given) -> None:
    text = str(value)
    budget.write(text.count("<!--") * len(text))


def _trim(budget: Budget, value: Any, given: Given) -> None:
    budget.write(len(str(value)) * len(str(as_text(given.get("chars") or ""))))


def _wordwrap(budget: Budget, value: Any, given: Given) -> None:
    text, width = str(value), max(1, given.get("width", 79))
    longest = max(map(len, text.split()), default=0)
    lines = len(text) // width + text.count("\n") + 1
    ending = str(as_text(given.get("wrapstring") or "\n"))
    budget.write(longest * longest // width + lines * len(ending))


def _tojson(_: Budget, __: Any, given: Given) -> None:
    indent = given.get("indent") or 0
    if isinstance(indent, str) or indent > MAX_INDENT:
        raise PromptError(f"`tojson` takes an indent of at most {MAX_INDENT}")


def _number(_: Budget, value: Any, __: Given) -> None:
    if isinstance(value, str) and len(value) > MAX_NUMBER_TEXT:
        raise PromptError(f"a text of {len(value):,} characters is no number")


def _sum(_: Budget, __: Any, given: Given) -> None:
    if not isinstance(given.get("start", 0), (int, float)):
        raise PromptError("`sum` is for numbers: texts are joined with `| join`")


_COSTS: Mapping[str, Callable[[Budget, Any, Given], None]] = {
    "batch": _batch,
    "center": _center,
    "filesizeformat": _number,
    "float": _number,
    "indent": _indent,
    "int": _number,
    "replace": _replace,
    "round": _round,
    "slice": _slice,
    "striptags": _striptags,
    "sum": _sum,
    "tojson": _tojson,
    "trim": _trim,
    "wordwrap": _wordwrap,
}
