"""Runs of primitives: whole or in groups, and scans."""

from __future__ import annotations

from typing import Any

from teola.compiler.graph.pgraph import Primitive
from teola.runtime.errors import ModuleError
from teola.runtime.instance.run import Run
from teola.runtime.operations import SCANS
from teola.runtime.values import Cell, Source

NOTHING: dict[Any, Any] = {}
"""Stands for what a run does not need or needs no more; never changed."""


class Pumped(Run):
    """A run that looks at its lists again as they grow: once, however often they grew."""

    __slots__ = ("planned",)

    planned: bool

    def pump_soon(self) -> None:
        """Something was added to a list, or it has ended."""
        if not self.planned:
            self.planned = True
            self.executor.ready(self._pump_guarded)

    def _pump_guarded(self) -> None:
        self.planned = False
        self.executor.guarded(self, self.pump)

    def pump(self) -> None:
        """Take what is new."""
        raise NotImplementedError(type(self).__name__)


class PrimitiveRun(Pumped):
    """A primitive. Without stream inputs it has one group; with them, each group takes the next
    items of every list input: the node's ``group``, or, where that is 1, what is there. Results
    leave in index order."""

    __slots__ = (
        "finished",
        "fixed",
        "flushed",
        "last_group",
        "least",
        "lists",
        "most",
        "next_group",
        "next_item",
        "values",
    )

    def begin(self) -> None:
        self.flushed = 0
        self.values: dict[str, Any] = {}
        self.finished: dict[int, dict[str, Any]] = NOTHING
        self.fixed: dict[str, Any] = NOTHING
        if not self.prepared.streams:
            self.last_group: int | None = 1
            self.next_group = 1
            self._whole({name: source.get() for name, source in self.sources.items()})
            return
        self.last_group = None
        self.next_group = self.next_item = 0
        self.least, self.most = self.executor.group_sizes(self)
        self.planned = False
        self.finished = {}
        self.fixed = {
            name: source.get()
            for name, source in self.sources.items()
            if name not in self.prepared.lists
        }
        self.lists = {
            name: source for name, source in self.sources.items() if name in self.prepared.lists
        }
        for source in self.lists.values():
            if not source.cell.done:
                source.cell.on_growth += (self.pump_soon,)
        self.pump()

    @property
    def total(self) -> int | None:
        """How many items it takes, as soon as one of its lists has ended: all are of one length."""
        if not self.prepared.streams:
            return self.item_count
        for source in self.lists.values():
            if source.cell.done:
                return len(_items(source.cell))
        return None

    def pump(self) -> None:
        """Send every group whose items are all there."""
        if self.state != "running" or self.last_group is not None:
            return
        cells = [source.cell for source in self.lists.values()]
        lengths = [len(_items(cell)) for cell in cells]
        there, ended = min(lengths), all(cell.done for cell in cells)
        if ended and there < max(lengths):
            self._lengths_differ(dict(zip(self.lists, lengths, strict=True)))
            return
        least = 1 if ended else self.least
        while (left := there - self.next_item) >= least and self.state == "running":
            size = min(left, self.most)
            self.next_group, self.next_item = self.next_group + 1, self.next_item + size
            self._execute(self.next_group - 1, self._group(self.next_item - size, size))
        if ended:
            self.last_group = self.next_group
            self._flush()

    def _group(self, low: int, size: int) -> dict[str, Any]:
        """What a group takes: its items of every list, and all else whole."""
        inputs = dict(self.fixed)
        for name, source in self.lists.items():
            inputs[name] = _items(source.cell)[low : low + size]
        return inputs

    def _whole(self, inputs: dict[str, Any]) -> None:
        lengths = {name: len(inputs[name]) for name in inputs if name in self.prepared.lists}
        if len(set(lengths.values())) > 1:
            self._lengths_differ(lengths)
        else:
            self._execute(0, inputs)

    def _lengths_differ(self, found: dict[str, int]) -> None:
        lengths = ", ".join(f"{name}: {length}" for name, length in found.items())
        self.fail(ModuleError(self.prepared.place, f"length-mismatch: {lengths} items", "item"))

    def _execute(self, group: int, inputs: dict[str, Any]) -> None:
        self.works()
        self.executor.execute(self, group, inputs)

    def complete(self, group: int, outputs: dict[str, Any]) -> None:
        if self.state != "running":
            return
        if self.prepared.streams:
            self.finished[group] = outputs
        else:
            self._take(outputs)
        self._flush()

    def _after(self) -> None:
        super()._after()
        self.finished = self.values = self.fixed = self.lists = NOTHING

    def _flush(self) -> None:
        """Combine the groups that are next in order; end when the last one is in."""
        while self.flushed in self.finished:
            self._take(self.finished.pop(self.flushed))
        if self.last_group is not None and self.flushed >= self.last_group:
            self.executor.publish(self)

    def _take(self, outputs: dict[str, Any]) -> None:
        self.flushed += 1
        for name, value in outputs.items():
            self._combine(name, value)

    def _combine(self, name: str, value: Any) -> None:
        operation = self.prepared.operation
        combine = operation.outputs[name].combine if operation else "unit"
        if combine == "concat":
            self.cells[name].extend(value)
        elif combine == "sum":
            self.values[name] = self.values.get(name, 0) + value
        else:
            self.values[name] = value


class ScanRun(Pumped):
    """A scan: each item is taken when it comes, in order; what is decided leaves at once. ``taken``
    counts the items of each list that has not ended."""

    __slots__ = ("scan", "taken")

    def waits_for(self, name: str, source: Source) -> bool:
        return name not in self.prepared.lists

    def begin(self) -> None:
        node = self.prepared.node
        lists = [name for name in self.sources if name in self.prepared.lists]
        fixed = {name: s.get() for name, s in self.sources.items() if name not in lists}
        kind = node.operation if isinstance(node, Primitive) else ""
        self.scan = SCANS[kind](node.config, fixed, lists)
        self.taken = dict.fromkeys(lists, 0)
        self.planned = False
        for name in lists:
            source = self.sources[name]
            if source.cell.done:
                continue
            if source.stream:
                source.cell.on_growth += (self.pump_soon,)
            else:
                source.cell.on_done += (self.pump_soon,)
        self.pump()

    def pump(self) -> None:
        if self.state != "running":
            return
        out: list[Any] = []
        for name in tuple(self.taken):
            source = self.sources[name]
            if source.stream or source.cell.done:
                out += self._take(name, source)
        self.cells[self.prepared.cells[0][0]].extend(out)
        if not self.taken:
            self.finish()

    def _take(self, name: str, source: Source) -> list[Any]:
        items: list[Any] = source.get() if source.cell.done else source.cell.items or []
        fresh = items[self.taken[name] :]
        if fresh:
            self.works()
            self.started_s = self.executor.now() if self.started_s is None else self.started_s
        self.taken[name] += len(fresh)
        self.item_count += len(fresh)
        out = self.scan.feed(name, fresh) if fresh else []
        if source.cell.done:
            del self.taken[name]
            out += self.scan.end(name)
        return out


def _items(cell: Cell) -> list[Any]:
    """The items of a list port so far; an input's list is complete from the start."""
    return cell.items if cell.items is not None else list(cell.value or ())
