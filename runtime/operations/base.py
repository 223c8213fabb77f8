"""The three forms of operations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from teola.runtime.instance.context import TaskContext

Values = Mapping[str, Any]


class CpuOperation(ABC):
    """A pure function of its inputs."""

    @abstractmethod
    def compute(self, inputs: Values, config: Values, context: TaskContext) -> dict[str, Any]:
        """Inputs by name -> outputs by name."""

    def heavy(self, inputs: Values) -> bool:
        """Whether this call would hold up the event loop: it then runs in a thread."""
        return False


class Scan(ABC):
    """A list function whose output grows with its inputs; one instance serves one run."""

    def __init__(self, config: Values, fixed: Values, inputs: Sequence[str]) -> None:
        """``fixed`` are the inputs that are no lists, ``inputs`` the names of those that are."""
        self.config, self.fixed, self.inputs = config, fixed, inputs

    @abstractmethod
    def feed(self, name: str, items: Sequence[Any]) -> list[Any]:
        """Take the next items of an input; return what is decided now."""

    def end(self, name: str) -> list[Any]:
        """An input has no more items."""
        return []


class EngineOperation(ABC):
    """How a group of a primitive becomes items of an engine."""

    @abstractmethod
    def items(self, inputs: Values, context: TaskContext) -> Sequence[Any]:
        """The engine's items, in order."""

    def common(self, inputs: Values, config: Values, context: TaskContext) -> dict[str, Any]:
        """What all items of the request have in common."""
        return {}

    @abstractmethod
    def outputs(self, inputs: Values, results: Sequence[Any]) -> dict[str, Any]:
        """One result an item -> the group's outputs."""

    def same(self, item: Any) -> Hashable | None:
        """Equal for items that give equal results within one run (None: never compared)."""
        return None

    def publish(self, inputs: Values, context: TaskContext) -> tuple[str, dict[str, Any]] | None:
        """An engine command that ends the run, after all groups: (command, arguments); ``inputs``
        are those that no group slices."""
        return None

    def ending(self, reply: Any, context: TaskContext) -> dict[str, Any]:
        """Outputs that leave with the end of the run, given the reply to ``publish``."""
        return {}

    def discard(self, context: TaskContext) -> tuple[str, dict[str, Any]] | None:
        """An engine command that undoes what the groups of a failed run have left."""
        return None
