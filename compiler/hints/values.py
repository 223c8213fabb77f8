"""Values that YAML reads otherwise than their writer: tags, aliases, braces."""

from __future__ import annotations

import re

from teola.compiler.diagnostics import Diagnostic
from teola.compiler.hints import references
from teola.compiler.hints.rewriting import as_block, quoted
from teola.compiler.hints.templates import CONDITIONS, is_template
from teola.compiler.located import Span, TreePath

_TEXT_TAG = "tag:yaml.org,2002:str"
_NEGATED = re.compile(r"![A-Za-z_]\w*(?:\.\w+)*")


def tag(span: Span, name: str, text: str, path: TreePath) -> Diagnostic:
    """Say that YAML tags are not read, and what ``!x`` was probably meant to be."""
    shown = name.replace("tag:yaml.org,2002:", "!!")
    line = span.source.line(span.line) or ""
    key = str(path[-1]) if path else ""
    whole = line[span.column - 1 :].strip()
    if is_template(path) and key in CONDITIONS and _NEGATED.fullmatch(name):
        meant = f"not {name[1:]} {text}".strip()
        return Diagnostic("jinja-expression", "'!' is not 'not' here", span, help=f"{key}: {meant}")
    if is_template(path):
        return in_a_block(span, path, whole)
    if name == _TEXT_TAG:
        help = f"for a text write quotes: {quoted(text)}"
    elif text:
        help = f"for a text that starts with '!' write quotes: {quoted(whole)}"
    else:
        help = f"for a text write quotes: {quoted(whole or shown)}"
    return Diagnostic("no-tags", f"'{shown}' is a YAML tag; tags are not read", span, help=help)


def alias(span: Span, name: str, inside: bool, path: TreePath) -> Diagnostic:
    """Say that ``*name`` repeats nothing, or the value that it is a part of."""
    line = span.source.line(span.line) or ""
    whole = line[span.column - 1 :].strip()
    if inside:
        return Diagnostic("alias-cycle", f"'*{name}' repeats the value that it is part of", span)
    if is_template(path):
        return in_a_block(span, path, whole)
    return Diagnostic(
        "unknown-alias",
        f"'*{name}' repeats a value named '&{name}', and there is none before it",
        span,
        help=f"for a text that starts with '*' write quotes: {quoted(whole)}",
    )


def braces(span: Span, text: str, path: TreePath) -> tuple[Diagnostic, object]:
    """Explain ``{{ … }}`` without quotes, which YAML reads as a map; return what was meant too."""
    if is_template(path):
        return in_a_block(span, path, text), text
    key = str(path[-1]) if path and isinstance(path[-1], str) else None
    match = references.BRACES.fullmatch(text)
    if match is None:
        return Diagnostic("key-not-text", "a key is a text, not a map", span), text
    problem = references.in_braces(span, match["reference"], key)
    if references.is_reference_place(path):
        return problem, match["reference"]
    help = f"a value from elsewhere is bound under 'inputs:', as {key}: {match['reference']}"
    return Diagnostic(problem.code, problem.message, span, help=help), text


def in_a_block(span: Span, path: TreePath, text: str) -> Diagnostic:
    """Say that a prompt must be quoted, and show it as a block."""
    key = str(path[-1])
    return Diagnostic(
        "quote-the-prompt",
        f"YAML does not read '{text[:1]}' as the beginning of a text",
        span,
        help=f"write it as a block:\n{as_block(key, [text])}",
    )
