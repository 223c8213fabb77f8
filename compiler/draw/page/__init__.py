"""One standalone HTML page: no Graphviz, no network (``draw_page``)."""

from __future__ import annotations

from teola.compiler.draw.page.document import draw_page

__all__ = ["draw_page"]
