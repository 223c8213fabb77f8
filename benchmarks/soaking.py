"""Queries that come to runners, some cancelled, some with a bad item, and the account of them."""

from __future__ import annotations

import asyncio
import gc
import resource
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.bad_items import CAUSES, cause_of, draw, found_in, kind_of, marked
from teola.runtime import Runner
from teola.runtime.errors import QueryCancelled, RunError, StateLost
from teola.runtime.observing.error_code import error_code
from teola.runtime.simulation import poisson

CANCELLED = 0.05
PARTS = 3
"""Memory is looked at after each of so many parts, when all queries have ended."""
QUIET_S = 400.0
"""Longer than any timeout, restart or watchdog: by then all must have ended."""
NAMED = "failed, and the error names it"
LOST, LEFT, BLAMED = "not accounted for", "left over", "wrongly blamed"
RESIDENT, OBJECTS = (
    f"{what} after each third, nothing running" for what in ("resident MiB", "Python objects")
)
MOST_GROWTH = {RESIDENT: 1.1, OBJECTS: 1.02}
"""From the first third to the end: an allocator may keep pages, but objects are counted."""


@dataclass(frozen=True, slots=True)
class Side:
    """Where queries go, the inputs of the query of a number, and the kinds of engines that such a
    query needs."""

    runner: Runner
    inputs: Callable[[int], Mapping[str, Any]]
    engines: Sequence[str]


class Soak:
    """What came, what became of it, and how much memory there was meanwhile. A share ``bad`` of the
    queries has a bad item; ``disturb`` runs while they come, ``look`` is called when nothing has
    run for ``rest_s``."""

    def __init__(
        self,
        seed: int,
        bad: float,
        rest_s: float,
        disturb: Callable[[], Coroutine[Any, Any, None]] | None = None,
        look: Callable[[], None] = lambda: None,
    ) -> None:
        self.random = Random(f"soak:{seed}")  # noqa: S311 - no secret
        self.bad, self.rest_s = bad, rest_s
        self.disturb, self.look = disturb, look
        self.outcomes: Counter[str] = Counter()
        self.marks: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.queries: set[asyncio.Task[None]] = set()
        self.resident: list[float] = []
        self.objects: list[int] = []
        self.came = self.blamed = 0

    async def run(self, sides: Sequence[Side], rate: float, seconds: float) -> None:
        """Let queries come for so long, in parts: each begins when all queries have ended."""
        arrivals = [one for one in poisson(rate, round(rate * seconds)) if one < seconds]
        length = seconds / PARTS
        for part in range(PARTS):
            disturbing = asyncio.ensure_future(self.disturb()) if self.disturb else None
            await self._come(sides, [one % length for one in arrivals if one // length == part])
            if disturbing is not None:
                disturbing.cancel()
                await asyncio.wait([disturbing])
            if self.queries:
                await asyncio.wait(self.queries, timeout=QUIET_S)
            await asyncio.sleep(self.rest_s)
            self._look()

    async def _come(self, sides: Sequence[Side], arrivals: Iterable[float]) -> None:
        began = _now()
        for at_s in arrivals:
            await asyncio.sleep(max(0.0, began + at_s - _now()))
            side = sides[self.came % len(sides)]
            inputs, mark = side.inputs(self.came), ""
            if self.random.random() < self.bad:
                mark = draw(self.random, side.engines, self.came)
                inputs = marked(inputs, mark)
                self.marks[kind_of(mark)]["came"] += 1
            self.came += 1
            self._send(side.runner, inputs, mark)

    def _send(self, runner: Runner, inputs: Mapping[str, Any], mark: str) -> None:
        loop = asyncio.get_running_loop()
        query = loop.create_task(self._query(runner, inputs, mark))
        self.queries.add(query)
        query.add_done_callback(self.queries.discard)
        if self.random.random() < CANCELLED:
            loop.call_later(self.random.expovariate(0.1), query.cancel)

    async def _query(self, runner: Runner, inputs: Mapping[str, Any], mark: str) -> None:
        said = ""
        try:
            await runner.run(**inputs)
        except asyncio.CancelledError:
            outcome = "cancelled by its caller"
        except QueryCancelled:
            outcome = "cancelled by the runner"
        except StateLost as error:
            outcome, said = "its collection was lost", str(error)
        except RunError as error:
            outcome, said = error_code(error), str(error)
        else:
            outcome = "done"
        named = set(found_in(said))
        self.outcomes[outcome] += 1
        self.blamed += bool(named - {mark})
        if mark:
            self.marks[kind_of(mark)][NAMED if mark in named else outcome] += 1

    def _look(self) -> None:
        gc.collect()
        self.objects.append(len(gc.get_objects()))
        self.resident.append(resident_mib("self"))
        self.look()

    def figures(self, left: Sequence[str]) -> dict[str, Any]:
        """The account."""
        return {
            "queries": self.came,
            "outcomes": dict(sorted(self.outcomes.items())),
            LOST: self.came - sum(self.outcomes.values()),
            LEFT: list(left),
            "bad items": {mark: dict(found) for mark, found in sorted(self.marks.items())},
            BLAMED: self.blamed,
            RESIDENT: self.resident,
            OBJECTS: self.objects,
        }


def problems(figures: Mapping[str, Any]) -> list[str]:
    """What in an account must not be there."""
    found = [f"{name}: {figures[name]}" for name in (LOST, LEFT, BLAMED) if figures[name]]
    bad: Mapping[str, Mapping[str, int]] = figures["bad items"]
    found += [f"a query with a bad item was done: {one}" for one in bad if "done" in bad[one]]
    failed = {cause_of(one) for one in bad if NAMED in bad[one]}
    found += [f"no query failed of its item: {cause}" for cause in CAUSES if cause not in failed]
    for name, most in MOST_GROWTH.items():
        if figures[name][-1] > most * figures[name][0]:
            found.append(f"{name}: {figures[name]}")
    return found


def resident_mib(pid: int | str) -> float:
    """The memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return round(pages * resource.getpagesize() / (1 << 20), 1)


def _now() -> float:
    return asyncio.get_running_loop().time()
