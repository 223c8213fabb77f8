"""What a pass is: a frozen dataclass whose fields are its options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from teola.compiler.graph.pgraph import PGraph


@dataclass(frozen=True)
class Pass(ABC):
    """A pure rewrite of the p-graph; its fields are its options on the command line."""

    name: ClassVar[str]

    @abstractmethod
    def apply(self, graph: PGraph) -> PGraph:
        """Return the rewritten graph, or the same object when nothing changed."""
