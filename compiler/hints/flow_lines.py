"""Mistakes inside of ``{…}`` and ``[…]``."""

from __future__ import annotations

import re

from teola.compiler.hints.mistake import Explained, Mistake
from teola.compiler.hints.references import BRACES, ENVIRONMENT, FALLBACK, INDEXED, long_form
from teola.compiler.hints.rewriting import as_block, key_value, safely_quoted
from teola.compiler.hints.templates import CONDITIONS, PROMPTS, TEMPLATE_KEYS

_LIST_TYPE = re.compile(r"\b(?P<outer>[Ll]ist)\[(?P<inner>[^\[\]]*(?:\[[^\[\]]*\])?)\]")
_PAIR = re.compile(r"(?:^|(?<=[{,\[\s]))(?P<key>[\w-]+)\s*:\s+(?=\S)")
_NEXT_KEY = re.compile(r",\s+[\w-]+:\s")
_DASH = re.compile(r"\[\s*(?P<dash>-)\s")
_CLOSING = {"{": "}", "[": "]"}


def spellings(mistake: Mistake) -> Explained | None:
    """``list[text]``, ``${{ a.b }}``, ``a.b[0]`` and ``a.b ?? []`` where a bracket means a list."""
    if "flow" not in mistake.context or _is_prompt(mistake):
        return None
    text = mistake.text
    if match := _LIST_TYPE.search(text):
        meant = f"list<{match['inner'].replace('[', '<').replace(']', '>')}>"
        code, message = "bad-type", "types are written with angle brackets"
    elif match := _first(BRACES, text):
        meant = match["reference"] or match["dollar"]
        if ENVIRONMENT.fullmatch(match[0]):
            return _environment(mistake, match)
        code, message = "reference-is-plain", "a reference is written without braces"
    elif match := _first(FALLBACK, text):
        meant = long_form(match)
        code = "no-operators"
        message = f"a reference has no operators such as '{match['operator'].rstrip('( ')}'"
    elif match := _first(INDEXED, text):
        meant = match["reference"]
        code, message = "no-index", "a reference has no indices"
    else:
        return None
    return mistake.explained(
        code,
        message,
        mistake.line,
        match.start(),
        match.end(),
        help=f"write {meant}",
        repaired_line=text[: match.start()] + meant + text[match.end() :],
    )


def _environment(mistake: Mistake, match: re.Match[str]) -> Explained:
    """``model: ${MODEL}``: what a shell would put there."""
    quoted = f'"{match[0]}"'
    return mistake.explained(
        "no-environment",
        f"'{match[0]}': environment variables are not put into a workflow",
        mistake.line,
        match.start(),
        match.end(),
        help="write the value here, or give it from outside with --set",
        repaired_line=mistake.text[: match.start()] + quoted + mistake.text[match.end() :],
    )


def dashes(mistake: Mistake) -> Explained | None:
    """``modules: [- id: a]``: two ways to write a list at once."""
    match = _DASH.search(mistake.text)
    if match is None:
        return None
    entry = key_value(mistake.text)
    modules = entry is not None and entry.key in ("modules", "steps", "nodes")
    return mistake.explained(
        "list-of-modules" if modules else "dash-in-brackets",
        "'modules' is a map from ids to modules, not a list"
        if modules
        else "in brackets list items are separated by commas, without '-'",
        mistake.line,
        match.start("dash"),
        match.end("dash"),
        help="modules:\n  my_id:\n    uses: …" if modules else "[a, b]",
    )


def prompt(mistake: Mistake) -> Explained | None:
    """``{prompt: Question: {{ q }}}``: a prompt that needs quotes in a flow map."""
    match = _pair_at(mistake)
    if match is None:
        return None
    value = _value_after(mistake.text, match.end())
    condition = match["key"] in CONDITIONS
    rest = mistake.text[match.end() + len(value) :]
    return mistake.explained(
        "jinja-expression" if condition else "quote-the-prompt",
        "inside of braces YAML does not read this as one text",
        mistake.line,
        match.end(),
        match.end() + len(value),
        help=f"write it as a block, on lines of its own:\n{as_block(match['key'], [value])}",
        repaired_line=mistake.text[: match.end()] + safely_quoted(value) + rest,
    )


def _value_after(line: str, start: int) -> str:
    """Return the text that begins at ``start``: to the next key, or to the brace that closes."""
    value = line[start:].rstrip()
    if found := _NEXT_KEY.search(value):
        value = value[: found.start()]
    while value.endswith("}") and value.count("}") > value.count("{"):
        value = value[:-1].rstrip()
    return value


def unclosed(mistake: Mistake) -> Explained | None:
    """A bracket that is not closed, or a text in brackets that needs quotes."""
    if "flow" not in mistake.context or mistake.context_line is None:
        return None
    line, column = mistake.context_line, mistake.context_column
    bracket = mistake.lines[line][column : column + 1]
    found = mistake.text[mistake.column : mistake.column + 1]
    if bracket not in _CLOSING:
        return None
    if mistake.line != line or mistake.column >= len(mistake.text.rstrip()):
        return mistake.explained(
            "unclosed-bracket",
            f"this '{bracket}' is never closed",
            line,
            column,
            column + 1,
            help=f"close it with '{_CLOSING[bracket]}'",
        )
    if found in ("}", "]"):
        message = f"'{bracket}' is closed with '{_CLOSING[bracket]}', not with '{found}'"
        fixed = (
            mistake.text[: mistake.column] + _CLOSING[bracket] + mistake.text[mistake.column + 1 :]
        )
    else:
        message = f"inside of '{bracket}{_CLOSING[bracket]}' a text with '{found}' needs quotes"
        fixed = None
    return mistake.explained(
        "bad-brackets",
        message,
        mistake.line,
        mistake.column,
        mistake.column + 1,
        help=None if fixed else "put the text in quotes, and commas between entries",
        repaired_line=fixed,
    )


def stray(mistake: Mistake) -> Explained | None:
    """A closing bracket that nothing opened."""
    found = mistake.text[mistake.column : mistake.column + 1]
    if found not in ("}", "]"):
        return None
    return mistake.explained(
        "bad-brackets",
        f"this '{found}' closes nothing",
        mistake.line,
        mistake.column,
        mistake.column + 1,
        help="delete it, or put the text in quotes",
        repaired_line=mistake.text[: mistake.column] + mistake.text[mistake.column + 1 :],
    )


def _is_prompt(mistake: Mistake) -> bool:
    """Say whether reading stopped in the value of a prompt."""
    entry = key_value(mistake.text)
    if entry is not None and entry.key in PROMPTS:
        return True
    match = _pair_at(mistake)
    return match is not None and match["key"] in PROMPTS


def _pair_at(mistake: Mistake) -> re.Match[str] | None:
    """Return the first template's key in brackets that begins before reading stopped."""
    for match in _PAIR.finditer(mistake.text):
        if match["key"] in TEMPLATE_KEYS and match.end() <= mistake.column:
            return match
    return None


def _first(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """Return the first match that is a whole value."""
    for match in pattern.finditer(text):
        before, after = text[: match.start()].rstrip(), text[match.end() :].lstrip()
        if before[-1:] in (":", ",", "[", "{") and (not after or after[0] in ",}]#"):
            return match
    return None
