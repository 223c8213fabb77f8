"""The readable text of a file's format: HTML and Markdown become one plain shape.

The shape is text with light Markdown structure: ``#`` before headings, ``-`` or ``1.`` before list
items, fences around preformatted text, `` | `` between the cells of a table row, one blank line
between paragraphs. What only concerns a browser is left out: emphasis, link targets, scripts,
comments, and the page's own navigation. Embedders and language models read it as it is, a passage
shows it as it is, and ``chunk`` with ``by: markdown`` finds its headings whatever the file was.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_WHITESPACE = re.compile(r"[ \t\n\r\f\v\xa0]+")
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?\n)??(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title:[ \t]*(.+?)[ \t]*$", re.MULTILINE)
_EXPONENT = re.compile(r"\s*[-+\u2212]?[0-9]+\s*")
_FENCE = re.compile(r"^`{3,}", re.MULTILINE)

_RENDERING = threading.Lock()
"""mdurl, below markdown-it, fills its cache of escapes as it reads it: one thread at a time."""

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_UNREAD = frozenset(
    [
        "script",
        "style",
        "template",
        "noscript",
        "head",
        "nav",
        "svg",
        "iframe",
        "object",
        "embed",
        "canvas",
        "audio",
        "video",
        "button",
        "select",
        "input",
        "textarea",
        "datalist",
        "dialog",
    ]
)
_LINES = frozenset(
    [
        "address",
        "article",
        "aside",
        "body",
        "caption",
        "center",
        "dd",
        "details",
        "div",
        "dt",
        "fieldset",
        "figcaption",
        "footer",
        "form",
        "header",
        "hgroup",
        "legend",
        "main",
        "section",
        "summary",
        "tbody",
        "tfoot",
        "thead",
    ]
)
_PARAGRAPHS = frozenset(
    ["blockquote", "dl", "figure", "hr", "ol", "p", "pre", "table", "ul"]
) | set(_HEADINGS)
_PAGE_FURNITURE = frozenset(["footer", "aside"])
_PAGE_ROLES = frozenset(["navigation", "banner", "contentinfo", "search"])


def html_text(html: str) -> tuple[str, str | None]:
    """Read an HTML page: its main text and its title.

    The main text is that of ``<main>``, else of the only ``<article>``, else of the body without
    navigation, and without the footers and asides that belong to no article.
    """
    from selectolax.lexbor import LexborHTMLParser

    page = LexborHTMLParser(html)
    root = _main_content(page.body)
    if root is None:
        return "", None
    writer = _Writer()
    _walk(root, writer)
    heading = page.css_first("title") or page.css_first("h1, h2")
    title = _WHITESPACE.sub(" ", heading.text()).strip() if heading else ""
    return writer.text(), title or None


def markdown_text(markdown: str) -> tuple[str, str | None]:
    """Read CommonMark with tables and strikethrough: its text, and its title or first heading.

    The title of a YAML front matter counts; the rest of the front matter is left out.
    """
    from markdown_it import MarkdownIt

    title = None
    front_matter = _FRONT_MATTER.match(markdown)
    if front_matter:
        named = _FRONT_TITLE.search(front_matter[1] or "")
        title = named[1].strip("\"'") if named else None
        markdown = markdown[front_matter.end() :]
    reader = MarkdownIt("commonmark", {"maxNesting": 200}).enable(["table", "strikethrough"])
    with _RENDERING:
        rendered = reader.render(markdown)
    text, first_heading = html_text(f"<body>{rendered}")
    return text, title or first_heading


def _main_content(body: LexborNode | None) -> LexborNode | None:
    if body is None:
        return None
    main = body.css_first("main, [role=main]")
    if main is not None:
        return main
    articles = body.css("article")
    return articles[0] if len(articles) == 1 else body


def _walk(root: LexborNode, writer: _Writer) -> None:
    """Visit every node in order without recursion: pages may nest as deep as they like."""
    node: LexborNode | None = root
    while node is not None:
        descend = _enter(node, writer) and node.first_child is not None
        if descend:
            node = node.first_child
            continue
        while node is not None:
            _leave(node, writer)
            if node.mem_id == root.mem_id:
                return
            if node.next is not None:
                node = node.next
                break
            node = node.parent


def _enter(node: LexborNode, writer: _Writer) -> bool:
    """Write what stands before a node's children; false when they are not to be read."""
    tag = node.tag or ""
    if tag == "-text":
        writer.write(node.text())
        return False
    if tag.startswith("-") or tag in _UNREAD or _is_furniture(node, tag):
        return False
    if tag in _PARAGRAPHS:
        writer.end_paragraph(nested=tag in ("ul", "ol"))
        _open_paragraph(node, tag, writer)
    elif tag in _LINES:
        writer.end_line()
    else:
        _open_inline(node, tag, writer)
    return True


def _open_inline(node: LexborNode, tag: str, writer: _Writer) -> None:
    if tag == "img":
        writer.write(node.attributes.get("alt") or "")
    elif tag == "sup" and _EXPONENT.fullmatch(node.text()):
        writer.write_exponent_mark()
    elif tag in _OPENINGS:
        _OPENINGS[tag](writer)


def _open_paragraph(node: LexborNode, tag: str, writer: _Writer) -> None:
    if tag in _HEADINGS:
        writer.mark("#" * _HEADINGS[tag])
    elif tag == "pre":
        writer.begin_preformatted(node.text())
    elif tag in ("ul", "ol"):
        writer.lists.append(_first_number(node) if tag == "ol" else None)


def _leave(node: LexborNode, writer: _Writer) -> None:
    tag = node.tag or ""
    if tag == "pre":
        writer.end_preformatted()
        writer.end_paragraph()
    elif tag in ("ul", "ol") and writer.lists:
        writer.lists.pop()
        writer.end_paragraph(nested=True)
    elif tag in _PARAGRAPHS:
        writer.end_paragraph()
    elif tag in _LINES or tag == "li":
        writer.end_line()


def _first_number(node: LexborNode) -> int:
    start = node.attributes.get("start") or "1"
    return int(start) if re.fullmatch(r"-?[0-9]{1,9}", start) else 1


def _is_furniture(node: LexborNode, tag: str) -> bool:
    attributes = node.attributes
    if "hidden" in attributes or attributes.get("aria-hidden") == "true":
        return True
    if attributes.get("role") in _PAGE_ROLES:
        return True
    if tag == "a" and "headerlink" in (attributes.get("class") or "").split():
        return True
    return tag in _PAGE_FURNITURE and not _is_within(node, ("main", "article", "blockquote"))


def _is_within(node: LexborNode, tags: tuple[str, ...]) -> bool:
    parent = node.parent
    while parent is not None:
        if parent.tag in tags:
            return True
        parent = parent.parent
    return False


@dataclass
class _Writer:
    """Collects text; line ends are only wished for and written when more text comes."""

    lists: list[int | None] = field(default_factory=list)  # next number, None for bullets
    _pieces: list[str] = field(default_factory=list)
    _line_ends: int = 0
    _space: bool = False
    _line_start: bool = True
    _cells: int = 0
    _fence: str = ""

    def text(self) -> str:
        return "".join(self._pieces).strip("\n")

    def write(self, text: str) -> None:
        if self._fence:
            self._pieces.append(text)
            return
        words = _WHITESPACE.sub(" ", text)
        if words.startswith(" "):
            self._space = True
        if words.strip(" "):
            self._flush()
            self._pieces.append(words.strip(" "))
            self._line_start = False
            self._space = words.endswith(" ")

    def write_exponent_mark(self) -> None:
        """Write ``^`` between two numbers that only their height tells apart."""
        if self._pieces and self._pieces[-1][-1:].isdigit() and not self._space:
            self._pieces.append("^")

    def mark(self, mark: str) -> None:
        """Begin a line with a structural mark; what follows stays on its line."""
        self.write(mark)
        self._space = True
        self._line_start = True

    def break_line(self) -> None:
        if self._fence:
            self._pieces.append("\n")
        self.end_line()

    def end_line(self) -> None:
        self._line_ends = max(self._line_ends, 0 if self._line_start else 1)

    def end_paragraph(self, *, nested: bool = False) -> None:
        """End a paragraph; lists inside lists (``nested``) get no blank line of their own."""
        if not self._line_start:
            self._line_ends = max(self._line_ends, 1 if nested and self.lists else 2)

    def begin_item(self) -> None:
        self.end_line()
        number = self.lists[-1] if self.lists else None
        if number is not None:
            self.lists[-1] = number + 1
        self.mark("-" if number is None else f"{number}.")

    def begin_row(self) -> None:
        self.end_line()
        self._cells = 0

    def begin_cell(self) -> None:
        if self._cells:
            self._line_ends, self._space = 0, True
            self.mark("|")
        self._cells += 1

    def begin_preformatted(self, content: str) -> None:
        longest = max((len(run) for run in _FENCE.findall(content)), default=2)
        fence = "`" * (longest + 1)
        self.write(fence)
        self._pieces.append("" if content.startswith("\n") else "\n")
        self._fence = fence

    def end_preformatted(self) -> None:
        fence, self._fence = self._fence, ""
        self._pieces.append(fence if self._pieces[-1].endswith("\n") else f"\n{fence}")
        self._line_start = False

    def _flush(self) -> None:
        """Write the line ends and the space that were wished for."""
        if self._line_ends and self._pieces:
            indent = "  " * max(0, len(self.lists) - 1)
            self._pieces.append("\n" * self._line_ends + indent)
        elif self._space and self._pieces:
            self._pieces.append(" ")
        self._line_ends, self._space = 0, False


_OPENINGS: Mapping[str, Callable[[_Writer], None]] = {
    "br": _Writer.break_line,
    "li": _Writer.begin_item,
    "tr": _Writer.begin_row,
    "td": _Writer.begin_cell,
    "th": _Writer.begin_cell,
}
