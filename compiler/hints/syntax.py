"""Text that is not YAML: what was meant, instead of what libyaml says."""

from __future__ import annotations

from collections.abc import Callable

from yaml import MarkedYAMLError, YAMLError

from teola.compiler.hints import block_lines, flow_lines, key_lines, wrong_characters
from teola.compiler.hints.mistake import Explained, Mistake
from teola.compiler.located import Source

Explanation = Callable[[Mistake], "Explained | None"]

EXPLANATIONS: tuple[Explanation, ...] = (
    wrong_characters.tabs,
    wrong_characters.others,
    key_lines.escape,
    key_lines.unclosed_quote,
    flow_lines.spellings,
    flow_lines.dashes,
    key_lines.condition,
    key_lines.prompt,
    flow_lines.prompt,
    key_lines.dash,
    block_lines.no_key,
    block_lines.colon,
    key_lines.text,
    flow_lines.unclosed,
    flow_lines.stray,
    block_lines.bad_indentation,
)
"""Tried in this order; the first that recognises the mistake explains it."""


MAX_LINE = 2000
"""Characters of a line that is looked at more closely."""


def explain(source: Source, text: str, error: YAMLError) -> Explained:
    """Explain why ``text``, which is ``source`` after repairs, is not YAML."""
    mistake = _mistake(source, text, error)
    for explanation in EXPLANATIONS if len(mistake.text) <= MAX_LINE else ():
        explained = explanation(mistake)
        if explained is not None:
            return explained
    return mistake.explained(
        "not-yaml",
        "this cannot be read as YAML",
        mistake.line,
        mistake.column,
        mistake.column + 1,
        help="check quotes, brackets and indentation here and on the line before",
    )


def _mistake(source: Source, text: str, error: YAMLError) -> Mistake:
    lines = Source(source.name, text).lines
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    context = error.context_mark if isinstance(error, MarkedYAMLError) else None
    line, column = (mark.line, mark.column) if mark is not None else (0, 0)
    last = len(lines) - 1
    if line >= last and not lines[-1]:
        line, column = max(last - 1, 0), len(lines[max(last - 1, 0)])
    return Mistake(
        source,
        lines,
        str(getattr(error, "problem", None) or ""),
        str(getattr(error, "context", None) or ""),
        min(line, last),
        min(column, len(lines[min(line, last)])),
        min(context.line, last) if context is not None else None,
        context.column if context is not None else 0,
    )
