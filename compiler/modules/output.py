"""The shapes that an LLM's answer can have (language.md, rule 14)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field, JsonValue

from teola.compiler.graph.pgraph import Json
from teola.compiler.json_schema import schema_problem
from teola.compiler.modules.definition import Problem, Settings
from teola.compiler.types import Type, parse_type

Schema = Annotated[
    dict[str, JsonValue] | None,
    Field(alias="schema", description="JSON Schema, 2020-12; references inside it only"),
]


class ListShape(Settings):
    """What lists have in common."""

    count: Annotated[int | None, Field(ge=1, description="Items wanted")] = None
    on_short: Annotated[
        Literal["keep", "error"], Field(description="What fewer items than wanted are")
    ] = "keep"


class LinesShape(ListShape):
    """A list of lines."""

    noun: ClassVar[str] = "lines"


class JsonShape(Settings):
    """A JSON value."""

    noun: ClassVar[str] = "json"

    json_schema: Schema = None


class JsonListShape(ListShape):
    """A list of JSON values."""

    noun: ClassVar[str] = "json_list"

    json_schema: Schema = None


class ShapedOutput(Settings):
    """``output: {lines: {count: 3}}``: one key, the shape's name."""

    noun: ClassVar[str] = "output"

    lines: Annotated[LinesShape | None, Field(description="A line each")] = None
    json_value: Annotated[JsonShape | None, Field(alias="json", description="One JSON value")] = (
        None
    )
    json_list: Annotated[JsonListShape | None, Field(description="A JSON list")] = None
    choice: Annotated[
        list[Annotated[str, Field(min_length=1)]] | None,
        Field(min_length=1, description="One of these texts"),
    ] = None


Output = Literal["text", "lines", "json", "json_list", "bool"] | ShapedOutput

PORTS: Mapping[str, Type] = {
    "text": parse_type("text"),
    "lines": parse_type("list<text>"),
    "json": parse_type("json"),
    "json_list": parse_type("list<json>"),
    "choice": parse_type("text"),
    "bool": parse_type("bool"),
}
"""Shape -> the type of its port, which has the same name."""
PROBABILITIES = "probabilities"
"""The port of how likely each answer is; engines are asked for it where something reads it."""
WEIGHED = ("choice", "bool")
"""The shapes that have it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output as a decode has it: its ``output`` config, and the wanted number of items."""

    config: dict[str, Json]
    count: int | None = None

    @property
    def shape(self) -> str:
        """Its name."""
        return str(self.config["shape"])


def wanted(output: Output) -> Wanted:
    """What a decode is told of an output."""
    if isinstance(output, str):
        return Wanted({"shape": output, "on_short": "keep"})
    name, shape = next(iter(_given(output).items()), ("text", None))
    if isinstance(shape, list):
        return Wanted({"shape": name, "on_short": "keep", "choices": list(shape)})
    config: dict[str, Json] = {"shape": name, "on_short": "keep"}
    if isinstance(shape, ListShape):
        config["on_short"] = shape.on_short
    if isinstance(shape, JsonShape | JsonListShape) and shape.json_schema is not None:
        config["schema"] = shape.json_schema
    return Wanted(config, shape.count if isinstance(shape, ListShape) else None)


def output_problems(output: Output) -> Iterable[Problem]:
    """What is wrong with an output although each of its parts is valid."""
    if isinstance(output, str):
        return
    given = _given(output)
    if len(given) != 1:
        names = ", ".join(given) or "none"
        yield Problem(("output",), f"output has one shape, not {len(given)} ({names})",
                      "write one of them, as in output: {lines: {count: 3}}")  # fmt: skip
    for name, shape in given.items():
        if isinstance(shape, list):
            yield from _choice_problems(shape)
        elif isinstance(shape, JsonShape | JsonListShape) and shape.json_schema is not None:
            found = schema_problem(shape.json_schema)
            if found is not None:
                path, message = found
                yield Problem(("output", name, "schema", *path), f"no JSON Schema: {message}")


def _given(output: ShapedOutput) -> dict[str, LinesShape | JsonShape | JsonListShape | list[str]]:
    """The shapes that are given, by the names they are written with."""
    fields = ShapedOutput.model_fields.items()
    found = ((field.alias or name, getattr(output, name)) for name, field in fields)
    return {name: value for name, value in found if value is not None}


def _choice_problems(choices: list[str]) -> Iterable[Problem]:
    if len(choices) == 1:
        yield Problem(("output", "choice"), f"there is nothing to choose but {choices[0]!r}")
    seen: dict[str, str] = {}
    for index, choice in enumerate(choices):
        key = choice.strip().casefold()
        if choice.strip() != choice or "\n" in choice:
            what = f"the choice {choice!r} has blanks around it or more than one line"
            yield Problem(("output", "choice", index), what)
        elif key in seen:
            yield Problem(("output", "choice", index),
                          f"the choices {seen[key]!r} and {choice!r} are told apart by nothing",
                          "upper and lower case are one")  # fmt: skip
        seen.setdefault(key, choice)
