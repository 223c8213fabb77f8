"""From libyaml's events to plain data with positions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from yaml import CSafeLoader, parse
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from teola.compiler.diagnostics import Diagnostics
from teola.compiler.hints import characters, references, templates, values
from teola.compiler.located import LocatedTree, Marks, Source, Span, TreePath, span_of
from teola.compiler.scalars import BadNumberError, resolve

Event = Any
"""One of libyaml's events; which fields it has depends on its class."""

MAX_DEPTH = 64
"""Lists and maps inside each other; deeper files are refused."""

MAX_ALIASED = 10_000
"""Values that aliases may repeat altogether."""


class RefusedError(Exception):
    """The text is YAML, but nothing Teola would read; a diagnostic says why."""


def compose(source: Source, text: str, diagnostics: Diagnostics) -> LocatedTree:
    """Compose the only document of ``text``, which is ``source`` after repairs.

    Raises:
        yaml.YAMLError: the text is not YAML.
        RefusedError: no document, or too deep or too large a tree.
    """
    return _Composer(source, text, diagnostics).compose()


class _Composer:
    """One reading of one text."""

    def __init__(self, source: Source, text: str, diagnostics: Diagnostics) -> None:
        self._source = source
        self._lines = Source(source.name, text).lines
        self._text = text
        self._diagnostics = diagnostics
        self._anchors: dict[str, tuple[object, int] | None] = {}
        self._events: Iterator[Event] = iter(())
        self._end: Any = None
        self._values: dict[TreePath, Span | Marks] = {}
        self._keys: dict[TreePath, Span | Marks] = {}
        self._count = 0
        self._aliased = 0
        self._depth = 0

    def compose(self) -> LocatedTree:
        """Compose the whole text."""
        self._events = parse(self._text, Loader=CSafeLoader)
        next(self._events)
        start = next(self._events)
        if isinstance(start, StreamEndEvent):
            self._refuse("empty-file", "the file is empty", self._source.start())
        self._end = start.end_mark
        data = self._value((), next(self._events))
        next(self._events)
        more = next(self._events)
        if isinstance(more, DocumentStartEvent):
            message = "a file holds one workflow; '---' starts another"
            self._diagnostics.error("one-document", message, self._span(more))
        return LocatedTree(self._source, data, self._values, self._keys)

    def _value(self, path: TreePath, event: Event) -> object:
        if isinstance(event, ScalarEvent):
            return self._scalar(path, event)
        if isinstance(event, AliasEvent):
            return self._alias(path, event)
        if self._depth >= MAX_DEPTH:
            message = f"more than {MAX_DEPTH} lists and maps inside each other"
            self._refuse("too-deep", message, self._span(event))
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if event.tag is not None and not templates.is_template(path):
            self._diagnostics.add(values.tag(self._span(event), event.tag, None, path))
        before = self._count
        self._depth += 1
        build = self._map if isinstance(event, MappingStartEvent) else self._list
        data = build(path, event)
        self._depth -= 1
        self._count += 1
        if event.anchor is not None:
            self._anchors[event.anchor] = (data, self._count - before)
        self._values[path] = (event.start_mark, self._end)
        return data

    def _scalar(self, path: TreePath, event: Event) -> object:
        self._count += 1
        self._end = event.end_mark
        self._values[path] = (event.start_mark, event.end_mark)
        text: str = event.value
        if event.tag is not None:
            self._diagnostics.add(values.tag(self._span(event), event.tag, text, path))
        data: object = text if event.style or event.tag is not None else self._plain(path, event)
        if (unset := values.environment(self._span(event), text, path)) is not None:
            self._diagnostics.add(unset)
        if templates.is_template(path):
            line = self._lines[min(event.end_mark.line, len(self._lines) - 1)]
            found = templates.check(self._span(event), path, text, event.style, line)
            self._diagnostics.extend(found)
        elif isinstance(data, str) and references.is_reference_place(path):
            data = self._reference(path, event, data)
        if event.anchor is not None:
            self._anchors[event.anchor] = (data, 1)
        return data

    def _plain(self, path: TreePath, event: Event) -> object:
        text: str = event.value
        if not text:
            self._values[path] = self._keys.get(path, self._values[path])
        elif not text.isascii():
            found = list(characters.check_value(self._span(event), text))
            self._diagnostics.extend(found)
            text = characters.cleaned(text) if found else text
        try:
            return resolve(text)
        except BadNumberError as error:
            self._diagnostics.error("bad-number", str(error), self._span(event))
            return 0

    def _reference(self, path: TreePath, event: Event, text: str) -> object:
        if references.is_plain(text):
            return text
        explained = references.check(self._span(event), str(path[-1]), text)
        if explained is None:
            return text
        self._diagnostics.add(explained[0])
        return explained[1]

    def _alias(self, path: TreePath, event: Event) -> object:
        self._end = event.end_mark
        self._values[path] = (event.start_mark, event.end_mark)
        known = self._anchors.get(event.anchor)
        if known is None:
            inside = event.anchor in self._anchors
            self._diagnostics.add(
                values.alias(self._span(event), event.anchor, path, inside=inside)
            )
            return {} if inside else f"*{event.anchor}"
        data, size = known
        self._count += size
        self._aliased += size
        if self._aliased > MAX_ALIASED:
            message = f"aliases repeat more than {MAX_ALIASED} values"
            self._refuse("too-many-aliases", message, self._span(event))
        return data

    def _list(self, path: TreePath, start: Event) -> object:
        items: list[object] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._value((*path, len(items)), event))
        if start.flow_style:
            self._end = event.end_mark
        return items

    def _map(self, path: TreePath, start: Event) -> object:
        found: dict[str, object] = {}
        braces = False
        while not isinstance(event := next(self._events), MappingEndEvent):
            if isinstance(event, ScalarEvent):
                self._entry(path, found, event, in_flow=bool(start.flow_style))
                continue
            braces = braces or (isinstance(event, MappingStartEvent) and bool(start.flow_style))
            if not braces:
                message = "a key is a text, not a list, a map or an alias"
                self._diagnostics.error("key-not-text", message, self._span(event))
            self._skip(event)
            self._skip(next(self._events))
        if start.flow_style:
            self._end = event.end_mark
        return self._in_braces(path, start, event) if braces else found

    def _entry(
        self, path: TreePath, found: dict[str, object], event: Event, *, in_flow: bool
    ) -> None:
        key = self._key(event)
        value = next(self._events)
        place = (*path, key)
        if key in found:
            first = self._keys[place]
            line = first.line if isinstance(first, Span) else first[0].line + 1
            note = f"'{key}' is already set on line {line}"
            message = f"'{key}' is set twice"
            self._diagnostics.error("duplicate-key", message, self._span(event), notes=[note])
        elif key == "<<" and not event.style:
            message = "'<<' (YAML's merge key) is not read"
            self._diagnostics.error(
                "no-merge-key", message, self._span(event), help="write the keys out"
            )
        else:
            self._keys[place] = (event.start_mark, event.end_mark)
            if in_flow and self._stands_alone(event, value):
                self._no_value(key, event)
            found[key] = self._value(place, value)
            return
        self._skip(value)

    def _key(self, event: Event) -> str:
        key: str = event.value
        self._count += 1
        self._end = event.end_mark
        if event.tag is not None:
            self._diagnostics.add(values.tag(self._span(event), event.tag, key, ()))
        if event.style:
            return key
        if not key.isascii():
            wrong = list(characters.check_key(self._span(event), key))
            self._diagnostics.extend(wrong)
            return characters.cleaned(key) if wrong else key
        if not self._is_text(key):
            message = (
                f"a key is a text, and '{key}' is not" if key else "a key is missing before ':'"
            )
            help = f'write "{key}"' if key else None
            self._diagnostics.error("key-not-text", message, self._span(event), help=help)
        return key

    @staticmethod
    def _is_text(word: str) -> bool:
        try:
            return isinstance(resolve(word), str)
        except BadNumberError:
            return False

    def _stands_alone(self, key: Event, value: Event) -> bool:
        """Say whether a key in a flow map is not followed by a colon."""
        if not isinstance(value, ScalarEvent) or value.value or value.style:
            return False
        rest = self._text[key.end_mark.index : key.end_mark.index + 200]
        return not rest.lstrip().startswith(":")

    def _no_value(self, key: str, event: Event) -> None:
        self._diagnostics.error(
            "key-without-value",
            f"'{key}' stands in a map and has no value",
            self._span(event),
            help="write 'key: value'; a text with a comma in it needs quotes",
        )

    def _in_braces(self, path: TreePath, start: Event, end: Event) -> object:
        text = self._text[start.start_mark.index : end.end_mark.index]
        span = span_of(self._source, (start.start_mark, end.end_mark))
        problem, meant = values.braces(span, text, path)
        self._diagnostics.add(problem)
        return meant

    def _skip(self, event: Event) -> None:
        """Pass over a value."""
        self._end = event.end_mark
        depth = 0
        while True:
            if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
                depth += 1
            elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
                depth -= 1
            if depth == 0:
                return
            event = next(self._events)

    def _span(self, event: Event) -> Span:
        return span_of(self._source, (event.start_mark, event.end_mark))

    def _refuse(self, code: str, message: str, span: Span) -> NoReturn:
        self._diagnostics.error(code, message, span)
        raise RefusedError(message)
