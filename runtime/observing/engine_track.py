"""One engine in a trace: a process with its batches or calls, its warm-ups, and its load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count

from teola.runtime.observing.observations import (
    BatchEnded,
    CallEnded,
    EngineFacts,
    EngineReady,
    FiguresTold,
    Load,
)
from teola.runtime.observing.trace_events import WHOLE, Json, Spot, micro, process, slice_at, thread


class EngineTrack:
    """Work is told in order of its ends. What overlaps has threads of its own: ``_busy`` says of
    each kind of work until when its threads are taken."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._busy: dict[str, list[int]] = {}
        self._tids: dict[tuple[str, int], int] = {}
        self._numbers = count(WHOLE + 1)

    def begin(self, facts: EngineFacts) -> Iterator[Json]:
        """The engine is there."""
        return process(self.pid, f"engine {facts.name} ({facts.model or facts.backend})")

    def started(self, event: EngineReady) -> Iterator[Json]:
        """It has come up."""
        spot = (self.pid, WHOLE, micro(event.began_s), micro(event.ready_s))
        yield thread(self.pid, WHOLE, "start")
        yield slice_at(spot, "start", {})

    def load(self, event: Load) -> Iterator[Json]:
        """What waits and runs, as counters."""
        found = {"tasks": {"waiting": event.waiting, "running": event.running}}
        if event.kv_tokens is not None:
            found["KV"] = {"tokens": event.kv_tokens}
        yield from self._counters(event.at_s, found)

    def figures(self, event: FiguresTold) -> Iterator[Json]:
        """What it tells of itself, as counters."""
        replica = event.engine.replica
        of = "" if replica == 1 else f" of replica {replica}"
        told = {f"{name}{of}": {"value": value} for name, value in event.values.items()}
        yield from self._counters(event.at_s, told)

    def _counters(self, at_s: float, found: Mapping[str, Mapping[str, float]]) -> Iterator[Json]:
        at = {"ph": "C", "pid": self.pid, "ts": micro(at_s)}
        for name, values in found.items():
            yield {**at, "name": name, "args": values}

    def worked(self, work: BatchEnded | CallEnded) -> tuple[Spot, Sequence[Json]]:
        """Where a batch or a call is drawn, and what is to be drawn."""
        began_s = work.began_s if isinstance(work, BatchEnded) else work.sent_s
        begin, end = micro(began_s), micro(work.ended_s)
        tid, events = self._thread(_kind(work), begin, end)
        spot = (self.pid, tid, begin, end)
        events.append(slice_at(spot, _name(work), _facts(work)))
        if isinstance(work, CallEnded) and work.first_token_s is not None:
            at = {"pid": self.pid, "tid": tid, "ts": micro(work.first_token_s)}
            events.append({"ph": "i", "s": "t", "name": "first token", **at})
        return spot, events

    def _thread(self, kind: str, begin: int, end: int) -> tuple[int, list[Json]]:
        """The first thread that was free then, and its name if it is new."""
        busy = self._busy.setdefault(kind, [])
        lane = next((lane for lane, until in enumerate(busy) if until <= begin), len(busy))
        busy[lane : lane + 1] = [max(end, begin + 1)]
        if (kind, lane) in self._tids:
            return self._tids[kind, lane], []
        tid = self._tids[kind, lane] = next(self._numbers)
        return tid, [thread(self.pid, tid, kind)]


def _kind(work: BatchEnded | CallEnded) -> str:
    kind = "batches" if isinstance(work, BatchEnded) else "warm-ups" if work.warm else "calls"
    return kind if work.engine.replica == 1 else f"{kind} of replica {work.engine.replica}"


def _name(work: BatchEnded | CallEnded) -> str:
    if isinstance(work, BatchEnded):
        return f"{work.operation} {work.items}"
    if work.warm or not work.keys:
        return "warm-up" if work.warm else "call"
    return work.keys[0].primitive


def _facts(work: BatchEnded | CallEnded) -> Json:
    if isinstance(work, BatchEnded):
        return {"items": work.items, "tasks": len(work.parts), "failure": work.failure}
    return {
        "prompt_tokens": work.prompt_tokens,
        "cached_tokens": work.cached_tokens,
        "completion_tokens": work.completion_tokens,
        "waited_s": work.waited_s,
        "finish_reason": work.finish_reason,
        "failure": work.failure,
    }
