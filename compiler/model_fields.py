"""What a pydantic model expects at a place: the annotation, the map around it, and what exists."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from teola.compiler.located import TreePath

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

KEY = "[key]"
"""What pydantic adds to the place of a key that is wrong itself."""

Location = tuple[int | str, ...]
"""A place as pydantic names it: keys, list positions, tags of union members."""


@dataclass(frozen=True)
class Step:
    """One step from the root: ``optional`` says whether what is there may be left out."""

    path: TreePath
    optional: bool
    is_entry: bool


@dataclass(frozen=True)
class Spot:
    """A place in a model and in the data it was given."""

    path: TreePath
    """The deepest place that exists in the data."""
    value: object
    annotation: Any
    owner: type[BaseModel] | None
    """The model whose key the last one is."""
    steps: tuple[Step, ...]


def locate(model: type[BaseModel], data: object, location: Location) -> Spot:
    """Follow ``location`` through the model and its data; union tags are passed over."""
    path: TreePath = ()
    annotation: Any = model
    owner: type[BaseModel] | None = None
    steps: list[Step] = []
    for part in location:
        if part == KEY:
            break
        exists = _exists(data, part)
        if exists:
            data = data[part]  # type: ignore[index]  # it is a map or a list that has it
            path = (*path, part)
        found = _expected(annotation, part)
        if found is None:
            continue
        annotation, owner, is_entry, optional = found
        if exists:
            steps.append(Step(path, optional, is_entry))
    return Spot(path, data, annotation, owner, tuple(steps))


def owner_of(annotation: Any) -> type[BaseModel] | None:
    """Return the model among the types of an annotation, if there is one."""
    return next(iter(_models(annotation)), None)


def keys_of(model: type[BaseModel]) -> list[str]:
    """Return the keys of a model as they are written; ``own_first`` ones before inherited ones."""
    fields = list(model.model_fields.items())
    if getattr(model, "own_first", False):
        own = model.__annotations__
        fields.sort(key=lambda item: item[0] not in own)
    return [field.alias or name for name, field in fields]


def choices(annotation: Any) -> list[Any]:
    """Return what an annotation's literals allow."""
    return [
        word
        for member in _members(annotation)
        if get_origin(member) is Literal
        for word in get_args(member)
    ]


def _exists(data: object, part: str | int) -> bool:
    if isinstance(data, Mapping):
        return part in data
    return isinstance(data, list) and isinstance(part, int) and part < len(data)


def _expected(annotation: Any, part: str | int) -> tuple[Any, Any, bool, bool] | None:
    """Return what is expected at ``part``: annotation, owner, is it an entry, is it optional."""
    for model in _models(annotation):
        field = _field(model, part)
        if field is not None:
            return field.annotation, model, False, not field.is_required()
    for member in _members(annotation):
        arguments = get_args(member)
        if get_origin(member) in (dict, Mapping):
            return arguments[1], None, True, False
        if get_origin(member) in (tuple, list) and isinstance(part, int):
            return arguments[0], None, False, False
    return None


def _field(model: type[BaseModel], key: str | int) -> FieldInfo | None:
    for name, field in model.model_fields.items():
        if key in (field.alias or name, name):
            return field
    return None


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    for member in _members(annotation):
        if isinstance(member, type) and issubclass(member, BaseModel):
            yield member


def _members(annotation: Any) -> Iterator[Any]:
    """Yield the types of an annotation without ``Annotated`` and unions."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation
