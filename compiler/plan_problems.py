"""What is wrong with a plan file's content, in our words."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from teola.compiler.graph.pgraph import Json
from teola.compiler.validation import EXPECTED
from teola.compiler.values import described

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def plan_problem(error: ErrorDetails) -> str:
    """Where a plan is damaged, and how."""
    # Members of a union stand in the place as the names of their classes.
    places = [str(part) for part in error["loc"] if not str(part)[:1].isupper()]
    return f"the plan is damaged at {'.'.join(places)}: {_what(error)}"


def _what(error: ErrorDetails) -> str:
    kind = error["type"]
    if kind == "extra_forbidden":
        return "no plan has such a key"
    if kind == "missing":
        return "the key is missing"
    got = described(cast("Json", error["input"]))
    if kind in EXPECTED:
        return f"expected {EXPECTED[kind]}, got {got}"
    if kind == "float_parsing":
        return f"expected a number, got {got}"
    if kind == "literal_error":
        return f"expected {error['ctx']['expected']}, got {got}"
    return f"it cannot be {got}"
