"""The shapes of answers: how each is read as it comes, and what holds an engine to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from teola.runtime.shapes.base import MalformedError, Shape, TextShape
from teola.runtime.shapes.choice import ChoiceShape, name_of
from teola.runtime.shapes.json_list import JsonListShape
from teola.runtime.shapes.json_value import JsonShape
from teola.runtime.shapes.lines import LinesShape

__all__ = [
    "ChoiceShape",
    "JsonListShape",
    "JsonShape",
    "LinesShape",
    "MalformedError",
    "Shape",
    "TextShape",
    "name_of",
    "shape_of",
]

Config = Mapping[str, Any]


def shape_of(output: Config, inputs: Config) -> Shape:
    """The reader of one answer: ``output`` is a decode's config, ``inputs`` are its values."""
    return _SHAPES[str(output.get("shape", "text"))](output, inputs)


def _count(output: Config, inputs: Config) -> int | None:
    count = inputs.get("count", output.get("count"))
    return None if count is None else int(count)


def _lines(output: Config, inputs: Config) -> Shape:
    exclude = inputs.get("exclude") or ()
    return LinesShape(_count(output, inputs), [exclude] if isinstance(exclude, str) else exclude)


_SHAPES: Mapping[str, Callable[[Config, Config], Shape]] = {
    "text": lambda _, __: TextShape(),
    "lines": _lines,
    "json": lambda output, _: JsonShape(output.get("schema")),
    "json_list": lambda output, given: JsonListShape(output.get("schema"), _count(output, given)),
    "choice": lambda output, _: ChoiceShape(output["choices"]),
    "bool": lambda _, __: ChoiceShape.yes_or_no(),
}
