"""Constants of the file against types: each problem where it stands."""

from __future__ import annotations

from collections.abc import Sequence

from teola.compiler.check.context import Context
from teola.compiler.graph.pgraph import Json
from teola.compiler.source import TreePath
from teola.compiler.types import Type
from teola.compiler.values import mismatch


def fitting(
    context: Context, path: TreePath, value: Json, types: Sequence[Type], what: str
) -> Type | None:
    """The first of ``types`` that the constant ``what`` at ``path`` fits; a problem is reported
    where there is none, for each item of a list."""
    for type_ in types:
        if mismatch(value, type_) is None:
            return type_
    _report(context, path, value, types[-1], what)
    return None


def _report(context: Context, path: TreePath, value: Json, type_: Type, what: str) -> None:
    if type_.item is not None and isinstance(value, list):
        for index, item in enumerate(value):
            _report(context, (*path, index), item, type_.item, f"item {index} of {what}")
    elif (wrong := mismatch(value, type_)) is not None:
        context.error("type-mismatch", f"{what}: {wrong}", path)
