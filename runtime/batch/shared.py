"""The inputs that all rows of a batch have in common: checked once, documents read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from teola.compiler.graph.pgraph import InputPort
from teola.compiler.locations import DOCUMENT_TYPES
from teola.compiler.plan import Plan
from teola.runtime.batch.row import hash_of
from teola.runtime.documents.api import Documents
from teola.runtime.inputs import check_known, checked, documents_of


@dataclass(frozen=True, slots=True)
class SharedInputs:
    """Values by name, what stands for their content, and what the user should know of them."""

    values: Mapping[str, Any]
    hash: str
    warnings: tuple[str, ...]


def share_inputs(plan: Plan, given: Mapping[str, Any]) -> SharedInputs:
    """Check what is given for all rows, and read it; so are documents that are defaults.

    Raises:
        InputError: an unknown input, one of the wrong type, or documents that cannot be read.
    """
    check_known(plan, given)
    values: dict[str, Any] = {}
    content: dict[str, Any] = {}
    warnings: list[str] = []
    for port in plan.graph.inputs:
        if port.type in DOCUMENT_TYPES and (port.name in given or port.default is not None):
            found = _documents(plan, port, given)
            warnings += [f"input '{port.name}': {warning}" for warning in found.warnings]
            values[port.name] = replace(found, warnings=())
            content[port.name] = found.key
        elif port.name in given:
            values[port.name] = content[port.name] = checked(port, given[port.name])
    return SharedInputs(values, hash_of(content), tuple(warnings))


def _documents(plan: Plan, port: InputPort, given: Mapping[str, Any]) -> Documents:
    if port.name in given:
        return documents_of(port, given[port.name], None)
    return documents_of(port, (port.default or (None,))[0], plan.base)
