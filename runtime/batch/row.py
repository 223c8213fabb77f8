"""One row of a batch: read from a line of JSON, or what is wrong with that line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from teola.runtime.keys import digest

HASH_BYTES = 8
"""Enough to notice a change; nobody is to be kept from forging one."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a line is no row; ``column`` (from 1) where that is known."""

    message: str
    column: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """The inputs of one run. ``number`` is its line, or its place in a list, from 1; ``hash``
    stands for its content; ``problem`` says why it cannot be run."""

    number: int
    hash: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    id: str | int | None = None
    problem: Problem | None = None

    @property
    def key(self) -> str:
        """What the row is known by: its id, or its number where it has none."""
        return row_key(self.number, self.id)

    @property
    def label(self) -> str:
        """What people call it."""
        return self.key if self.id is None else f"row {self.key}"


def row_key(number: int, id: str | int | None) -> str:
    """The key of a row: ``"a"`` and ``7`` for ids as JSON writes them, ``row 7`` without one."""
    return f"row {number}" if id is None else json.dumps(id)


@dataclass(frozen=True, slots=True)
class Columns:
    """What rows hold: the workflow's ``inputs`` by name. An ``id`` is the row's own, unless it is
    an input; ``ignore_extra`` leaves out what else is there instead of refusing it."""

    inputs: frozenset[str]
    ignore_extra: bool = False


def read_row(line: bytes, number: int, columns: Columns) -> Row:
    """Read one line of JSON, without its line break; ``number`` is its number in the file, from 1.

    What is wrong with it becomes the row's problem.
    """
    try:
        found = json.loads(line.decode(), object_pairs_hook=_each_once, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        return _bad(line, number, "is not UTF-8 text", error.start + 1)
    except json.JSONDecodeError as error:
        return _bad(line, number, f"is not JSON: {error.msg}", error.colno)
    except RecursionError:
        return _bad(line, number, "is not JSON that can be read: it is nested too deeply")
    except ValueError as error:
        return _bad(line, number, f"is not JSON: {error}")
    if not isinstance(found, dict):
        return _bad(line, number, f"is no object of inputs but {_shown(found)}")
    return row_of(found, number, columns)


def row_of(values: Mapping[str, Any], number: int, columns: Columns) -> Row:
    """The row of a mapping of inputs, with an ``id`` or without one."""
    if columns.ignore_extra:
        known = columns.inputs | {"id"}
        values = {name: value for name, value in values.items() if name in known}
    content = hash_of(values)
    if "id" in columns.inputs or "id" not in values:
        return Row(number, content, values)
    inputs = {name: value for name, value in values.items() if name != "id"}
    id = values["id"]
    if id is not None and (isinstance(id, bool) or not isinstance(id, str | int)):
        problem = Problem(f"has an id that is neither text nor a whole number: {_shown(id)}")
        return Row(number, content, inputs, problem=problem)
    return Row(number, content, inputs, id)


def hash_of(value: Any) -> str:
    """The hash of plain data, in which paths are texts; the order of keys does not count."""
    return short_hash(json.dumps(value, sort_keys=True, default=str).encode())


def short_hash(content: bytes) -> str:
    """The hash of content, as answers hold it."""
    return digest(content)[:HASH_BYTES].hex()


def _bad(line: bytes, number: int, message: str, column: int | None = None) -> Row:
    return Row(number, short_hash(line), problem=Problem(message, column))


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} stands twice in one object")
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:39]}…"
