"""References of a JSON Schema that is put into another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def with_references(schema: Any, renamed: Callable[[str], str]) -> Any:
    """A schema whose references are renamed."""
    if isinstance(schema, list):
        return [with_references(one, renamed) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: renamed(value) if name == "$ref" and isinstance(value, str)
        else with_references(value, renamed)
        for name, value in schema.items()
    }  # fmt: skip
