"""Keeps what a pool does, to tell how one query fared among the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from teola.runtime.errors import InputError
from teola.runtime.observing.observations import (
    BatchEnded,
    CallEnded,
    Observation,
    PrimitiveBegan,
    PrimitiveKey,
    QueryEnded,
)

Time: TypeAlias = tuple[float, float]
"""From and to."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Tasks or calls of one module on one engine that overlap: the first was queued at
    ``queued_s``, ``runs`` is when they ran. ``warm``: they are warm-ups."""

    module: str
    warm: bool
    queued_s: float
    runs: tuple[Time, ...]

    @property
    def ended_s(self) -> float:
        """The last work's end."""
        return max(end_s for _, end_s in self.runs)


@dataclass(frozen=True, slots=True)
class Lane:
    """An engine: what it did for the query, and for ``others`` alone meanwhile."""

    engine: str
    own: tuple[Stretch, ...]
    others: tuple[Time, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """One query from its arrival to its end, ``total_s`` later; all times count from its arrival.
    ``lanes`` are those of the engines that worked for it, by name."""

    number: int
    workflow: str
    total_s: float
    failed: bool
    lanes: tuple[Lane, ...]


class Chronicle:
    """An observer that keeps the work of all queries, which count from 1 in order of arrival."""

    def __init__(self) -> None:
        self.queries: list[QueryEnded] = []
        self.work: list[BatchEnded | CallEnded] = []
        self.modules: dict[str, str] = {}

    def see(self, event: Observation) -> None:
        """Keep it."""
        match event:
            case QueryEnded():
                self.queries.append(event)
            case BatchEnded() | CallEnded():
                self.work.append(event)
            case PrimitiveBegan():
                self.modules[event.key.primitive] = event.module
            case _:
                pass

    def median(self) -> int:
        """The number of the query that has the median latency of those that gave outputs (of all,
        where none did)."""
        ordered = self._ordered()
        numbers = [number for number, one in enumerate(ordered, 1) if one.error is None]
        numbers = numbers or list(range(1, len(ordered) + 1))
        numbers.sort(key=lambda number: ordered[number - 1].ended_s - ordered[number - 1].began_s)
        return numbers[(len(numbers) - 1) // 2]

    def story(self, number: int) -> Story:
        """How a query fared.

        Raises:
            InputError: there is no query of that number.
        """
        ordered = self._ordered()
        if not 1 <= number <= len(ordered):
            raise InputError(f"there is no query {number}: there are {len(ordered)}, from 1 on")
        query = ordered[number - 1]
        seen = [one for one in self.work if one.ended_s > query.began_s]
        work = sorted(_by_engine(seen, query.ended_s).items())
        lanes = (_lane(name, done, query, self.modules) for name, done in work)
        return Story(
            number,
            query.workflow,
            query.ended_s - query.began_s,
            query.error is not None,
            tuple(lane for lane in lanes if lane.own),
        )

    def _ordered(self) -> list[QueryEnded]:
        return sorted(self.queries, key=lambda query: query.began_s)


def _by_engine(
    work: Iterable[BatchEnded | CallEnded], until_s: float
) -> Mapping[str, list[BatchEnded | CallEnded]]:
    found: dict[str, list[BatchEnded | CallEnded]] = defaultdict(list)
    for one in work:
        if _began_s(one) < until_s:
            found[one.engine.name].append(one)
    return found


def _lane(
    name: str,
    work: Sequence[BatchEnded | CallEnded],
    query: QueryEnded,
    modules: Mapping[str, str],
) -> Lane:
    own, others = [], []
    for one in work:
        run = (_began_s(one) - query.began_s, one.ended_s - query.began_s)
        waited = [(key, queued_s) for key, queued_s in _served(one) if key.run_id == query.run_id]
        own += [
            Stretch(modules[key.primitive], _is_warm(one), queued_s - query.began_s, (run,))
            for key, queued_s in waited
        ]
        if not waited:
            others.append(run)
    return Lane(name, tuple(_joined(own)), tuple(others))


def _joined(stretches: Sequence[Stretch]) -> Iterator[Stretch]:
    """Those of one module that overlap become one."""
    found: list[Stretch] = []
    last: dict[tuple[str, bool], int] = {}
    for one in sorted(stretches, key=lambda one: (one.queued_s, one.runs)):
        index = last.get((one.module, one.warm))
        if index is not None and one.queued_s < found[index].ended_s:
            before = found[index]
            runs = before.runs if one.runs[0] in before.runs else (*before.runs, *one.runs)
            found[index] = Stretch(one.module, one.warm, before.queued_s, runs)
        else:
            last[one.module, one.warm] = len(found)
            found.append(one)
    return iter(found)


def _began_s(work: BatchEnded | CallEnded) -> float:
    return work.began_s if isinstance(work, BatchEnded) else work.sent_s


def _is_warm(work: BatchEnded | CallEnded) -> bool:
    return isinstance(work, CallEnded) and work.warm


def _served(work: BatchEnded | CallEnded) -> list[tuple[PrimitiveKey, float]]:
    if isinstance(work, CallEnded):
        return [(key, work.queued_s) for key in work.keys]
    return [(key, part.queued_s) for part in work.parts for key in part.keys]
