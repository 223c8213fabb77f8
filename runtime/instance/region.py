"""Runs of regions: a body instantiated for each item, one after another, or level by level."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from teola.compiler.graph.pgraph import Ref, Region
from teola.runtime.instance.blueprint import Prepared
from teola.runtime.instance.run import Executor, Run
from teola.runtime.instance.scope import Scope, source_key
from teola.runtime.keys import Key, digest, of_json
from teola.runtime.values import Cell, Source, constant

DEFAULT_CONCURRENCY = 64


class RegionRun(Run):
    """What the three kinds share: iterations, each a scope of its own with the body's runs."""

    def __init__(
        self,
        prepared: Prepared,
        scope: Scope,
        sources: dict[str, Source],
        key: Key | None,
        executor: Executor,
    ) -> None:
        super().__init__(prepared, scope, sources, key, executor)
        self.bodies: list[tuple[int, Run]] = []
        self.iterations: list[Scope] = []

    def begin(self) -> None:
        self.started_s = self.executor.now()
        self.start()

    @abstractmethod
    def start(self) -> None:
        """All that is waited for is there."""

    @property
    def region(self) -> Region:
        """The graph's node."""
        node = self.prepared.node
        if not isinstance(node, Region):
            raise TypeError(node.id)
        return node

    def soon(self, action: Callable[[], None]) -> Callable[[], None]:
        """Something that does ``action`` after what is being done now."""
        return lambda: self.executor.ready(lambda: self.executor.guarded(self, action))

    def item_key(self, *marks: int) -> Key | None:
        """The key of an item of the region's list."""
        key = source_key(self.sources["items"]) if self.sources else None
        return digest(key, b"item", repr(marks).encode()) if key else None

    def iterate(self, name: str, bound: Mapping[str, Cell], after: Callable[[], None]) -> Scope:
        """Instantiate the body once; ``after()`` is called when all of it has ended."""
        scope = Scope(self.scope, self.prepared.id, (*self.scope.path, name), bound)
        self.iterations.append(scope)
        left = 1

        def ended() -> None:
            nonlocal left
            left -= 1
            if left == 0 and self.state == "running":
                self.soon(after)()

        for index, prepared in enumerate(self.prepared.body):
            users = [(user, user.runs[self].body[index]) for user in self.users]
            run = self.executor.obtain(prepared, scope, users)
            scope.runs[prepared.id] = run
            if prepared.head is not None:
                scope.runs[prepared.head.id] = run
            self.bodies.append((index, run))
            if not (run.over or run.hint):
                left += 1
                run.on_end += (ended,)
        for ref in self.region.results.values():
            scope.cell(ref).readers += 1
        ended()
        return scope

    def take(self, scope: Scope, ref: Ref) -> tuple[Any, Key | None]:
        """The value of a result in an iteration that has ended, and its key; taken once."""
        source = scope.source(ref)
        found = source.get(), source_key(source)
        source.cell.release()
        return found

    def only(self) -> tuple[str, Ref]:
        """The one result of a fold or reduce."""
        return next(iter(self.region.results.items()))

    def complete(self, group: int, outputs: dict[str, Any]) -> None:
        raise TypeError("a region has no groups")

    def _after(self) -> None:
        super()._after()
        for scope in self.iterations:
            scope.runs.clear()
        self.bodies, self.iterations = [], []


class EachRun(RegionRun):
    """A body for each item; at most ``concurrency`` at a time, results in item order."""

    def waits_for(self, name: str, source: Source) -> bool:
        return not (name == "items" and source.stream)

    def start(self) -> None:
        self.next_item = self.alive = self.flushed = 0
        self.scopes: dict[int, Scope] = {}
        self.complete_items: set[int] = set()
        cell = self.sources["items"].cell
        if not cell.done:
            cell.on_growth += (self.soon(self._pump),)
        self._pump()

    def _items(self) -> Sequence[Any]:
        source = self.sources["items"]
        items: Sequence[Any] = source.get() if source.cell.done else source.cell.items or ()
        return items

    def _pump(self) -> None:
        if self.state != "running":
            return
        limit = self.region.config.get("concurrency") or DEFAULT_CONCURRENCY
        items = self._items()
        while self.next_item < len(items) and self.alive < int(str(limit)):
            index = self.next_item
            self.next_item += 1
            self.alive += 1
            bound = {
                "item": constant(items[index], self.item_key(index)),
                "index": constant(index, of_json(index)),
            }
            name = f"{self.prepared.id}[{index}]"
            self.works()
            self.scopes[index] = self.iterate(name, bound, partial(self._ended, index))
        self._flush()

    def _ended(self, index: int) -> None:
        self.alive -= 1
        self.complete_items.add(index)
        self.item_count += 1
        self.progressed(len(self.complete_items) + self.flushed, None)
        self._pump()

    def _flush(self) -> None:
        while self.flushed in self.complete_items:
            scope = self.scopes.pop(self.flushed)
            for name, ref in self.region.results.items():
                self.cells[name].extend([self.take(scope, ref)[0]])
            self.complete_items.remove(self.flushed)
            self.flushed += 1
        source = self.sources.get("items")
        if source and source.cell.done and self.flushed == len(self._items()):
            self.finish()


class FoldRun(RegionRun):
    """One iteration after another; each sees the result of the one before as ``state``. With
    ``ahead`` so many are begun before their turn: what in them needs no state goes on meanwhile."""

    def waits_for(self, name: str, source: Source) -> bool:
        if self.prepared.ahead and name != "items":
            return False
        return not (name == "items" and source.stream)

    def start(self) -> None:
        self.begun = self.index = 0
        self.complete_items: set[int] = set()
        self.followed = False
        self.result = self.sources["initial"]
        cell = self.sources["items"].cell
        if not cell.done:
            cell.on_growth += (self.soon(self._step),)
        self._step()

    def _step(self) -> None:
        if self.state != "running":
            return
        source = self.sources["items"]
        items = source.get() if source.cell.done else source.cell.items or ()
        while self.begun < min(len(items), self.index + 1 + self.prepared.ahead):
            self._iterate(items[self.begun])
        if not source.cell.done or self.begun < len(items):
            return
        if self.index < self.begun:
            self._follow()
        elif self.result.cell.done:
            self.finish({self.only()[0]: self.result.get()})
        else:
            self.result.cell.on_done += (self.soon(self._step),)

    def _iterate(self, item: Any) -> None:
        if self.sources["initial"].cell.done:
            self.works()
        before, index = self.result, self.begun
        bound = {
            "item": constant(item, self.item_key(index)),
            "index": constant(index, of_json(index)),
            "state": self._state(before),
        }
        self.begun += 1
        scope = self.iterate(f"{self.prepared.id}[{index}]", bound, partial(self._ended, index))
        self.result = scope.source(self.only()[1])
        if index:
            before.cell.release()

    def _state(self, source: Source) -> Cell:
        """The cell that an iteration reads: there as soon as the result before it is."""
        if not source.fields:
            return source.cell
        cell = Cell(source_key(source))
        if source.cell.done:
            cell.end(source.get())
        else:
            source.cell.on_done += (self.soon(lambda: cell.end(source.get())),)
        return cell

    def _follow(self) -> None:
        """The last iteration's text leaves while it is decoded."""
        if not self.followed:
            self.followed = True
            self.result.cell.pass_text(self.cells[self.only()[0]])

    def _ended(self, index: int) -> None:
        self.works()
        self.complete_items.add(index)
        while self.index in self.complete_items:
            self.complete_items.remove(self.index)
            self.index += 1
            self.item_count += 1
            self.progressed(self.index, None)
        self._step()


class ReduceRun(RegionRun):
    """``fan_in`` texts become one, level by level, until one is left."""

    def start(self) -> None:
        source = self.sources["items"]
        values: list[Any] = source.get()
        self.level = 0
        self.texts: list[tuple[Any, Key | None]] = [
            (value, self.item_key(index)) for index, value in enumerate(values)
        ]
        self._level()

    def _level(self) -> None:
        if len(self.texts) <= 1:
            self.finish({self.only()[0]: self.texts[0][0] if self.texts else ""})
            return
        fan_in = max(2, int(str(self.region.config.get("fan_in") or 2)))
        parts = [self.texts[at : at + fan_in] for at in range(0, len(self.texts), fan_in)]
        self.left = sum(len(part) > 1 for part in parts)
        self.parts: list[tuple[Any, Key | None] | Scope] = []
        for index, part in enumerate(parts):
            self.parts.append(part[0] if len(part) == 1 else self._combine(index, part))
        if len(parts) == 1:
            self._follow()

    def _combine(self, index: int, part: list[tuple[Any, Key | None]]) -> Scope:
        keys = [key for _, key in part]
        whole = digest(b"items", *(key for key in keys if key)) if all(keys) else None
        bound = {
            "items": constant([value for value, _ in part], whole),
            "index": constant(index, of_json(index)),
            "level": constant(self.level, of_json(self.level)),
        }
        self.works()
        return self.iterate(f"{self.prepared.id}[{self.level}.{index}]", bound, self._ended)

    def _follow(self) -> None:
        name, ref = self.only()
        scope = self.parts[0]
        if isinstance(scope, Scope):
            scope.cell(ref).pass_text(self.cells[name])

    def _ended(self) -> None:
        self.left -= 1
        self.item_count += 1
        self.progressed(self.item_count, None)
        if self.left:
            return
        self.texts = [
            self.take(part, self.only()[1]) if isinstance(part, Scope) else part
            for part in self.parts
        ]
        self.level += 1
        self._level()


KINDS: dict[str, type[RegionRun]] = {"each": EachRun, "fold": FoldRun, "reduce": ReduceRun}
"""Region kind -> its run."""
