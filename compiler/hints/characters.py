"""Characters that look like others, or like nothing: each is named with the right one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from teola.compiler.diagnostics import Diagnostic, Diagnostics
from teola.compiler.located import Source, Span

_UNREADABLE = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
"""What libyaml cannot read, and line breaks that only some programs see."""

_SPACES = (
    "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006"
    "\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
)
_INVISIBLE = (
    "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\u202a\u202b\u202c"
    "\u202d\u202e\u2066\u2067\u2068\u2069"
)
_RIGHT = {
    **dict.fromkeys(_SPACES, (" ", "write a plain space")),
    **dict.fromkeys(_INVISIBLE, ("", "delete it")),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\uff02\u2033", ('"', 'write "')),
    **dict.fromkeys("\u2018\u2019\u201a\u201b\uff07\u2032\u00b4", ("'", "write '")),
    "\uff1a": (":", "write ':' and a space"),
    "\uff0c": (",", "write ','"),
    "\u2010": ("-", "write '-'"),
    "\u2011": ("-", "write '-'"),
    "\u2013": ("-", "write '-'"),
    "\u2014": ("-", "write '-'"),
    "\u2212": ("-", "write '-'"),
    "\u2026": ("...", "write '...'"),
}
_QUOTES = frozenset("\u201c\u201d\u201e\u201f\u00ab\u00bb\uff02\u2018\u2019\u201a\u201b\uff07")
_EDGES = frozenset(_SPACES + _INVISIBLE)
_NAMES = {
    "\t": "tab",
    "\x00": "NUL character",
    "\x85": "next-line character",
    "\ufeff": "byte order mark",
    "\u00a0": "non-breaking space",
}
MAX_NAMED = 10
"""Unreadable characters that are named one by one."""


def name_of(char: str) -> str:
    """Return what to call a character: ``non-breaking space (U+00A0)``."""
    name = _NAMES.get(char) or unicodedata.name(char, "").lower() or "control character"
    return f"{name} (U+{ord(char):04X})"


def wrong(char: str, span: Span) -> Diagnostic:
    """Name a character that does not belong at ``span``, and the right one."""
    right = _RIGHT.get(char, ("", ""))[1] or "delete it"
    shown = f" '{char}'" if char in _QUOTES else ""
    message = f"{name_of(char)}{shown} does not belong here"
    return Diagnostic("wrong-character", message, span, help=right)


def replace_unreadable(source: Source, diagnostics: Diagnostics) -> str:
    """Report the characters that no YAML may contain and return the text without them."""
    text = source.text.removeprefix("\ufeff")
    if _UNREADABLE.search(text) is None:
        return text
    found = 0
    for number, line in enumerate(source.lines, 1):
        for match in _UNREADABLE.finditer(line):
            found += 1
            if found <= MAX_NAMED:
                column = match.start() + 1
                diagnostics.add(
                    _unreadable(match[0], Span(source, number, column, number, column + 1))
                )
    return _UNREADABLE.sub(" ", text)


def _unreadable(char: str, span: Span) -> Diagnostic:
    right = "use a plain line break" if char in "\x85\u2028\u2029" else "delete it"
    return Diagnostic(
        "wrong-character", f"{name_of(char)} cannot stand in a file", span, help=right
    )


def check_key(span: Span, text: str) -> Iterator[Diagnostic]:
    """Yield the characters that a key cannot have."""
    for offset, char in enumerate(text):
        if char in _RIGHT:
            yield wrong(char, _at(span, offset))


def check_value(span: Span, text: str) -> Iterator[Diagnostic]:
    """Yield wrong characters at the ends of a plain scalar; inside they belong to the text."""
    if span.line != span.end_line:
        return
    if text[0] in _EDGES or text[0] in _QUOTES:
        yield wrong(text[0], _at(span, 0))
    if len(text) > 1 and (text[-1] in _EDGES or (text[0] in _QUOTES and text[-1] in _QUOTES)):
        yield wrong(text[-1], _at(span, len(text) - 1))


def cleaned(text: str) -> str:
    """Return a word without the wrong characters."""
    return "".join(_RIGHT[char][0] if char in _RIGHT else char for char in text).strip(" \"'")


def find_wrong(line: str) -> Iterator[tuple[int, str]]:
    """Yield (position from 0, character) of what is wrong in a line, outside of quotes."""
    quote = ""
    for position, char in enumerate(line):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'" and (position == 0 or line[position - 1] in " [{,:"):
            quote = char
        elif char in _RIGHT:
            yield position, char


def corrected(line: str) -> str:
    """Return a line with its wrong characters outside of quotes replaced."""
    places = dict(find_wrong(line))
    return "".join(
        _RIGHT[char][0] if position in places else char for position, char in enumerate(line)
    )


def _at(span: Span, offset: int) -> Span:
    column = span.column + offset
    return Span(span.source, span.line, column, span.line, column + 1)
