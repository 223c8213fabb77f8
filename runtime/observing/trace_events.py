"""The parts of a trace in Chrome's Trace Event Format; times are whole microseconds.

Slices of one thread must lie within each other or apart: what only overlaps is dropped by readers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
Spot: TypeAlias = tuple[int, int, int, int]
"""A slice: its process, its thread, its begin and its end."""
WHOLE = 1
"""The thread of a whole query, and of an engine's start (0 would be the system's idle thread)."""


def micro(seconds: float) -> int:
    """A time in a trace: only the distances between them count."""
    return round(1e6 * seconds)


def process(pid: int, name: str) -> Iterator[Json]:
    """A group of threads; viewers order them by ``pid``."""
    yield {"ph": "M", "pid": pid, "tid": 0, "name": "process_name", "args": {"name": name}}
    order = {"sort_index": pid}
    yield {"ph": "M", "pid": pid, "tid": 0, "name": "process_sort_index", "args": order}


def thread(pid: int, tid: int, name: str) -> Json:
    """A line of slices."""
    return {"ph": "M", "pid": pid, "tid": tid, "name": "thread_name", "args": {"name": name}}


def slice_at(spot: Spot, name: str, facts: Mapping[str, Any]) -> Json:
    """A slice with the facts that are not None."""
    pid, tid, begin, end = spot
    args = {key: value for key, value in facts.items() if value is not None}
    event = {"ph": "X", "pid": pid, "tid": tid, "ts": begin, "dur": end - begin, "name": name}
    return {**event, "cat": "teola", "args": args}


def arrow(number: int, source: Spot, target: Spot) -> Iterator[Json]:
    """From a slice, at the moment the other begins, to the other: it ends in the innermost slice
    that has begun there by then."""
    common = {"cat": "served by", "name": "served by", "id": number}
    pid, tid, begin, end = source
    at = min(max(target[2], begin), end)
    yield {**common, "ph": "s", "pid": pid, "tid": tid, "ts": at}
    pid, tid, begin, end = target
    yield {**common, "ph": "f", "bp": "e", "pid": pid, "tid": tid, "ts": max(begin, at)}
