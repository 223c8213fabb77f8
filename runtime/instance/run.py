"""A run: one instance of a node, from waiting for its inputs to its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from teola.compiler.prompts import PromptError
from teola.runtime.errors import ModuleError
from teola.runtime.instance.blueprint import Prepared
from teola.runtime.instance.scope import Scope
from teola.runtime.keys import Key
from teola.runtime.observing.observations import PrimitiveKey
from teola.runtime.values import Cell, Source

if TYPE_CHECKING:
    from teola.runtime.instance.query import Query
    from teola.runtime.once import Once
    from teola.runtime.pool_engine import PooledEngine
    from teola.runtime.task import Task

NO_SOURCES: dict[str, Source] = {}
"""Those of a run that is over; never changed."""

State = Literal["waiting", "running", "done", "failed", "cancelled"]


class Executor(Protocol):
    """The graph scheduler, as runs see it."""

    def now(self) -> float:
        """Seconds on the loop's clock."""
        ...

    def ready(self, action: Callable[[], None]) -> None:
        """Do something soon, outside of the caller's own work."""
        ...

    def guarded(self, run: Run, action: Callable[[], None]) -> None:
        """Do something for a run; what it raises becomes the run's error."""
        ...

    def execute(self, run: Run, group: int, inputs: dict[str, Any]) -> None:
        """Do a group's work; ends in ``run.complete``, in ``run.fail`` or by raising."""
        ...

    def group_sizes(self, run: Run) -> tuple[int, int]:
        """How many items of its streams a group of a run waits for, and how many it takes at most,
        where they are there."""
        ...

    def publish(self, run: Run) -> None:
        """End a run whose groups are all in; ends in ``run.finish`` or ``run.fail``."""
        ...

    def obtain(
        self, prepared: Prepared, scope: Scope, users: Sequence[tuple[Query, Prepared]]
    ) -> Run:
        """The run of a node in a scope, a shared one or a new one, for ``users`` with the nodes of
        their plans."""
        ...

    def over(self, run: Run) -> None:
        """A run ended, in whatever way."""
        ...

    def dispose(self, run: Run) -> None:
        """Nobody will ever use a finished run again."""
        ...


class Run:
    """One instance of a node. ``users`` are the queries it works for: more than one where equal
    content is shared; it is cancelled when the last one leaves. ``prepared`` is the node of the
    query that began it, ``upstream`` what it waits for, by the index of the input; ``heard``: the
    caller of some query listens; ``over``: it has ended, in whatever way. Nothing waits for a
    ``hint``."""

    hint: ClassVar[bool] = False

    __slots__ = (
        "cells",
        "collection",
        "counted_items",
        "counted_tokens",
        "ended_s",
        "epoch",
        "executor",
        "heard",
        "home",
        "item_count",
        "items_done",
        "key",
        "missing",
        "named",
        "on_end",
        "once",
        "over",
        "pending",
        "prepared",
        "queued_s",
        "retained",
        "scope",
        "sources",
        "started_s",
        "state",
        "tasks",
        "upstream",
        "users",
        "working",
    )

    def __init__(
        self,
        prepared: Prepared,
        scope: Scope,
        sources: dict[str, Source],
        key: Key | None,
        executor: Executor,
    ) -> None:
        self.prepared = prepared
        self.scope = scope
        self.sources = sources
        self.key = key
        self.executor = executor
        self.state: State = "waiting"
        self.over = False
        self.users: tuple[Query, ...] | dict[Query, None] = ()
        self.heard = False
        self.retained = False
        self.working = False
        self.upstream: tuple[tuple[int, Run], ...] = ()
        self.on_end: tuple[Callable[[], None], ...] = ()
        self.missing = 1
        self.queued_s: float | None = None
        self.started_s: float | None = None
        self.ended_s: float | None = None
        self.item_count = self.items_done = 0
        self.counted_items = self.counted_tokens = 0
        self.home: PooledEngine | None = None
        self.tasks: tuple[Task, ...] = ()
        self.once: Once | None = None
        self.collection = ""
        self.named = False
        self.pending: str | None = None
        self.epoch: int | None = None
        self.cells = {name: Cell(key, is_list, name) for name, is_list in prepared.cells}

    def join(self, user: Query) -> None:
        """Work for a query (too). Most runs have one user: a table is for those with more."""
        if not self.users:
            self.users = (user,)
            return
        if isinstance(self.users, tuple):
            self.users = dict.fromkeys(self.users)
        self.users[user] = None

    def part(self, user: Query) -> None:
        """A query that it worked for leaves."""
        if isinstance(self.users, dict):
            self.users.pop(user, None)
        elif user in self.users:
            self.users = ()

    @property
    def usable(self) -> bool:
        """Whether another query may still take its results."""
        if self.state in ("failed", "cancelled"):
            return False
        return not any(cell.dropped for cell in self.cells.values())

    def connect(self) -> None:
        """Start to listen to the inputs; called once, after construction."""
        arrived = (self.arrived,)
        for name, source in self.sources.items():
            cell = source.cell
            cell.readers += 1
            if not cell.done and self.waits_for(name, source):
                self.missing += 1
                cell.on_done += arrived
        for node_id in self.prepared.after:
            before = self.scope.run(node_id)
            if before is not None and not before.over:
                self.missing += 1
                before.on_end += arrived
        self.arrived()

    def waits_for(self, name: str, source: Source) -> bool:
        """Whether the run cannot begin before this input is whole."""
        return not source.stream

    def arrived(self) -> None:
        """One of the things waited for is there."""
        self.missing -= 1
        if self.missing == 0 and self.state == "waiting":
            self.state = "running"
            self.queued_s = self.executor.now()
            self.executor.ready(self._begin)

    def _begin(self) -> None:
        if self.state == "running":
            self.executor.guarded(self, self.begin)

    def begin(self) -> None:
        """All that is waited for is there."""
        raise NotImplementedError(type(self).__name__)

    def works(self) -> None:
        """There is something to do now: the first call tells the queries."""
        if not self.working:
            self.working = True
            for user in self.users:
                user.began(self)

    def complete(self, group: int, outputs: dict[str, Any]) -> None:
        """The results of one group."""
        raise NotImplementedError(type(self).__name__)

    def wrap(self, error: BaseException) -> ModuleError:
        """Any error as one that names the place."""
        if isinstance(error, ModuleError):
            return error
        line = f" (line {error.line} of its prompt)" if isinstance(error, PromptError) else ""
        return ModuleError(self.prepared.place, f"{str(error) or type(error).__name__}{line}")

    def finish(self, values: dict[str, Any] | None = None) -> None:
        """End well; ``values`` are the ports that leave whole."""
        if self.over:
            return
        self._end("done")
        for name, cell in self.cells.items():
            if not cell.done:
                cell.end((values or {}).get(name))
        self._after()

    def fail(self, error: ModuleError) -> None:
        """End badly: every query it works for fails."""
        if self.over:
            return
        self._end("failed")
        for user in tuple(self.users):
            user.failed(self, error)
        self._after()

    def cancel(self) -> None:
        """End because nobody wants it."""
        if not self.over:
            self._end("cancelled")
            self._after()

    def lapse(self) -> None:
        """The deadline of a query has passed: what an engine still does for it is late."""
        for task in self.tasks:
            task.lapsed = True

    def dispose(self) -> None:
        """Let go of what a finished run holds in its engine."""
        self.executor.dispose(self)

    def keys(self) -> tuple[PrimitiveKey, ...]:
        """What it is for the queries it works for."""
        return tuple(user.key(self) for user in self.users)

    def _end(self, state: State) -> None:
        self.state, self.over = state, True
        self.ended_s = self.executor.now()

    def _after(self) -> None:
        for source in self.sources.values():
            source.cell.release()
        self.sources, self.upstream = NO_SOURCES, ()
        self.executor.over(self)
        self.tasks, self.once = (), None
        listeners, self.on_end = self.on_end, ()
        for listener in listeners:
            listener()
        for user in tuple(self.users):
            user.ended(self)

    def emitted(self) -> dict[str, int]:
        """The items of each list that has left it whole."""
        return {name: cell.length for name, cell in self.cells.items() if cell.length is not None}

    def counted(self, tokens: Sequence[int]) -> None:
        """Some of the items it took have so many tokens."""
        self.counted_items += len(tokens)
        self.counted_tokens += sum(tokens)

    def progressed(self, done: int, total: int | None) -> None:
        """Tell the queries how far the run is."""
        if self.heard:
            for user in self.users:
                user.progressed(self, done, total)
