"""What a module is: its values, settings, outputs, prompts, and how it becomes primitives."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from teola.compiler.graph.pgraph import Json, Ref
from teola.compiler.types import Type

if TYPE_CHECKING:
    from teola.compiler.modules.build import Build


class Settings(BaseModel):
    """Settings of a module: constants under ``with`` that are no values."""

    noun: ClassVar[str] = "with"
    """What the map is called in messages."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class Value:
    """A parameter that is bound once: by reference under ``inputs`` or by constant under ``with``.

    ``types`` are the types it takes, the principal one first. A value that is not required and
    has no ``default`` (a one-tuple) may stay unbound. ``least`` is the smallest constant it takes.
    """

    types: tuple[Type, ...]
    doc: str
    required: bool = True
    default: tuple[Json] | None = None
    least: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a chat prompt: a template under a role, or an input spliced in.

    ``path`` is where it stands under ``with`` (None: it is built in).
    """

    role: str = "user"
    template: str | None = None
    splice: str | None = None
    path: tuple[str | int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt in effect: its entries, and the variables the module adds (name -> meaning) with
    the types of those that have one."""

    entries: tuple[Entry, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, Type] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """A setting that is wrong beside the others: ``path`` is where it stands under ``with``."""

    path: tuple[str | int, ...]
    message: str
    help: str | None = None


def _no_prompts(_: Any) -> Mapping[str, Prompt]:
    return {}


def _no_problems(_: Any) -> Iterable[Problem]:
    return ()


def _nothing(_: Any) -> Collection[str]:
    return ()


@dataclass(frozen=True)
class ModuleDefinition:
    """One word of the vocabulary (``uses:``).

    ``engines`` are the kinds of engine the module runs on: each kind is a setting that names one.
    ``one_of`` groups values of which exactly one is bound. ``open_inputs``: further inputs are
    accepted, for its templates and expressions. For given settings ``outputs`` gives the ports,
    ``prompts`` the prompts in effect, ``problems`` what is wrong among the settings, ``unneeded``
    the engines that it does without, and ``mentions`` the further inputs that its settings use
    outside of prompts. ``lower`` adds the module's primitives to a ``Build`` and returns where each
    output port comes from.
    """

    name: str
    doc: str
    values: Mapping[str, Value]
    settings: type[Settings]
    outputs: Callable[[Any], Mapping[str, Type]]
    lower: Callable[[Build], Mapping[str, Ref]]
    engines: tuple[str, ...] = ()
    one_of: tuple[tuple[str, ...], ...] = ()
    open_inputs: bool = False
    prompts: Callable[[Any], Mapping[str, Prompt]] = _no_prompts
    problems: Callable[[Any], Iterable[Problem]] = _no_problems
    unneeded: Callable[[Any], Collection[str]] = _nothing
    mentions: Callable[[Any], Iterable[str]] = _nothing

    @property
    def parameters(self) -> tuple[str, ...]:
        """Every key that may stand under ``with``."""
        return (*self.values, *self.settings.model_fields)
