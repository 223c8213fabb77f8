"""The module graph: a checked workflow, every reference resolved and typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from teola.compiler.graph.pgraph import INPUTS, Guard, InputPort, Json, Operand, Ref
from teola.compiler.types import Type

if TYPE_CHECKING:
    from teola.compiler.modules.definition import ModuleDefinition, Settings


@dataclass(frozen=True, slots=True)
class Binding:
    """What a value is bound to: a reference to a module's port or a workflow input, or a constant.

    ``type`` is what is delivered, ``target`` what the value takes: the same, or wider.
    """

    operand: Operand
    type: Type
    target: Type


@dataclass(frozen=True)
class ModuleNode:
    """One module of the workflow.

    ``inputs`` hold every bound value and further input, defaults included; ``engines`` the name of
    the engine for each kind; ``control`` the task's clocks and retries in the names of a
    primitive's config (``timeout_s``, ``idle_timeout_s``, ``retry``); ``needs`` the modules whose
    effects come first.
    """

    id: str
    definition: ModuleDefinition
    inputs: Mapping[str, Binding]
    settings: Settings
    outputs: Mapping[str, Type]
    engines: Mapping[str, str] = field(default_factory=dict)
    control: Mapping[str, Json] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    guard: tuple[Guard, ...] = ()
    line: int = 0

    @property
    def sources(self) -> frozenset[str]:
        """The modules whose values it uses."""
        refs = (binding.operand for binding in self.inputs.values())
        return frozenset(ref.node for ref in refs if isinstance(ref, Ref) and ref.node != INPUTS)


@dataclass(frozen=True, slots=True)
class WorkflowOutput:
    """An output of the workflow and what feeds it."""

    name: str
    ref: Ref
    type: Type


@dataclass(frozen=True, slots=True, order=True)
class ModuleEdge:
    """data: a port feeds a port; effect: ``needs``; order: the chain of the file."""

    kind: Literal["data", "effect", "order"]
    source: str
    target: str


@dataclass(frozen=True)
class ModuleGraph:
    """A checked workflow. ``modules`` stand in chain order: the file's, made topological.

    ``outputs``: the first is the main one. ``engines`` are canonical configs by name.
    """

    name: str
    modules: tuple[ModuleNode, ...]
    inputs: tuple[InputPort, ...]
    outputs: tuple[WorkflowOutput, ...]
    engines: Mapping[str, Mapping[str, Json]]
    description: str = ""
    deadline_s: float | None = None

    @cached_property
    def by_id(self) -> Mapping[str, ModuleNode]:
        """Every module by its id."""
        return {module.id: module for module in self.modules}

    @cached_property
    def edges(self) -> frozenset[ModuleEdge]:
        """All edges; hints are made by passes, on the p-graph."""
        found = {ModuleEdge("order", one.id, other.id) for one, other in pairwise(self.modules)}
        for module in self.modules:
            found |= {ModuleEdge("data", source, module.id) for source in module.sources}
            found |= {ModuleEdge("effect", source, module.id) for source in module.needs}
        return frozenset(found)
