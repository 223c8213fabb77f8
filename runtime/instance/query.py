"""One query: the runs that it uses, its outputs, and its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from teola.compiler.graph.pgraph import INPUTS, OutputPort, Ref
from teola.runtime.errors import DeadlineExceeded, ModuleError, RunError
from teola.runtime.events import Listener
from teola.runtime.instance.account import timeline_of, usage_of
from teola.runtime.instance.blueprint import Blueprint, Prepared
from teola.runtime.instance.caller import Caller
from teola.runtime.instance.query_watch import QueryWatch
from teola.runtime.instance.scope import Scope
from teola.runtime.instance.standing import Standing
from teola.runtime.observing.observations import PrimitiveKey
from teola.runtime.observing.observers import Observers
from teola.runtime.outlook import Outlook
from teola.runtime.result import RunResult
from teola.runtime.values import Cell, Source

if TYPE_CHECKING:
    from teola.runtime.instance.run import Run

MAX_INSTANCES = 100_000


OnEnd: TypeAlias = "Callable[[Query, RunResult | None, RunError | None], None]"


class _InputCells:
    """Stands for a run under the name ``inputs``: its cells are complete from the start."""

    __slots__ = ("cells",)
    over = True

    def __init__(self, cells: dict[str, Cell]) -> None:
        self.cells = cells


class Query:
    """The instance of a plan for one call. ``on_end`` is called once, with a result or an error.

    ``runs`` are the runs it uses, each with the node of its own plan that it stands for: a shared
    run may have begun for another workflow, which calls it otherwise. ``hints`` are those that it
    does not wait for. ``pending`` counts what it waits for.
    """

    __slots__ = (
        "began_s",
        "blueprint",
        "caller",
        "hints",
        "now",
        "observers",
        "on_end",
        "outputs",
        "over",
        "pending",
        "release",
        "run_id",
        "runs",
        "scope",
        "standing",
        "watch",
    )

    def __init__(
        self,
        run_id: str,
        blueprint: Blueprint,
        now: Callable[[], float],
        release: Callable[[Run], None],
        on_end: OnEnd,
        listener: Listener | None,
        observers: Observers,
        outlook: Outlook,
    ) -> None:
        self.run_id, self.blueprint = run_id, blueprint
        self.now, self.release, self.on_end = now, release, on_end
        self.began_s = now()
        self.scope = Scope()
        self.runs: dict[Run, Prepared] = {}
        self.hints: dict[Run, Prepared] = {}
        self.pending = 1
        self.over = False
        self.outputs: dict[str, Any] = {}
        self.standing = Standing(outlook, self.began_s)
        self.caller = Caller(listener, now, self.began_s) if listener is not None else None
        self.observers = observers
        self.watch = QueryWatch(observers, run_id, blueprint.graph.name, now, self.began_s)

    def bind(self, cells: dict[str, Cell]) -> None:
        """Give the inputs."""
        self.scope.runs[INPUTS] = _InputCells(cells)  # type: ignore[assignment]  # read for cells only

    def attach(self, run: Run, prepared: Prepared) -> None:
        """Use a run for the node ``prepared``, and whatever it still waits for."""
        if run.hint:
            self.hints[run] = prepared
            run.join(self)
            return
        if run in self.runs:
            return
        if len(self.runs) >= MAX_INSTANCES:
            raise RunError(
                f"{self.blueprint.graph.name}: more than {MAX_INSTANCES} instances in one query: "
                "make its lists shorter"
            )
        self.runs[run] = prepared
        run.join(self)
        if not run.over:
            self.pending += 1
            if self.caller is not None:
                run.heard = True
                self.caller.expect(prepared)
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

    def prepared(self, run: Run) -> Prepared:
        """The node of this plan that a run stands for."""
        return self.runs.get(run) or self.hints.get(run) or run.prepared

    def key(self, run: Run) -> PrimitiveKey:
        """What observers know a run of this query by."""
        return self.watch.key(run, self.prepared(run))

    def started(self) -> None:
        """Everything is instantiated: listen to the outputs."""
        for out in self.blueprint.graph.outputs:
            self._listen(out)
        if self.caller is not None:
            self.caller.shared(dict.fromkeys(one.place.module for one in self.blueprint.top))
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
            if self.caller is not None:
                self.caller.output(out.name, self.outputs[out.name])

        if self.caller is not None and not out.ref.fields:
            self.caller.follow(out.name, cell)
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

    def began(self, run: Run) -> None:
        """A run of this query begins."""
        self.tell_began(run)
        if self.caller is not None:
            self.caller.began(self.runs[run])

    def tell_began(self, run: Run) -> None:
        """Observers, not the caller: a run or a warm-up of this query begins."""
        if self.observers.all:
            self.watch.began(run, self.prepared(run))

    def progressed(self, run: Run, done: int, total: int | None) -> None:
        """A run of this query has done some of its items."""
        if self.caller is not None:
            self.caller.progressed(run, self.runs[run], done, total)

    def ended(self, run: Run) -> None:
        """A run of this query has ended."""
        if self.observers.all:
            self.watch.ended(run, self.runs[run])
        if self.caller is not None:
            self.caller.ended(run, self.runs[run])
        self._one_less()

    def failed(self, run: Run, error: ModuleError) -> None:
        """A run of this query has failed."""
        self.fail(error.at(self.runs[run].place))

    def fail(self, error: RunError) -> None:
        """End with an error."""
        if self.over:
            return
        if isinstance(error, DeadlineExceeded):
            for run in self.runs:
                run.lapse()
        self._end(None, error)

    def _one_less(self) -> None:
        self.pending -= 1
        if self.pending == 0 and not self.over:
            self._end(self._result(), None)

    def _result(self) -> RunResult:
        usage, truncated = usage_of(self.runs, self.hints)
        return RunResult(
            {out.name: self.outputs[out.name] for out in self.blueprint.graph.outputs},
            self.run_id,
            timeline_of(self.runs, self.hints, self.began_s, self.now()),
            usage,
            truncated,
        )

    def _end(self, result: RunResult | None, error: RunError | None) -> None:
        self.over = True
        self.standing.over(well=error is None)
        if self.caller is not None:
            self.caller.over()
        if self.observers.all:
            self.watch.over(self.runs, self.hints, error)
        runs = (*reversed(self.runs), *reversed(self.hints))
        self.hints, self.runs = {}, {}
        for run in runs:
            run.part(self)
        # What waits for a run ends before it, and a region before its body: nothing begins now.
        for run in sorted(runs, key=lambda run: len(run.scope.path)):
            self.release(run)
        self.scope.runs.clear()
        self.on_end(self, result, error)
