"""The inputs of a run: defaults filled in, checked against their types, documents read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teola.compiler.diagnostics import nearest
from teola.compiler.graph.pgraph import InputPort
from teola.compiler.locations import DOCUMENT_TYPES
from teola.compiler.plan import Plan
from teola.compiler.types import parse_type
from teola.compiler.values import coerced, mismatch
from teola.runtime.documents.api import Documents, read_documents
from teola.runtime.errors import InputError
from teola.runtime.keys import digest, of_input
from teola.runtime.operations.collections import CollectionHandle
from teola.runtime.values import Cell, constant

INLINE_TEXTS = 8
INLINE_CHARACTERS = 20_000
"""Given texts of no more are taken at once: going to a thread would take longer."""


@dataclass(frozen=True, slots=True)
class BoundInputs:
    """One complete cell an input, with its content key, and what the user should know of them."""

    cells: dict[str, Cell]
    warnings: tuple[str, ...]


async def bind_inputs(plan: Plan, given: Mapping[str, Any]) -> BoundInputs:
    """Fill in, check and read the inputs of a run.

    Raises:
        InputError: an unknown or missing input, or a value of the wrong type: names the input, the
            expected type and what came; documents that cannot be read, each with its problem.
    """
    check_names(plan, given)
    cells: dict[str, Cell] = {}
    warnings: list[str] = []
    for port in plan.graph.inputs:
        own = port.name in given
        value = given[port.name] if own else (port.default or (None,))[0]
        if port.type in DOCUMENT_TYPES:
            found = await _documents(port, value, None if own else plan.base)
            cells[port.name] = _document_cell(port, found)
            warnings += [f"input '{port.name}': {warning}" for warning in found.warnings]
        else:
            value = checked(port, value)
            cells[port.name] = constant(value, of_input(value))
    return BoundInputs(cells, tuple(warnings))


def check_names(plan: Plan, given: Mapping[str, Any]) -> None:
    """Every given input exists, and every input without a default is given."""
    check_known(plan, given)
    missing = [p for p in plan.graph.inputs if p.default is None and p.name not in given]
    if missing:
        names = ", ".join(f"'{port.name}' ({port.type})" for port in missing)
        raise InputError(f"{plan.name} needs the input {names}")


def check_known(plan: Plan, given: Iterable[str]) -> None:
    """Every given input exists.

    Raises:
        InputError: one does not; names it, and what there is.
    """
    ports = {port.name: port for port in plan.graph.inputs}
    have = ", ".join(f"{port.name}: {port.type}" for port in plan.graph.inputs) or "none"
    for name in given:
        if name not in ports:
            near = nearest(name, list(ports))
            hint = f"; did you mean '{near}'?" if near else ""
            raise InputError(f"{plan.name} has no input '{name}' (it has {have}){hint}")


def checked(port: InputPort, value: Any) -> Any:
    """The value, widened to the port's type as a reference would be.

    Raises:
        InputError: it is of another type.
    """
    if port.type == "collection" and isinstance(value, CollectionHandle):
        return value
    declared = parse_type(port.type)
    wrong = mismatch(value, declared)
    if wrong is not None:
        raise InputError(f"input '{port.name}' must be {port.type}: {wrong}")
    return coerced(value, declared)


async def _documents(port: InputPort, value: Any, base: Path | None) -> Documents:
    if isinstance(value, Documents) or _short(value):
        return documents_of(port, value, base)
    return await asyncio.to_thread(documents_of, port, value, base)


def _short(value: Any) -> bool:
    """Whether it is a few texts that are given as they are: reading them takes no time."""
    items = value if isinstance(value, list | tuple) else (value,)
    if len(items) > INLINE_TEXTS or not all(isinstance(item, dict) for item in items):
        return False
    return sum(len(str(item.get("text"))) for item in items) <= INLINE_CHARACTERS


def documents_of(port: InputPort, value: Any, base: Path | None) -> Documents:
    """Read the documents that the value of an input names; ``Documents`` are read already.

    Raises:
        InputError: it names none, or some cannot be read, or a single one is wanted and these
            are several.
    """
    found = value if isinstance(value, Documents) else _read(port, value, base)
    if port.type == "document" and len(found.texts) != 1:
        named = "there are" if value is found else f"{value!r} names"
        raise InputError(f"input '{port.name}' must be one document; {named} {len(found.texts)}")
    return found


def _read(port: InputPort, value: Any, base: Path | None) -> Documents:
    checked(port, _paths_as_text(value))
    try:
        return read_documents(value, base)
    except InputError as error:
        raise InputError(f"input '{port.name}': {error}") from error


def _document_cell(port: InputPort, found: Documents) -> Cell:
    key = digest(b"documents", found.key.encode())
    return constant(found.texts[0] if port.type == "document" else found.texts, key)


def _paths_as_text(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_paths_as_text(item) for item in value]
    return str(value) if isinstance(value, Path) else value
