"""What a pass is: a frozen dataclass whose fields are its options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import ClassVar

from teola.compiler.cost.profile import Entry, Profiles, load_profiles
from teola.compiler.errors import CompileError
from teola.compiler.graph.pgraph import Node, PGraph, Primitive


@dataclass(frozen=True, slots=True)
class Context:
    """What passes may look at beside the graph: nothing but profiles."""

    profiles: Profiles = field(default_factory=load_profiles)

    def entry(self, graph: PGraph, node: Node) -> Entry | None:
        """What a node's operation costs on its engine; None for a region, or where it is free."""
        if not isinstance(node, Primitive):
            return None
        engine = graph.engines.get(node.engine) if node.engine is not None else None
        return self.profiles.entry(node.operation, engine)


@dataclass(frozen=True)
class Pass(ABC):
    """A pure rewrite of the p-graph; its fields are its options on the command line: whole numbers
    of at least the field's ``least`` (0 without one).

    Raises:
        CompileError: an option is out of range.
    """

    name: ClassVar[str]
    woken_by: ClassVar[frozenset[str] | None] = None
    """The passes whose rewrites may give this one work again; None: any pass."""

    def __post_init__(self) -> None:
        for option in fields(self):
            value, least = getattr(self, option.name), option.metadata.get("least", 0)
            if type(value) is not int or value < least:
                name = option.name.replace("_", "-")
                raise CompileError(
                    f"the pass {self.name}: {name} is a whole number of at least {least}, "
                    f"not {value!r}"
                )

    def wakes_after(self, other: Pass) -> bool:
        """Whether this pass must run (again) after ``other`` has changed the graph."""
        return self.woken_by is None or other.name in self.woken_by

    @abstractmethod
    def apply(self, graph: PGraph, context: Context) -> PGraph:
        """Return the rewritten graph, or the same object when nothing changed."""
