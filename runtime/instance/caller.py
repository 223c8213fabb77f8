"""What the caller of a query hears while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from teola.runtime.events import (
    Event,
    ItemAdded,
    Listener,
    ModuleFinished,
    ModuleProgress,
    ModuleStarted,
    OutputReady,
    TextDelta,
)
from teola.runtime.instance.blueprint import Prepared
from teola.runtime.values import Cell

if TYPE_CHECKING:
    from teola.runtime.instance.run import Run


class Caller:
    """Tells ``listener`` of modules and outputs until the query is over. There is one only where
    somebody listens."""

    __slots__ = ("began_s", "listener", "modules", "now")

    def __init__(self, listener: Listener, now: Callable[[], float], began_s: float) -> None:
        self.listener: Listener | None = listener
        self.now, self.began_s = now, began_s
        self.modules: dict[str, _Module] = {}

    def tell(self, event: Event) -> None:
        """Something happened; after the end nothing does."""
        if self.listener is not None:
            self.listener(event)

    def over(self) -> None:
        """The query has ended: its result, or its error, is all that is still to come."""
        self.listener = None

    def expect(self, prepared: Prepared) -> None:
        """The query waits for a run of this node."""
        self._module(prepared).left += 1

    def shared(self, modules: Iterable[str]) -> None:
        """All of what is instantiated is known: a module of these without a run was shared."""
        for name in modules:
            if name not in self.modules:
                self.tell(ModuleFinished(name, self.now() - self.began_s, 0.0, "shared"))

    def began(self, prepared: Prepared) -> None:
        """A run of this node begins."""
        module = self._module(prepared)
        if module.began_s is None:
            module.began_s = self.now()
            self.tell(ModuleStarted(prepared.place.module, module.began_s - self.began_s))

    def progressed(self, run: Run, prepared: Prepared, done: int, total: int | None) -> None:
        """A run has done some of its items: its module is as far as the one of its runs that is
        behind the others."""
        counts = self._module(prepared).counts
        counts[run] = done, total
        behind = min(counts.values(), key=lambda count: count[0])
        self.tell(ModuleProgress(prepared.place.module, *behind))

    def ended(self, run: Run, prepared: Prepared) -> None:
        """A run has ended."""
        module = self._module(prepared)
        module.left -= 1
        module.counts.pop(run, None)
        if module.left == 0 and run.state == "done":
            now = self.now()
            began = module.began_s if module.began_s is not None else now
            self.tell(ModuleFinished(prepared.place.module, now - self.began_s, now - began))

    def _module(self, prepared: Prepared) -> _Module:
        name = prepared.place.module
        if name not in self.modules:
            self.modules[name] = _Module()
        return self.modules[name]

    def output(self, name: str, value: Any) -> None:
        """An output is complete."""
        self.tell(OutputReady(name, value))

    def follow(self, name: str, cell: Cell) -> None:
        """Tell of an output as it grows: of its items, or its text."""
        if cell.items is not None:
            self._follow_items(name, cell)
        elif not cell.done:
            if cell.text:
                self.tell(TextDelta(name, cell.text))
            cell.on_text += (lambda text: self.tell(TextDelta(name, text)),)
        elif isinstance(cell.value, str):
            self.tell(TextDelta(name, cell.value))

    def _follow_items(self, name: str, cell: Cell) -> None:
        told = 0

        def grown() -> None:
            nonlocal told
            items = cell.items or ()
            for index in range(told, len(items)):
                self.tell(ItemAdded(name, index, items[index]))
            told = max(told, len(items))

        grown()
        if not cell.done:
            cell.on_growth += (grown,)


class _Module:
    """How much of a module is still to do; ``counts``: how far its runs are that tell it."""

    __slots__ = ("began_s", "counts", "left")

    def __init__(self) -> None:
        self.left = 0
        self.counts: dict[Run, tuple[int, int | None]] = {}
        self.began_s: float | None = None
