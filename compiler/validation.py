"""From pydantic's errors to our own diagnostics, with places in the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from teola.compiler.diagnostics import Diagnostic, Diagnostics, nearest
from teola.compiler.graph.pgraph import Json
from teola.compiler.hints.bare import as_map
from teola.compiler.hints.words import foreign_word
from teola.compiler.located import LocatedTree, Span, TreePath
from teola.compiler.model_fields import KEY, Spot, choices, keys_of, locate, owner_of
from teola.compiler.values import described

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)

Foreign = Callable[[type[BaseModel], str], "str | None"]
"""(model of a map, a key it lacks) -> what to write instead, for keys known from elsewhere."""

EXPECTED = {
    "string_type": "a text",
    "int_type": "an int",
    "int_from_float": "an int",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a map",
    "mapping_type": "a map",
    "model_type": "a map",
    "model_attributes_type": "a map",
    "list_type": "a list",
    "tuple_type": "a list",
}
"""Types of pydantic's errors -> what was expected."""

_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_SWITCHES = {
    **dict.fromkeys(("yes", "on", "y", "true"), "write true"),
    **dict.fromkeys(("no", "off", "n", "false"), "write false"),
}
_UNION_MISSES = frozenset({*EXPECTED, "literal_error"})


@dataclass(frozen=True)
class Place:
    """Where a model's data stands: at ``path`` of ``tree``."""

    tree: LocatedTree
    path: TreePath = ()
    foreign: Foreign = lambda _model, _key: None


def validate(
    model: type[Model], data: Mapping[str, object], place: Place, diagnostics: Diagnostics
) -> Model | None:
    """Validate ``data`` and report every problem where it stands.

    Where the only problems are keys too many and wrong optional values, those are left out and the
    rest is returned, so that more can be checked. Else returns None.
    """
    remaining: Mapping[str, object] = data
    while problems := _problems(model, remaining, place):
        for problem in _without_union_misses(problems):
            diagnostics.add(problem.diagnostic())
        paths = [problem.droppable() for problem in problems]
        if None in paths:
            return None
        for path in sorted(filter(None, set(paths)), key=len, reverse=True):
            remaining = cast("Mapping[str, object]", _without(remaining, path))
    return model.model_validate(remaining)


@dataclass(frozen=True)
class _Problem:
    """One of pydantic's errors."""

    error: ErrorDetails
    spot: Spot
    place: Place

    @property
    def kind(self) -> str:
        return self.error["type"]

    @property
    def key(self) -> str:
        location = [part for part in self.error["loc"] if part != KEY]
        if self.kind in ("missing", "extra_forbidden"):
            return str(location[-1])
        path = self.spot.path
        start = max((i for i, part in enumerate(path) if isinstance(part, str)), default=0)
        return ".".join(str(part) for part in path[start:])

    def diagnostic(self) -> Diagnostic:
        """Say it in our words."""
        if self.kind == "extra_forbidden":
            return self._unknown_key()
        if self.kind == "missing":
            return self._missing_key()
        if self.kind in EXPECTED:
            return self._wrong_type([EXPECTED[self.kind]])
        if self.kind == "literal_error":
            return self._no_choice()
        if "-" in self.kind or self.kind == "value_error":
            return self._custom()
        return self._bad_value()

    def droppable(self) -> TreePath | None:
        """Return the innermost place that may be left out for the rest to be checked."""
        if self.kind == "extra_forbidden":
            return self.spot.path
        if KEY in self.error["loc"]:
            return None
        for step in reversed(self.spot.steps):
            if step.is_entry:
                return None
            if step.optional:
                return step.path
        return None

    def _unknown_key(self) -> Diagnostic:
        owner = owner_of(self.spot.annotation)
        known = keys_of(owner) if owner is not None else []
        what = _noun(owner)
        hint = self.place.foreign(owner, self.key) if owner is not None else None
        if hint is None and (close := nearest(self.key, known)) is not None:
            hint = f"did you mean '{close}'?"
        return Diagnostic(
            "unknown-key",
            f"{what} has no key '{self.key}'",
            self._span(of_key=True),
            (f"{what} has: {', '.join(known)}",),
            hint,
        )

    def _missing_key(self) -> Diagnostic:
        what = _noun(owner_of(self.spot.annotation) or self.spot.owner)
        span = self._span(of_key=True)
        return Diagnostic("missing-key", f"{what} needs the key '{self.key}'", span)

    def _wrong_type(self, expected: Sequence[str]) -> Diagnostic:
        value = self.spot.value
        if value is None:
            message = f"'{self.key}' is empty: expected {' or '.join(expected)}"
        else:
            got = described(cast("Json", value))
            message = f"'{self.key}' must be {' or '.join(expected)}, got {got}"
        hint = as_map(self.key, value) if expected == ["a map"] else None
        hint = hint or _type_hint(expected[0], value)
        return Diagnostic("wrong-type", message, self._span(), (), hint)

    def _no_choice(self) -> Diagnostic:
        options = choices(self.spot.annotation)
        words = [str(option) for option in options]
        value = self.spot.value
        hint = None
        if str(value) in words and value not in options:
            hint = f"write {value} without quotes"
        elif isinstance(value, str):
            close = foreign_word(value, words) or nearest(value, words)
            hint = f"did you mean '{close}'?" if close else None
        listed = words[0] if len(words) == 1 else f"one of {', '.join(words)}"
        got = described(cast("Json", value))
        return Diagnostic(
            "bad-value",
            f"'{self.key}' must be {listed}, got {got}",
            self._span(),
            (),
            hint,
        )

    def _custom(self) -> Diagnostic:
        context: Mapping[str, Any] = self.error.get("ctx") or {}
        code = self.kind if "-" in self.kind else "bad-value"
        message = str(context.get("error") or self.error["msg"])
        path = self.place.path + self.spot.path
        if "at" in context:
            span = self.place.tree.value_span((*path, str(context["at"])))
        else:
            span = self._span(of_key=KEY in self.error["loc"] or code == "missing-key")
        notes = (str(context["note"]),) if "note" in context else ()
        return Diagnostic(code, message, span, notes, context.get("help"))

    def _bad_value(self) -> Diagnostic:
        context: Mapping[str, Any] = self.error.get("ctx") or {}
        got = described(cast("Json", self.spot.value))
        if self.kind in _BOUNDS:
            words, limit = _BOUNDS[self.kind]
            message = f"'{self.key}' must be {words} {context[limit]:g}, got {got}"
        elif self.kind == "too_short":
            message = f"'{self.key}' is empty"
        else:
            message = f"'{self.key}' cannot be {got}"
        return Diagnostic("bad-value", message, self._span())

    def _span(self, *, of_key: bool = False) -> Span:
        path = self.place.path + self.spot.path
        if not path:
            return self.place.tree.source.start()
        return self.place.tree.key_span(path) if of_key else self.place.tree.value_span(path)


def _problems(model: type[BaseModel], data: Mapping[str, object], place: Place) -> list[_Problem]:
    try:
        model.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        return [_Problem(item, _spot(model, data, item), place) for item in details]
    return []


def _spot(model: type[BaseModel], data: Mapping[str, object], error: ErrorDetails) -> Spot:
    """Return where an error is; for a key too many or too few, the map around it."""
    location = error["loc"]
    if error["type"] in ("missing", "extra_forbidden"):
        around = locate(model, data, location[:-1])
        if error["type"] == "missing":
            return around
        path = (*around.path, location[-1])
        return Spot(path, None, around.annotation, around.owner, around.steps)
    return locate(model, data, location)


def _without_union_misses(problems: Sequence[_Problem]) -> list[_Problem]:
    """Of a value that fits no member of a union keep the most telling problem."""
    kept: list[_Problem] = []
    for problem in problems:
        path = problem.spot.path
        deeper = any(other.spot.path[: len(path)] == path and other.spot.path != path
                     for other in problems)  # fmt: skip
        inside = isinstance(problem.spot.value, (dict, list)) and deeper
        again = any(other.spot.path == path and other.kind in _UNION_MISSES for other in kept)
        if problem.kind in _UNION_MISSES and (inside or again):
            continue
        if problem.kind == "too_short" and inside:
            continue
        kept.append(problem)
    return kept


def _without(data: object, path: TreePath) -> object:
    """Return ``data`` without what stands at ``path``."""
    first, *rest = path
    if isinstance(data, Mapping) and first in data:
        if not rest:
            return {key: value for key, value in data.items() if key != first}
        return {**data, first: _without(data[first], tuple(rest))}
    if isinstance(data, list) and isinstance(first, int) and first < len(data) and rest:
        changed = list(data)
        changed[first] = _without(data[first], tuple(rest))
        return changed
    return data


def _type_hint(expected: str, value: object) -> str | None:
    """Return how a value of a wrong type was probably meant."""
    if expected == "a text" and isinstance(value, (bool, int, float)):
        return f'for a text write quotes: "{value}"'
    if not isinstance(value, str):
        return None
    if expected == "true or false":
        return _SWITCHES.get(value.casefold())
    if (
        expected in ("an int", "a number")
        and value.strip().lstrip("-").replace(".", "").isdecimal()
    ):
        return f"write {value} without quotes"
    if expected == "a list":
        return f"write [{value}]"
    key, colon, _ = value.partition(":")
    return "a blank is missing after the colon" if colon and key.isidentifier() else None


def _noun(model: type[BaseModel] | None) -> str:
    """Return what a model calls itself in messages."""
    return str(getattr(model, "noun", "this map"))
