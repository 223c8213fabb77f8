"""Pictures of a p-graph: one file a format, one registration here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias, overload

from teola.compiler.draw.dot import draw_dot
from teola.compiler.draw.graphviz import draw_png, draw_svg
from teola.compiler.draw.marks import marked
from teola.compiler.draw.modules import module_view
from teola.compiler.draw.primitives import primitive_view
from teola.compiler.draw.tasks import task_view
from teola.compiler.draw.text import draw_text
from teola.compiler.draw.view import View
from teola.compiler.errors import CompileError
from teola.compiler.graph.pgraph import PGraph

FORMATS: dict[str, Callable[[View], str | bytes]] = {
    "text": draw_text,
    "dot": draw_dot,
    "svg": draw_svg,
    "png": draw_png,
}
"""Every format of a single picture by name (and by file ending, ``.txt`` for text)."""

Look: TypeAlias = Callable[[PGraph], View]
Level: TypeAlias = str | Look

VIEWS: dict[str, Look] = {
    "module": module_view,
    "pgraph": primitive_view,
    "egraph": task_view,
}
"""What can be drawn of a graph: its modules, its primitives, or the tasks of one query."""


@overload
def draw(
    graph: PGraph,
    form: Literal["text", "dot", "svg"] = "text",
    level: Level = "pgraph",
    before: PGraph | None = None,
) -> str: ...
@overload
def draw(
    graph: PGraph, form: str, level: Level = ..., before: PGraph | None = ...
) -> str | bytes: ...
def draw(
    graph: PGraph, form: str = "text", level: Level = "pgraph", before: PGraph | None = None
) -> str | bytes:
    """Draw ``graph`` in a format of FORMATS, at a level of VIEWS or as a function looks at it;
    ``before``: a graph to compare it with, what is new, changed or gone is marked.

    Raises:
        CompileError: there is no such format or level, or Graphviz is missing (svg, png).
    """
    if form not in FORMATS:
        raise CompileError(f"there is no format {form!r}; there are: {', '.join(FORMATS)}")
    if isinstance(level, str) and level not in VIEWS:
        raise CompileError(f"there is no level {level!r}; there are: {', '.join(VIEWS)}")
    look = VIEWS[level] if isinstance(level, str) else level
    view = look(graph)
    return FORMATS[form](view if before is None else marked(look(before), view))
