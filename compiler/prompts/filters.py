"""Filters and tests of prompts: Jinja's, each paid for out of the rendering's budget."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jinja2 import Environment, pass_context

from teola.compiler.prompts.budget import Budget, PromptContext
from teola.compiler.prompts.filter_costs import pay
from teola.compiler.prompts.values import as_text, printed

_JINJA = Environment()  # noqa: S701 - renders nothing: it only knows Jinja's filters and tests

_KEPT = (
    "abs batch capitalize center count d default dictsort filesizeformat first float format "
    "groupby indent int items join last length list lower map max min reject rejectattr replace "
    "reverse round select selectattr slice sort string striptags sum title tojson trim truncate "
    "unique upper urlencode wordcount wordwrap"
).split()

_TEXT = frozenset(
    "capitalize center indent lower replace string striptags title trim truncate upper "
    "urlencode wordcount wordwrap".split()
)
"""Filters that make their value a text."""

_DEEP = frozenset("dictsort groupby max min sort sum unique".split())
"""Filters that compare the items of their value with all that is in them."""


def _tojson(context: PromptContext, value: Any, indent: int | None = None) -> str:
    pieces = json.JSONEncoder(ensure_ascii=False, indent=indent).iterencode(value)
    return "".join(_counted(context.budget, pieces))


def _counted(budget: Budget, pieces: Iterable[str]) -> Iterator[str]:
    for piece in pieces:
        budget.step()
        budget.write(len(piece))
        yield piece


def _join(context: PromptContext, value: Iterable[Any], d: str = "", attribute: Any = None) -> str:
    items: Iterable[Any] = value
    if attribute is not None:
        parts = str(attribute).split(".")
        items = (_walk(context, item, parts) for item in value)
    separator = str(d)

    def pieces() -> Iterator[str]:
        for item in items:
            text = str(printed(item))
            context.budget.write(len(text) + len(separator))
            yield text

    return separator.join(pieces())


def _walk(context: PromptContext, item: Any, parts: list[str]) -> Any:
    for part in parts:
        item = context.environment.getitem(item, int(part) if part.isdigit() else part)
    return item


_OWN: dict[str, Callable[..., Any]] = {"join": _join, "tojson": _tojson}


def _metered_filter(name: str) -> Callable[..., Any]:
    @pass_context
    def filtered(context: PromptContext, value: Any, *args: Any, **named: Any) -> Any:
        budget = context.budget
        value = budget.taken(as_text(value) if name in _TEXT else value)
        if name in _DEEP:
            value = list(value) if isinstance(value, Iterator) else value
            budget.read(value)
        pay(budget, name, value, args, named)
        if name in _OWN:
            return _OWN[name](context, value, *args, **named)
        made = _JINJA.call_filter(name, value, args, named, context)
        return budget.taken(made) if isinstance(made, (str, list)) else made

    return filtered


def _metered_test(test: Callable[..., Any], *, searches: bool) -> Callable[..., Any]:
    @pass_context
    def tested(context: PromptContext, value: Any, other: Any) -> Any:
        if searches:
            other = context.budget.search(other)
        else:
            context.budget.compare(value, other)
        return test(value, other)

    return tested


_COMPARING = "== != < > <= >= eq equalto ne lt lessthan le gt greaterthan ge".split()

_TESTS: dict[str, Any] = _JINJA.tests

FILTERS: dict[str, Callable[..., Any]] = {name: _metered_filter(name) for name in _KEPT}
"""The filters of prompts by name."""

TESTS: dict[str, Callable[..., Any]] = {
    **_TESTS,
    **{name: _metered_test(_TESTS[name], searches=False) for name in _COMPARING},
    "in": _metered_test(_TESTS["in"], searches=True),
}
"""The tests of prompts by name."""
