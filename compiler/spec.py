"""The workflow file as frozen models: its shape, without what references and modules mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from teola.compiler.diagnostics import Diagnostics
from teola.compiler.durations import DURATION_PATTERN, parse_duration
from teola.compiler.engine_reader import read_engines
from teola.compiler.engines import EngineSettings
from teola.compiler.graph.pgraph import Json
from teola.compiler.hints import foreign
from teola.compiler.located import LocatedTree
from teola.compiler.names import ID_PATTERN, check_id, check_module_id
from teola.compiler.types import SCALARS, TypeSyntaxError, parse_type
from teola.compiler.validation import Place, validate
from teola.compiler.values import described

Constant: TypeAlias = Any
"""Plain data as YAML gives it."""

Id: TypeAlias = Annotated[
    str,
    BeforeValidator(check_id),
    WithJsonSchema({"type": "string", "pattern": ID_PATTERN}),
]
ModuleId: TypeAlias = Annotated[
    str,
    BeforeValidator(check_module_id),
    WithJsonSchema({"type": "string", "pattern": ID_PATTERN}),
]
Duration: TypeAlias = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN}),
]


def _check_type(value: object) -> object:
    """Refuse what is no type (language rule 6)."""
    if isinstance(value, str):
        try:
            parse_type(value)
        except TypeSyntaxError as error:
            raise PydanticCustomError(
                "bad-type", "{what}", {"what": str(error), "help": error.help}
            ) from error
    return value


TypeName: TypeAlias = Annotated[
    str,
    BeforeValidator(_check_type),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^(list<)*({'|'.join(SCALARS)})>*$",
            "examples": ["text", "list<document>", "int", "json"],
        }
    ),
]


class FileModel(BaseModel):
    """A map of the file: its keys are its fields, and there are no others."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class InputSpec(FileModel):
    """An input of the workflow; in short only its type."""

    noun: ClassVar[str] = "an input"
    short: ClassVar[str] = "type"

    type: Annotated[TypeName, Field(description="Type of the input, as list<document>")]
    default: Annotated[
        Constant, Field(description="Value where none is given; without it one must be")
    ] = None
    description: Annotated[str, Field(description="What the input is, for whoever calls")] = ""

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: object) -> object:
        return {"type": value} if isinstance(value, str) else value

    @property
    def has_default(self) -> bool:
        """Whether the file gives a default; it may be null."""
        return "default" in self.model_fields_set


class ReferenceSpec(FileModel):
    """A reference; in long form with a default."""

    noun: ClassVar[str] = "a reference"
    short: ClassVar[str] = "from"

    reference: Annotated[str, Field(alias="from", description="module.port, or inputs.name")]
    default: Annotated[
        Constant, Field(description="Constant that stands in where there is no value")
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: object) -> object:
        return {"from": value} if isinstance(value, str) else value

    @property
    def has_default(self) -> bool:
        """Whether the file gives a default; it may be null."""
        return "default" in self.model_fields_set


class RetrySpec(FileModel):
    """When a failed task is tried again."""

    noun: ClassVar[str] = "retry"

    max: Annotated[int, Field(ge=0, le=100, description="Tries after the first")]
    backoff: Annotated[
        Literal["exponential", "constant"],
        Field(description="How waits grow: doubled each time, or not at all"),
    ] = "exponential"
    initial: Annotated[
        Duration,
        Field(description="Wait before the first retry", json_schema_extra={"default": "200ms"}),
    ] = 0.2
    on: Annotated[
        tuple[Literal["engine", "died", "memory", "timeout", "item"], ...],
        Field(strict=False, description="Classes of errors; by default all that may pass"),
    ] = ()

    def config(self) -> dict[str, Json]:
        """Return it as a primitive carries it: ``max``, ``backoff``, ``initial_s``, ``on``."""
        return {
            "max": self.max,
            "backoff": self.backoff,
            "initial_s": self.initial,
            "on": list(self.on),
        }


class TaskLimits(FileModel):
    """What bounds each task."""

    timeout: Annotated[Duration | None, Field(description="From queued to done, of each try")] = (
        None
    )
    idle_timeout: Annotated[Duration | None, Field(description="From one token to the next")] = None
    retry: Annotated[RetrySpec | None, Field(description="When to try again")] = None


class DefaultsSpec(TaskLimits):
    """What modules take that do not say otherwise: limits, and an engine for each kind."""

    noun: ClassVar[str] = "defaults"

    llm: Annotated[Id | None, Field(description="Name of an engine of kind llm")] = None
    embedder: Annotated[Id | None, Field(description="Name of an engine of kind embedder")] = None
    reranker: Annotated[Id | None, Field(description="Name of an engine of kind reranker")] = None
    store: Annotated[Id | None, Field(description="Name of an engine of kind store")] = None


class ModuleSpec(TaskLimits):
    """One module; what may stand under ``inputs`` and ``with`` is up to what it uses."""

    noun: ClassVar[str] = "a module"
    own_first: ClassVar[bool] = True

    uses: Annotated[str, Field(description="Which module of the vocabulary it is")]
    inputs: Annotated[dict[str, Constant], Field(description="Values bound by reference")] = {}
    with_: Annotated[
        dict[str, Constant], Field(alias="with", description="Settings, and values as constants")
    ] = {}
    needs: Annotated[
        tuple[str, ...],
        Field(strict=False, description="Modules that must have run before, for their effects"),
    ] = ()


class WorkflowSpec(FileModel):
    """A workflow file."""

    noun: ClassVar[str] = "a workflow"

    schema_: Annotated[
        str | None, Field(alias="$schema", description="JSON Schema, for editors")
    ] = None
    teola: Annotated[Literal[1], Field(description="Version of the language")]
    name: Annotated[Id, Field(description="Name of the workflow")]
    description: Annotated[str, Field(description="What it does, for whoever calls")] = ""
    inputs: Annotated[
        dict[Id, InputSpec], Field(description="Inputs by name, as question: text")
    ] = {}
    engines: Annotated[
        dict[Id, InstanceOf[EngineSettings]], Field(description="Engines by name")
    ] = {}
    defaults: Annotated[
        DefaultsSpec, Field(description="What modules take that do not say otherwise")
    ] = DefaultsSpec()
    deadline: Annotated[Duration | None, Field(description="Bound of a whole query")] = None
    modules: Annotated[dict[ModuleId, ModuleSpec], Field(min_length=1, description="Modules by id")]
    outputs: Annotated[
        dict[Id, ReferenceSpec],
        Field(min_length=1, description="References by name; the first is the main output"),
    ]

    @property
    def engine_names(self) -> Mapping[str, tuple[str, ...]]:
        """Engine kind -> the names of the engines of that kind, in written order."""
        kinds: dict[str, tuple[str, ...]] = {}
        for name, engine in self.engines.items():
            kinds[engine.kind] = (*kinds.get(engine.kind, ()), name)
        return kinds


_PLACEHOLDERS: Mapping[str, object] = {
    "modules": {"placeholder": {"uses": "nothing"}},
    "outputs": {"placeholder": "nothing"},
}
"""What stands for a map that was written as a list while the rest is checked."""


def spec_from_tree(tree: LocatedTree, diagnostics: Diagnostics) -> WorkflowSpec | None:
    """Validate the shape of a file; every problem is reported where it stands.

    Returns None where too much is missing. With keys too many or wrong optional values the rest is
    returned, so that more can be checked; there are errors in ``diagnostics`` then.
    """
    if not isinstance(tree.data, Mapping):
        _not_a_map(tree, diagnostics)
        return None
    engines, complete = read_engines(tree, diagnostics)
    data = {**tree.data}
    for key in ("modules", "inputs", "engines", "outputs"):
        if isinstance(data.get(key), list):
            _list_for_map(tree, key, data[key], diagnostics)
            data[key] = _PLACEHOLDERS.get(key, {})
            complete = False
    if isinstance(data.get("engines"), Mapping):
        data["engines"] = engines
    found = validate(WorkflowSpec, data, Place(tree, (), foreign.hint), diagnostics)
    return found if complete else None


def _not_a_map(tree: LocatedTree, diagnostics: Diagnostics) -> None:
    got = described(tree.data)  # type: ignore[arg-type]  # YAML gives plain data
    diagnostics.error(
        "not-a-workflow",
        f"a workflow is a map, this is {got}",
        tree.source.start(),
        help="begin with 'teola: 1'",
    )


def _list_for_map(tree: LocatedTree, key: str, items: object, diagnostics: Diagnostics) -> None:
    entries = items if isinstance(items, list) else []
    diagnostics.error(
        "list-of-modules" if key == "modules" else "list-for-map",
        f"'{key}' is a map from names to {key}, not a list",
        tree.key_span((key,)),
        help=foreign.list_form(key, entries),
    )
