"""The plain data that may enter a template, and how it prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from jinja2 import Undefined

from teola.compiler.prompts.errors import PromptError
from teola.compiler.types import record_text

PRINT_HELP = "loop over it, or `| join`, `| tojson`"


def _refuse(kind: str) -> NoReturn:
    raise PromptError(f"a {kind} cannot be printed in a prompt: {PRINT_HELP}", help=PRINT_HELP)


class _Map(dict[str, Any]):
    """A map inside a template: its fields are its keys; it does not print."""

    def __str__(self) -> str:
        return _refuse("map")


class Record(_Map):
    """A document, chunk, passage or message inside a template: prints its text or content."""

    def __str__(self) -> str:
        return record_text(self) or ""


class _List(list[Any]):
    """A list inside a template: it does not print."""

    def __str__(self) -> str:
        return _refuse("list")


def enter(value: object, name: str) -> Any:
    """``value`` as a template may see it: plain data only, records know how they print.

    Raises:
        PromptError: ``value`` of variable ``name`` is, or holds, something that is not plain data.
    """
    if type(value) is str or value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        kind = _Map if record_text(value) is None else Record
        return kind((str(key), enter(item, name)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return _List([enter(item, name) for item in value])
    raise PromptError(
        f"{name!r} holds a {type(value).__name__}: only plain data (text, numbers, bools, lists, "
        "maps) may enter a prompt",
        name=name,
    )


def printed(value: Any) -> Any:
    """What ``{{ value }}`` prints: null prints nothing, a bool as it is written in YAML."""
    if isinstance(value, (str, Undefined)):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, Record)):
        return str(value)
    if callable(value):
        _refuse("callable")
    return _refuse("map" if isinstance(value, Mapping) else "list")


def as_text(value: Any) -> Any:
    """A value that is made text; maps and lists are not, for nested ones could fill the memory."""
    holds = isinstance(value, (Mapping, list, tuple)) and not isinstance(value, Record)
    return printed(value) if holds else value
