"""Sees what a pool does in a simulation, and adds it up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import fsum

from teola.runtime.observing.observations import (
    BatchEnded,
    CallEnded,
    EngineFacts,
    EngineReady,
    Observation,
    QueryBegan,
    QueryEnded,
)
from teola.runtime.simulation.report import EngineLoad, Spread


@dataclass
class _Replica:
    """``spans``: when it worked, and on how many tasks or calls."""

    spans: list[tuple[float, float, int]] = field(default_factory=list)
    work: int = 0
    items: int = 0
    warm_ups: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    queued: list[float] = field(default_factory=list)

    @property
    def busy_s(self) -> float:
        """The time in which anything ran."""
        total_s, until_s = 0.0, 0.0
        for begin_s, end_s, _ in sorted(self.spans):
            total_s += max(0.0, end_s - max(begin_s, until_s))
            until_s = max(until_s, end_s)
        return total_s

    @property
    def task_seconds(self) -> float:
        """The time of all tasks or calls."""
        return fsum((end_s - begin_s) * tasks for begin_s, end_s, tasks in self.spans)


class Watch:
    """An observer of a pool. ``main`` names the decodes that may give a workflow's main output; the
    first token of the last one of each query (``run_id``) is kept until it is asked for."""

    def __init__(self, main: Mapping[str, Iterable[str]]) -> None:
        self.main = {workflow: frozenset(names) for workflow, names in main.items()}
        self.waiting_for: dict[str, frozenset[str]] = {}
        self.replicas: dict[EngineFacts, _Replica] = {}
        self.first_tokens: dict[str, float] = {}

    def see(self, event: Observation) -> None:
        """Add it up."""
        match event:
            case EngineReady():
                self._replica(event.engine)
            case BatchEnded():
                self._batch(event)
            case CallEnded():
                self._call(event)
            case QueryBegan():
                self.waiting_for[event.run_id] = self.main.get(event.workflow, frozenset())
            case QueryEnded():
                self.waiting_for.pop(event.run_id, None)
                if event.error is not None:
                    self.first_tokens.pop(event.run_id, None)
            case _:
                pass

    def _replica(self, facts: EngineFacts) -> _Replica:
        return self.replicas.setdefault(facts, _Replica())

    def _batch(self, event: BatchEnded) -> None:
        replica = self._replica(event.engine)
        replica.spans.append((event.began_s, event.ended_s, len(event.parts)))
        replica.work += 1
        replica.items += event.items
        replica.queued += [event.began_s - part.queued_s for part in event.parts]

    def _call(self, event: CallEnded) -> None:
        replica = self._replica(event.engine)
        replica.spans.append((event.sent_s, event.ended_s, 1))
        if event.warm:
            replica.warm_ups += 1
            return
        replica.work += 1
        replica.prompt_tokens += event.prompt_tokens
        replica.completion_tokens += event.completion_tokens
        replica.queued.append(event.sent_s - event.queued_s)
        if event.first_token_s is not None:
            for key in event.keys:
                if key.primitive in self.waiting_for.get(key.run_id, ()):
                    self.first_tokens[key.run_id] = event.first_token_s

    def loads(self, seconds: float) -> tuple[EngineLoad, ...]:
        """What each engine did in the whole time, all its replicas together."""
        found: dict[str, list[tuple[EngineFacts, _Replica]]] = {}
        for facts, replica in self.replicas.items():
            found.setdefault(facts.name, []).append((facts, replica))
        return tuple(
            _load(facts, [replica for _, replica in replicas], seconds)
            for _, replicas in sorted(found.items())
            for facts in (replicas[0][0],)
        )


def _load(facts: EngineFacts, replicas: Sequence[_Replica], seconds: float) -> EngineLoad:
    def total(count: Callable[[_Replica], int]) -> int:
        return sum(map(count, replicas))

    busy_s = fsum(replica.busy_s for replica in replicas)
    task_seconds = fsum(replica.task_seconds for replica in replicas)
    load = EngineLoad(
        facts.name,
        facts.kind,
        len(replicas),
        busy_s / (seconds * len(replicas)) if seconds else 0.0,
        busy_s,
        task_seconds / busy_s if busy_s else 0.0,
        total(lambda replica: replica.work),
        Spread.of([wait_s for replica in replicas for wait_s in replica.queued]),
    )
    if facts.kind != "llm":
        return replace(load, items=total(lambda replica: replica.items))
    return replace(
        load,
        warm_ups=total(lambda replica: replica.warm_ups),
        prompt_tokens=total(lambda replica: replica.prompt_tokens),
        completion_tokens=total(lambda replica: replica.completion_tokens),
    )
