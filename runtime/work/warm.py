"""Work that is a warm-up: what is known of a prompt is made tokens and offered to its LLM."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from teola.compiler.errors import TeolaError
from teola.runtime.instance.warm import WarmRun
from teola.runtime.pool_engine import PooledEngine
from teola.runtime.work.beside import beside
from teola.runtime.work.known_prefix import KnownPrefix
from teola.runtime.work.sampling import adapter_of
from teola.runtime.work.scheduler import Scheduler


def run_warm(scheduler: Scheduler, run: WarmRun, known: dict[str, Any]) -> None:
    """Offer the prefix that ``known`` gives, once the engine is ready; where the engine keeps no
    prefixes, or more is known by then, nothing is done."""
    engine = run.home
    if engine is None:
        return
    run.warmer = run.warmer or _Warmer(run, engine)

    def reached(error: TeolaError | None) -> None:
        stale = run.over or len(known) < len(run.known)
        if error is None and not stale and engine.capabilities.prefix_cache:
            scheduler.ready(partial(scheduler.guarded, run, render))

    render = partial(_render, scheduler, run, engine, known)
    engine.when_ready(reached)


def _render(
    scheduler: Scheduler, run: WarmRun, engine: PooledEngine, known: dict[str, Any]
) -> None:
    target = run.prepared.target
    entries: Any = target.config.get("messages") if target is not None else ()
    prefix = KnownPrefix(entries or (), engine.tokenizer())
    tokens = prefix.at_once(known)
    if tokens is not None:
        _offer(run, engine, tokens)
    else:
        beside(scheduler, run, partial(prefix.tokens, known), partial(_offer, run, engine))


def _offer(run: WarmRun, engine: PooledEngine, tokens: Sequence[int]) -> None:
    least = run.prepared.node.config.get("min_new_tokens")
    target = run.prepared.target
    run.offered()
    adapter = adapter_of(target) if target is not None else None
    engine.calls.warm(run, tokens, int(str(least or 1)), adapter)


class _Warmer:
    """A run's way to its engine."""

    __slots__ = ("engine", "run")

    def __init__(self, run: WarmRun, engine: PooledEngine) -> None:
        self.run, self.engine = run, engine

    def leave(self) -> None:
        """The run's queries have ended."""
        self.engine.calls.leave(self.run)

    def failed(self) -> None:
        """The known part could not be made tokens: the call itself will say why."""
        self.engine.calls.warm_ups.counts.failed += 1
