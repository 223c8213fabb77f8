"""References spelled as elsewhere: ``{{ a.b }}``, ``${{ a.b }}``, ``a.b[0]``, ``a.b ?? []``."""

from __future__ import annotations

import json
import re

from teola.compiler.diagnostics import Diagnostic
from teola.compiler.located import Span, TreePath

NAME = r"[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*"
BRACES = re.compile(
    rf"\$?\{{\{{-?\s*(?P<reference>{NAME})\s*-?\}}\}}|\$\{{\s*(?P<dollar>{NAME})\s*\}}"
)
INDEXED = re.compile(r"(?P<reference>[A-Za-z_]\w*(?:\.\w+)+)(?P<index>\s*\[[^\]]*\])+(?:\.\w+)*")
ENVIRONMENT = re.compile(r"\$(?:[A-Z_][A-Z0-9_]*|\{[A-Z_][A-Z0-9_]*\})")
FALLBACK = re.compile(
    r"(?P<reference>[A-Za-z_]\w*(?:\.\w+)+)\s*(?P<operator>\?\?|\|\||\?:|or\b|\|\s*default\s*\(|\|\s*d\s*\()"
    r"\s*(?P<default>\[[^\]]*\]|\{[^}]*\}|[^,{}()]*?[^,{}()\s])\)?"
)
MAX_LENGTH = 500
"""Longer texts are no references."""

_PLAIN = re.compile(r"[\w.-]+")


def is_reference_place(path: TreePath) -> bool:
    """Say whether the value at ``path`` is a reference: a module's input or an output."""
    if path[-1:] == ("from",):
        path = path[:-1]
    return (len(path) == 4 and path[0] == "modules" and path[2] == "inputs") or (
        len(path) == 2 and path[0] == "outputs"
    )


def is_plain(text: str) -> bool:
    """Say whether a text has only letters, digits, dashes and dots."""
    return _PLAIN.fullmatch(text) is not None


def check(span: Span, key: str, text: str) -> tuple[Diagnostic, object] | None:
    """Return what is wrong with a reference's spelling and what was meant, or None."""
    if len(text) > MAX_LENGTH:
        return None
    stripped = text.strip()
    if match := BRACES.fullmatch(stripped):
        reference = match["reference"] or match["dollar"]
        return in_braces(span, reference, key), reference
    if match := INDEXED.fullmatch(stripped):
        return indexed(span, key, match["reference"]), match["reference"]
    if match := FALLBACK.fullmatch(stripped):
        return fallback(span, key, match), {
            "from": match["reference"],
            "default": _constant(match["default"]),
        }
    return None


def in_braces(span: Span, reference: str, key: str | None = None) -> Diagnostic:
    """Say that a reference has no braces."""
    return Diagnostic(
        "reference-is-plain",
        "a reference is written without braces",
        span,
        help=f"{key}: {reference}" if key else reference,
    )


def indexed(span: Span, key: str, reference: str) -> Diagnostic:
    """Say that a reference has no indices."""
    return Diagnostic(
        "no-index",
        "a reference has no indices",
        span,
        help=f"take the whole list: {key}: {reference}",
    )


def fallback(span: Span, key: str, match: re.Match[str]) -> Diagnostic:
    """Say that a reference has no operators, and how a default is written."""
    return Diagnostic(
        "no-operators",
        f"a reference has no operators such as '{match['operator'].rstrip('( ')}'",
        span,
        help=f"write a default: {key}: {long_form(match)}",
    )


def long_form(match: re.Match[str]) -> str:
    """Write what ``FALLBACK`` matched as a reference with a default."""
    return f"{{from: {match['reference']}, default: {match['default'].strip()}}}"


def _constant(text: str) -> object:
    """Return the constant that stands after an operator, as far as it is a plain one."""
    try:
        return json.loads(text)
    except ValueError:
        return text.strip("'\"")
