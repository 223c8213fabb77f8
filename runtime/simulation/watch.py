"""Sees what a pool does in a simulation, and adds it up."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from teola.runtime.observing.observations import (
    BatchEnded,
    CallEnded,
    EngineFacts,
    EngineReady,
    Load,
    Observation,
    QueryEnded,
)
from teola.runtime.simulation.report import EngineLoad, Spread


@dataclass
class _Engine:
    """``running`` since ``since_s``; ``task_seconds`` is its integral."""

    busy_s: float = 0.0
    task_seconds: float = 0.0
    since_s: float = 0.0
    running: int = 0
    work: int = 0
    items: int = 0
    warm_ups: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    queued: list[float] = field(default_factory=list)

    def load(self, at_s: float, running: int) -> None:
        if self.running:
            self.busy_s += at_s - self.since_s
            self.task_seconds += (at_s - self.since_s) * self.running
        self.since_s, self.running = at_s, running


class Watch:
    """An observer of a pool. ``main`` names the decodes that may give the main output; the first
    token of the last one of each query (``run_id``) is kept until it is asked for."""

    def __init__(self, main: Collection[str]) -> None:
        self.main = frozenset(main)
        self.engines: dict[EngineFacts, _Engine] = {}
        self.first_tokens: dict[str, float] = {}

    def see(self, event: Observation) -> None:
        """Add it up."""
        match event:
            case EngineReady():
                self.engines.setdefault(event.engine, _Engine())
            case Load():
                self.engines[event.engine].load(event.at_s, event.running)
            case BatchEnded():
                self._batch(event)
            case CallEnded():
                self._call(event)
            case QueryEnded(error=error) if error is not None:
                self.first_tokens.pop(event.run_id, None)
            case _:
                pass

    def _batch(self, event: BatchEnded) -> None:
        engine = self.engines[event.engine]
        engine.work += 1
        engine.items += event.items
        engine.queued += [event.began_s - part.queued_s for part in event.parts]

    def _call(self, event: CallEnded) -> None:
        engine = self.engines[event.engine]
        if event.warm:
            engine.warm_ups += 1
            return
        engine.work += 1
        engine.prompt_tokens += event.prompt_tokens
        engine.completion_tokens += event.completion_tokens
        engine.queued.append(event.sent_s - event.queued_s)
        if event.first_token_s is not None:
            for key in event.keys:
                if key.primitive in self.main:
                    self.first_tokens[key.run_id] = event.first_token_s

    def loads(self, seconds: float) -> tuple[EngineLoad, ...]:
        """What each engine did in the whole time."""
        engines = sorted(self.engines.items(), key=lambda pair: pair[0].name)
        return tuple(_load(facts, engine, seconds) for facts, engine in engines)


def _load(facts: EngineFacts, engine: _Engine, seconds: float) -> EngineLoad:
    load = EngineLoad(
        facts.name,
        facts.kind,
        engine.busy_s / seconds if seconds else 0.0,
        engine.busy_s,
        engine.task_seconds / engine.busy_s if engine.busy_s else 0.0,
        engine.work,
        Spread.of(engine.queued),
    )
    if facts.kind != "llm":
        return replace(load, items=engine.items)
    return replace(
        load,
        warm_ups=engine.warm_ups,
        prompt_tokens=engine.prompt_tokens,
        completion_tokens=engine.completion_tokens,
    )
