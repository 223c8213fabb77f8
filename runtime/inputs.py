"""The inputs of a run: defaults filled in, checked against their types, documents read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teola.compiler.diagnostics import nearest
from teola.compiler.graph.pgraph import InputPort
from teola.compiler.locations import DOCUMENT_TYPES
from teola.compiler.plan import Plan
from teola.compiler.types import parse_type
from teola.compiler.values import coerced, mismatch
from teola.runtime.documents import Documents, content_key, read_documents
from teola.runtime.errors import InputError
from teola.runtime.keys import digest, of_input
from teola.runtime.operations.collections import CollectionHandle
from teola.runtime.values import Cell, constant


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
            cells[port.name] = _document_cell(port, value, found.texts)
            warnings += [f"input '{port.name}': {warning}" for warning in found.warnings]
        else:
            value = _checked(port, value)
            cells[port.name] = constant(value, of_input(value))
    return BoundInputs(cells, tuple(warnings))


def check_names(plan: Plan, given: Mapping[str, Any]) -> None:
    """Every given input exists, and every input without a default is given."""
    ports = {port.name: port for port in plan.graph.inputs}
    have = ", ".join(f"{port.name}: {port.type}" for port in plan.graph.inputs) or "none"
    for name in given:
        if name not in ports:
            near = nearest(name, list(ports))
            hint = f"; did you mean '{near}'?" if near else ""
            raise InputError(f"{plan.name} has no input '{name}' (it has {have}){hint}")
    missing = [p for p in plan.graph.inputs if p.default is None and p.name not in given]
    if missing:
        names = ", ".join(f"'{port.name}' ({port.type})" for port in missing)
        raise InputError(f"{plan.name} needs the input {names}")


def _checked(port: InputPort, value: Any) -> Any:
    """The value, widened to the port's type as a reference would be."""
    if port.type == "collection" and isinstance(value, CollectionHandle):
        return value
    declared = parse_type(port.type)
    wrong = mismatch(value, declared)
    if wrong is not None:
        raise InputError(f"input '{port.name}' must be {port.type}: {wrong}")
    return coerced(value, declared)


async def _documents(port: InputPort, value: Any, base: Path | None) -> Documents:
    _checked(port, _paths_as_text(value))
    try:
        return await asyncio.to_thread(read_documents, value, base)
    except InputError as error:
        raise InputError(f"input '{port.name}': {error}") from error


def _document_cell(port: InputPort, value: Any, documents: list[dict[str, Any]]) -> Cell:
    key = digest(b"documents", content_key(documents).encode())
    if port.type != "document":
        return constant(documents, key)
    if len(documents) != 1:
        raise InputError(
            f"input '{port.name}' must be one document; {value!r} names {len(documents)}"
        )
    return constant(documents[0], key)


def _paths_as_text(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_paths_as_text(item) for item in value]
    return str(value) if isinstance(value, Path) else value
