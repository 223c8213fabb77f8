"""One query: its runs, what they tell the caller, and its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

from teola.compiler.graph.pgraph import INPUTS, OutputPort, Ref
from teola.runtime.errors import ModuleError, RunError
from teola.runtime.events import (
    ItemAdded,
    Listener,
    ModuleFinished,
    ModuleProgress,
    ModuleStarted,
    OutputReady,
    TextDelta,
)
from teola.runtime.instance.blueprint import Blueprint, Prepared
from teola.runtime.instance.generate import GenerateRun
from teola.runtime.instance.scope import Scope
from teola.runtime.observing.observations import (
    Outcome,
    PrimitiveBegan,
    PrimitiveEnded,
    PrimitiveKey,
    QueryBegan,
    QueryEnded,
)
from teola.runtime.observing.observers import Observers
from teola.runtime.outlook import Outlook
from teola.runtime.rank import UNRANKED, Rank
from teola.runtime.result import RunResult, TimelineEntry, Usage
from teola.runtime.values import Cell, Source

if TYPE_CHECKING:
    from teola.runtime.instance.run import Run

MAX_INSTANCES = 100_000
OUTCOMES: Mapping[str, Outcome] = {"done": "done", "failed": "failed"}
"""A run's state -> what became of it for a query that is over."""

_numbers = count()


class _InputCells:
    """Stands for a run under the name ``inputs``: its cells are complete from the start."""

    def __init__(self, cells: dict[str, Cell]) -> None:
        self.cells = cells
        self.over = True


class Query:
    """The instance of a plan for one call. ``on_end`` is called once, with a result or an error.

    ``runs`` are the runs it uses, each with the node of its own plan that it stands for: a shared
    run may have begun for another workflow, which calls it otherwise. ``hints`` are those that it
    does not wait for.
    """

    def __init__(
        self,
        run_id: str,
        blueprint: Blueprint,
        now: Callable[[], float],
        release: Callable[[Run], None],
        on_end: Callable[[RunResult | None, RunError | None], None],
        listener: Listener | None = None,
        observers: Observers | None = None,
        outlook: Outlook | None = None,
    ) -> None:
        self.run_id, self.blueprint = run_id, blueprint
        self.now, self.release, self.on_end, self.listener = now, release, on_end, listener
        self.began_s = now()
        self.number = next(_numbers)
        self.outlook = outlook
        self.left_ms = outlook.total_ms if outlook is not None else 0.0
        self.work_ms = 0.0
        self.scope = Scope()
        self.runs: dict[Run, Prepared] = {}
        self.hints: dict[Run, Prepared] = {}
        self.pending = 1
        self.over = False
        self.outputs: dict[str, Any] = {}
        self.modules: dict[str, _ModuleState] = {}
        self.observers = Observers() if observers is None else observers
        self.untold: set[Run] = set()
        if self.observers:
            self.observers.tell(QueryBegan(run_id, blueprint.graph.name, self.began_s))

    def bind(self, cells: dict[str, Cell]) -> None:
        """Give the inputs."""
        self.scope.runs[INPUTS] = _InputCells(cells)  # type: ignore[assignment]  # read for cells only

    def attach(self, run: Run, prepared: Prepared) -> None:
        """Use a run for the node ``prepared``, and whatever it still waits for."""
        if run.hint:
            self.hints[run] = prepared
            run.users[self] = None
            return
        if run in self.runs:
            return
        if len(self.runs) >= MAX_INSTANCES:
            raise RunError(
                f"{self.blueprint.graph.name}: more than {MAX_INSTANCES} instances in one query: "
                "make its lists shorter"
            )
        self.runs[run] = prepared
        run.users[self] = None
        if not run.over:
            self.pending += 1
            self._module(prepared).left += 1
            for index, upstream in run.upstream:
                if upstream not in self.runs and not upstream.over:
                    self.attach(upstream, self._before(prepared, index, upstream))
            for index, body in getattr(run, "bodies", ()):
                if not body.over:
                    self.attach(body, prepared.body[index])

    def _before(self, prepared: Prepared, index: int, upstream: Run) -> Prepared:
        """The node of this plan that gives a node's input number ``index``."""
        operand = prepared.inputs[index][1]
        own = self.blueprint.by_id.get(operand.node) if isinstance(operand, Ref) else None
        return own or upstream.prepared

    def started(self) -> None:
        """Everything is instantiated: listen to the outputs."""
        for out in self.blueprint.graph.outputs:
            self._listen(out)
        for module in {p.place.module for p in self.blueprint.top} - set(self.modules):
            self._tell(ModuleFinished(module, self.now() - self.began_s, 0.0, "shared"))
        self._one_less()

    def _listen(self, out: OutputPort) -> None:
        cell = self.scope.cell(out.ref)
        cell.readers += 1
        source = Source(cell, out.ref.fields, default=out.ref.default)

        def ready() -> None:
            if self.over:
                return
            try:
                self.outputs[out.name] = source.get()
            except RunError as error:
                self.fail(self._output_error(out, error))
                return
            self._tell(OutputReady(out.name, self.outputs[out.name]))

        if self.listener and not out.ref.fields:
            self._listen_growth(out.name, cell)
        if cell.done:
            ready()
        else:
            cell.on_done += (ready,)

    def _output_error(self, out: OutputPort, error: RunError) -> RunError:
        what = f"output '{out.name}': {error}"
        place = next((p.place for p in self.blueprint.top if p.id == out.ref.node), None)
        if place is None:
            return RunError(f"{self.blueprint.graph.name}: {what}")
        return ModuleError(place, what, "item")

    def _listen_growth(self, name: str, cell: Cell) -> None:
        told = 0

        def grown() -> None:
            nonlocal told
            for index in range(told, len(cell.items or ())):
                self._tell(ItemAdded(name, index, cell.items[index] if cell.items else None))
            told = max(told, len(cell.items or ()))

        if cell.items is not None:
            grown()
            if not cell.done:
                cell.on_growth += (grown,)
        elif not cell.done:
            if cell.text:
                self._tell(TextDelta(name, cell.text))
            cell.on_text += (lambda text: self._tell(TextDelta(name, text)),)
        elif isinstance(cell.value, str):
            self._tell(TextDelta(name, cell.value))

    def _tell(self, event: Any) -> None:
        if self.listener is not None and not self.over:
            self.listener(event)

    def _module(self, prepared: Prepared) -> _ModuleState:
        name = prepared.place.module
        if name not in self.modules:
            self.modules[name] = _ModuleState()
        return self.modules[name]

    def began(self, run: Run) -> None:
        """A run of this query begins."""
        prepared = self.runs[run]
        self.tell_began(run)
        state = self._module(prepared)
        if state.began_s is None:
            state.began_s = self.now()
            self._tell(ModuleStarted(prepared.place.module, state.began_s - self.began_s))

    def tell_began(self, run: Run) -> None:
        """Observers, not the caller: a run or a warm-up of this query begins."""
        if self.observers:
            self.untold.add(run)
            place = (self.runs.get(run) or self.hints[run]).place
            self.observers.tell(
                PrimitiveBegan(self.key(run), place.module, place.engine, self.now())
            )

    def progressed(self, run: Run, done: int, total: int | None) -> None:
        """A run of this query has done some of its items: its module is as far as the one of its
        runs that is behind the others."""
        if self.listener is not None:
            prepared = self.runs[run]
            counts = self._module(prepared).counts
            counts[run] = done, total
            behind = min(counts.values(), key=lambda count: count[0])
            self._tell(ModuleProgress(prepared.place.module, *behind))

    def ended(self, run: Run) -> None:
        """A run of this query has ended."""
        prepared = self.runs[run]
        if self.observers:
            self._tell_ended(run, prepared, "done")
        if self.outlook is not None:
            self._less_is_left(self.outlook, run, prepared)
        state = self._module(prepared)
        state.left -= 1
        state.counts.pop(run, None)
        if state.left == 0 and run.state == "done":
            self._module_over(prepared.place.module, state)
        self._one_less()

    def _less_is_left(self, outlook: Outlook, run: Run, prepared: Prepared) -> None:
        self.left_ms = max(0.0, self.left_ms - outlook.of(prepared.id).work_ms)
        if isinstance(run, GenerateRun):
            did = outlook.did(prepared.id, 1, run.prompt_tokens, run.completion_tokens)
        else:
            did = outlook.did(prepared.id, run.item_count, 0, 0)
        self.work_ms += did

    def rank(self, run: Run) -> Rank:
        """How a task of a run of this query stands now."""
        if self.outlook is None:
            return UNRANKED
        expected = self.outlook.of(self.runs[run].id if run in self.runs else run.prepared.id)
        return Rank(
            self.number, self.began_s * 1000, expected.depth, self.left_ms, expected.path_ms
        )

    def failed(self, run: Run, error: ModuleError) -> None:
        """A run of this query has failed."""
        self.fail(error.at(self.runs[run].place))

    def _module_over(self, module: str, state: _ModuleState) -> None:
        now = self.now()
        began = state.began_s if state.began_s is not None else now
        self._tell(ModuleFinished(module, now - self.began_s, now - began))

    def _one_less(self) -> None:
        self.pending -= 1
        if self.pending == 0 and not self.over:
            outputs = {out.name: self.outputs[out.name] for out in self.blueprint.graph.outputs}
            self._end(self._result(outputs), None)

    def fail(self, error: RunError) -> None:
        """End with an error."""
        if not self.over:
            self._end(None, error)

    def _end(self, result: RunResult | None, error: RunError | None) -> None:
        self.over = True
        if self.outlook is not None and error is None:
            self.outlook.ended(self.work_ms)
        if self.observers:
            self._tell_end(error)
        runs = (*reversed(self.runs), *reversed(self.hints))
        self.hints, self.runs = {}, {}
        for run in runs:
            run.users.pop(self, None)
        # What waits for a run ends before it, and a region before its body: nothing begins now.
        for run in sorted(runs, key=lambda run: len(run.scope.path)):
            self.release(run)
        self.scope.runs.clear()
        self.on_end(result, error)

    def key(self, run: Run) -> PrimitiveKey:
        """What observers know a run of this query by."""
        prepared = self.runs.get(run) or self.hints[run]
        return PrimitiveKey(self.run_id, prepared.id, run.scope.path)

    def _tell_ended(self, run: Run, prepared: Prepared, outcome: Outcome) -> None:
        self.untold.discard(run)
        if run.queued_s is not None:
            entry = self._entry(run, prepared)
            self.observers.tell(PrimitiveEnded(self.key(run), entry, self.began_s, outcome))

    def _tell_end(self, error: RunError | None) -> None:
        """The query is over: so is what has begun for it, and its warm-ups."""
        for run, prepared in self.runs.items():
            if run in self.untold:
                self._tell_ended(run, prepared, OUTCOMES.get(run.state, "cancelled"))
        for run, prepared in self.hints.items():
            self._tell_ended(run, prepared, "done")
        workflow = self.blueprint.graph.name
        self.observers.tell(QueryEnded(self.run_id, workflow, self.began_s, self.now(), error))

    def _result(self, outputs: Mapping[str, Any]) -> RunResult:
        usage = Usage()
        truncated: dict[str, None] = {}
        for run, prepared in self.runs.items():
            if isinstance(run, GenerateRun) and run.state == "done":
                usage.requests += 1
                usage.prompt_tokens += run.prompt_tokens
                usage.completion_tokens += run.completion_tokens
                if run.finish_reason == "length":
                    truncated[prepared.place.module] = None
        usage.warm_ups = sum(run.started_s is not None for run in self.hints)
        return RunResult(
            outputs,
            self.run_id,
            self._timeline(),
            usage,
            tuple(truncated),
            graph=self.blueprint.graph,
        )

    def _timeline(self) -> tuple[TimelineEntry, ...]:
        entries = [
            self._entry(run, prepared)
            for run, prepared in (*self.runs.items(), *self.hints.items())
            if run.queued_s is not None
        ]
        return tuple(sorted(entries, key=lambda entry: (entry.started_s, entry.ended_s)))

    def _entry(self, run: Run, prepared: Prepared) -> TimelineEntry:
        queued = run.queued_s or 0.0
        ended = run.ended_s if run.ended_s is not None else self.now()
        started = run.started_s if run.started_s is not None else ended
        return TimelineEntry(
            prepared.id,
            prepared.place.module,
            run.scope.path,
            prepared.place.engine,
            round(queued - self.began_s, 6),
            round(started - self.began_s, 6),
            round(ended - self.began_s, 6),
            run.item_count,
            getattr(run, "prompt_tokens", None),
            getattr(run, "completion_tokens", None),
            run.emitted(),
            round(run.counted_tokens / run.counted_items, 2) if run.counted_items else None,
            getattr(run, "text_tokens", {}),
        )


class _ModuleState:
    """How much of a module is still to do; ``counts``: how far its runs are that tell it."""

    __slots__ = ("began_s", "counts", "left")

    def __init__(self) -> None:
        self.left = 0
        self.counts: dict[Run, tuple[int, int | None]] = {}
        self.began_s: float | None = None


def rank_of(run: Run) -> Rank:
    """How a run's task stands: as that of the query which came first among its users."""
    first = min(run.users, key=lambda query: query.number, default=None)
    return first.rank(run) if first is not None else UNRANKED
