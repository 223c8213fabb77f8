"""A cursor over one line of the text form: every failure becomes a diagnostic at its column."""

from __future__ import annotations

import json
import re
from collections.abc import Container
from typing import NoReturn, cast

from teola.compiler.diagnostics import Diagnostic, render
from teola.compiler.errors import CompileError
from teola.compiler.graph.pgraph import Const, Json, Operand, Ref
from teola.compiler.source import Source, Span
from teola.compiler.types import TypeSyntaxError, parse_type

_TOKEN = re.compile(
    r"\s*(?:(?P<ref>~?%[A-Za-z_][\w.\-]*:[\w.]+)|(?P<id>%[A-Za-z_][\w.\-]*)|(?P<arrow>->)"
    r"|(?P<type>list<[a-z<>]+>)|(?P<word>[A-Za-z_][\w.\-]*)|(?P<mark>[={}\[\],:?@!#]))"
)
_KINDS = {
    "ref": "a reference (%node:port)",
    "id": "a node (%id)",
    "arrow": "->",
    "word": "a name",
    "type": "a type",
}
_WORDS = {"True": "true", "False": "false", "None": "null", "yes": "true", "no": "false"}
_OPENED = {'"': "text", "[": "list", "{": "map"}
_ASSIGNMENT = re.compile(r"\s*[A-Za-z_][\w.\-]*\s*=")


def _no_number(word: str) -> NoReturn:
    raise ValueError(word)  # Python's reader takes NaN and Infinity, JSON has neither


_DECODER = json.JSONDecoder(parse_constant=_no_number)


def _no_constant(text: str) -> tuple[str, str | None]:
    """What is wrong with a text that does not begin with a constant, and what would be right."""
    expected = "expected a reference (%node:port) or a constant"
    if not text:
        return expected, None
    if text[0] in _OPENED:
        what = _OPENED[text[0]]
        return f"this {what} is not closed, or something in it is not written as in JSON", None
    word = re.match(r"'[^']*'|[^\s,\]}]+", text)
    shown = word[0] if word is not None else text[0]
    if shown.startswith("%"):
        return expected, "a reference names a port: %node:port"
    meant = _WORDS.get(shown) or json.dumps(shown.strip("'"), ensure_ascii=False)
    return f"{expected}, got {shown}", f"write {meant}"


class Line:
    """Reads tokens from left to right."""

    def __init__(self, source: Source, number: int, text: str) -> None:
        self.source, self.number, self.text, self.at = source, number, text, 0

    def fail(self, what: str, help: str | None = None) -> NoReturn:
        column = min(self.at, len(self.text)) + 1
        span = Span(self.source, self.number, column, self.number, column + 1)
        problem = Diagnostic("graph-syntax", what, span, (), help)
        raise CompileError(render([problem]), [problem])

    def peek(self, kind: str, value: str | None = None) -> bool:
        match = _TOKEN.match(self.text, self.at)
        return bool(match and match[kind] and value in (None, match[kind]))

    def take(self, kind: str, value: str | None = None) -> str:
        match = _TOKEN.match(self.text, self.at)
        if not match or not match[kind] or value not in (None, match[kind]):
            self.fail(f"expected {value or _KINDS[kind]}")
        self.at = match.end()
        return match[kind]

    def accept(self, kind: str, value: str | None = None) -> bool:
        if not self.peek(kind, value):
            return False
        self.take(kind, value)
        return True

    def json(self) -> Json:
        start = len(self.text) - len(self.text[self.at :].lstrip())
        try:
            value, self.at = _DECODER.raw_decode(self.text, start)
        except (ValueError, RecursionError):
            self.at = start
            what, help = _no_constant(self.text[start:])
            self.fail(what, help)
        return cast(Json, value)

    def type(self) -> str:
        return self.take("type") if self.peek("type") else self.take("word")

    def known_type(self, text: str) -> str:
        """Refuse a type that there is not."""
        try:
            return str(parse_type(text))
        except TypeSyntaxError as error:
            self.fail(str(error))

    def ref(self) -> Ref:
        text = self.take("ref")
        node, _, path = text.lstrip("~")[1:].partition(":")
        port, *fields = path.split(".")
        default = (self.json(),) if self.accept("mark", "?") else None
        return Ref(node, port, tuple(fields), text.startswith("~"), default)

    def operand(self) -> Operand:
        return self.ref() if self.peek("ref") else Const(self.json())

    def assigns(self) -> bool:
        """Whether ``name=`` comes next."""
        return bool(_ASSIGNMENT.match(self.text, self.at))

    def once(self, name: str, known: Container[str]) -> None:
        """Refuse a name that was given before."""
        if name in known:
            self.fail(f"{name!r} is given twice")

    def end(self) -> None:
        if self.text[self.at :].strip():
            self.fail("expected the end of the line")
