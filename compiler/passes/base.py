"""What a pass is: a frozen dataclass whose fields are its options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from teola.compiler.cost.profile import Entry, Profiles, load_profiles
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
    """A pure rewrite of the p-graph; its fields are its options on the command line."""

    name: ClassVar[str]

    @abstractmethod
    def apply(self, graph: PGraph, context: Context) -> PGraph:
        """Return the rewritten graph, or the same object when nothing changed."""
