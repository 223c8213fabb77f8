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


def tag(span: Span, name: str, text: str | None, path: TreePath) -> Diagnostic:
    """Say that YAML tags are not read; ``text`` is None where the tagged value is a list or map."""
    shown = name.replace("tag:yaml.org,2002:", "!!")
    key = str(path[-1]) if path else ""
    whole = _text_of(span)
    if is_template(path) and key in CONDITIONS and _NEGATED.fullmatch(name):
        meant = f"not {name[1:]} {text or ''}".strip()
        return Diagnostic("jinja-expression", "'!' is not 'not' here", span, help=f"{key}: {meant}")
    if is_template(path):
        return in_a_block(span, path, whole)
    if text is None:
        right = "leave it out"
    elif name == _TEXT_TAG:
        right = f"for a text write quotes: {quoted(text)}"
    else:
        right = f"for a text that starts with '!' write quotes: {quoted(whole)}"
    return Diagnostic("no-tags", f"'{shown}' is a YAML tag; tags are not read", span, help=right)


def alias(span: Span, name: str, path: TreePath, *, inside: bool) -> Diagnostic:
    """Say that ``*name`` repeats nothing, or the value that it is a part of."""
    if inside:
        return Diagnostic("alias-cycle", f"'*{name}' repeats the value that it is part of", span)
    if is_template(path):
        return in_a_block(span, path, f"*{name}")
    return Diagnostic(
        "unknown-alias",
        f"'*{name}' repeats a value named '&{name}', and there is none before it",
        span,
        help=f"for a text that starts with '*' write quotes: {quoted(f'*{name}')}",
    )


def environment(span: Span, text: str, path: TreePath) -> Diagnostic | None:
    """Say that ``${NAME}`` in an engine's setting is not replaced, or None where there is none."""
    match = references.ENVIRONMENT.search(text) if path[:1] == ("engines",) else None
    if match is None:
        return None
    setting = ".".join(map(str, path))
    return Diagnostic(
        "no-environment",
        f"'{match[0]}': environment variables are not put into a workflow",
        span,
        help=f'write the value here, or give it from outside: --set {setting}="{text}"',
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
    right = f"a value from elsewhere is bound under 'inputs:', as {key}: {match['reference']}"
    return Diagnostic(problem.code, problem.message, span, help=right), text


def in_a_block(span: Span, path: TreePath, text: str) -> Diagnostic:
    """Say that a prompt must be quoted, and show it as a block."""
    key = str(path[-1])
    return Diagnostic(
        "quote-the-prompt",
        f"YAML does not read '{text[:1]}' as the beginning of a text",
        span,
        help=f"write it as a block:\n{as_block(key, [text])}",
    )


def _text_of(span: Span) -> str:
    """Return what stands at a span, to the end of its first line at most."""
    line = span.source.line(span.line) or ""
    end = span.end_column - 1 if span.end_line == span.line else len(line)
    return line[span.column - 1 : end].strip()
