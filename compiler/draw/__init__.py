"""Pictures of a p-graph: one file a format, one registration here."""

from __future__ import annotations

from collections.abc import Callable

from teola.compiler.draw.dot import draw_dot
from teola.compiler.draw.modules import module_view
from teola.compiler.draw.primitives import primitive_view
from teola.compiler.draw.svg import draw_svg
from teola.compiler.draw.text import draw_text
from teola.compiler.draw.view import View
from teola.compiler.errors import CompileError
from teola.compiler.graph.pgraph import PGraph

FORMATS: dict[str, Callable[[View], str]] = {
    "text": draw_text,
    "dot": draw_dot,
    "svg": draw_svg,
}
"""Every drawing format by name (and by file ending, ``.txt`` for text)."""

VIEWS: dict[str, Callable[[PGraph], View]] = {
    "module": module_view,
    "pgraph": primitive_view,
}
"""What can be drawn of a graph: its modules, or its primitives."""


def draw(graph: PGraph, form: str = "text", level: str = "pgraph") -> str:
    """Draw ``graph`` in a format of FORMATS, at a level of VIEWS.

    Raises:
        CompileError: there is no such format or level, or Graphviz is missing (svg).
    """
    if form not in FORMATS:
        raise CompileError(f"there is no format {form!r}; there are: {', '.join(FORMATS)}")
    if level not in VIEWS:
        raise CompileError(f"there is no level {level!r}; there are: {', '.join(VIEWS)}")
    return FORMATS[form](VIEWS[level](graph))
