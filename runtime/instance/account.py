"""What the runs of a query were: its timeline and its usage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from teola.runtime.instance.blueprint import Prepared
from teola.runtime.instance.generate import GenerateRun
from teola.runtime.result import TimelineEntry, Usage

if TYPE_CHECKING:
    from teola.runtime.instance.run import Run

Runs = Mapping["Run", Prepared]
"""The runs that a query used, each with the node of its own plan."""


def entry_of(run: Run, prepared: Prepared, began_s: float, now_s: float) -> TimelineEntry:
    """One run of a query that began at ``began_s``; one that is not over lasts until now."""
    queued = run.queued_s or 0.0
    ended = run.ended_s if run.ended_s is not None else now_s
    started = run.started_s if run.started_s is not None else ended
    return TimelineEntry(
        prepared.id,
        prepared.place.module,
        run.scope.path,
        prepared.place.engine,
        round(queued - began_s, 6),
        round(started - began_s, 6),
        round(ended - began_s, 6),
        run.item_count,
        getattr(run, "prompt_tokens", None),
        getattr(run, "completion_tokens", None),
        run.emitted(),
        round(run.counted_tokens / run.counted_items, 2) if run.counted_items else None,
        getattr(run, "text_tokens", {}),
    )


def timeline_of(runs: Runs, hints: Runs, began_s: float, now_s: float) -> tuple[TimelineEntry, ...]:
    """All that had begun, in order."""
    entries = [
        entry_of(run, prepared, began_s, now_s)
        for run, prepared in (*runs.items(), *hints.items())
        if run.queued_s is not None
    ]
    return tuple(sorted(entries, key=lambda entry: (entry.started_s, entry.ended_s)))


def usage_of(runs: Runs, hints: Runs) -> tuple[Usage, tuple[str, ...]]:
    """What the LLM calls took, and the modules whose text was cut off."""
    usage = Usage()
    truncated: dict[str, None] = {}
    for run, prepared in runs.items():
        if isinstance(run, GenerateRun) and run.state == "done":
            usage.requests += 1
            usage.prompt_tokens += run.prompt_tokens
            usage.completion_tokens += run.completion_tokens
            if run.finish_reason == "length":
                truncated[prepared.place.module] = None
    usage.warm_ups = sum(run.started_s is not None for run in hints)
    return usage, tuple(truncated)
