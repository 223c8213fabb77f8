"""Prompts and expressions as YAML scalars: what must be written as a block."""

from __future__ import annotations

import re
from collections.abc import Iterator

from teola.compiler.diagnostics import Diagnostic
from teola.compiler.hints.rewriting import as_block
from teola.compiler.located import Span, TreePath

CONDITIONS = frozenset({"if", "until", "when", "where", "value"})
"""Keys that hold expressions."""

PROMPTS = frozenset({"prompt", "system", "template", "content"})
"""Keys that hold templates; so does every key under ``prompts``."""

TEMPLATE_KEYS = CONDITIONS | PROMPTS

_MODULE_KEY = 2
"""Position of a module's key in a path: ``("modules", "answer", "with", …)``."""

_COMMENT = re.compile(r"[ \t]+#")


def is_template(path: TreePath) -> bool:
    """Say whether the value at ``path`` is a template or an expression of a module."""
    named = bool(path) and path[-1] in TEMPLATE_KEYS
    if not named and "prompts" not in path:
        return False
    if len(path) <= _MODULE_KEY or path[0] != "modules":
        return False
    if path[-1] in ("if", "until"):
        return "with" not in path and "inputs" not in path
    return path[_MODULE_KEY] == "with" and len(path) > _MODULE_KEY + 1


def check(
    span: Span, path: TreePath, text: str, style: str | None, line: str
) -> Iterator[Diagnostic]:
    """Yield what is wrong with a template's scalar; ``line`` is the one it ends on."""
    key = str(path[-1])
    if style == ">":
        yield Diagnostic(
            "quote-the-prompt",
            f"'>' joins the lines of '{key}' into one",
            span,
            help=f"keep them with '|':\n{key}: |",
        )
    elif not style and text and span.line != span.end_line:
        lines = span.source.lines[span.line - 1 : span.end_line]
        lines = (lines[0][span.column - 1 :], *lines[1:])
        yield Diagnostic(
            "quote-the-prompt",
            f"YAML joins the lines of '{key}' into one",
            span,
            help=f"write it as a block:\n{as_block(key, lines)}",
        )
    elif not style and _COMMENT.match(line, span.end_column - 1):
        rest = line[span.column - 1 :]
        yield Diagnostic(
            "quote-the-prompt",
            f"'#' starts a comment: '{key}' ends before it",
            span,
            help="where it belongs to the text, write a block; else give the comment its own line:"
            f"\n{as_block(key, [rest])}",
        )
