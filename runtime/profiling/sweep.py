"""The measurement of one operation: which batches, how often, in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from teola.compiler.cost.profile import Point
from teola.runtime.profiling.errors import MeasureError
from teola.runtime.profiling.fit import fit
from teola.runtime.profiling.knee import knee, still_rises
from teola.runtime.profiling.probe import Probe, Sample

Conditions = tuple[int, int]
"""Items of a batch, tokens of an item."""
Tell = Callable[[int], None]
"""Is told how many batches have run."""
SHARE = 4
"""A run may take the effort's seconds divided by this."""
TRIES = 2
GROWTH = 1.5
"""How much more than its tokens say a longer item may take: attention grows by their square."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to try: about ``seconds`` for an operation, ``least`` to ``most`` rounds."""

    seconds: float = 40.0
    least: int = 3
    most: int = 15

    @property
    def batch_s(self) -> float:
        """The longest batch that is worth its time."""
        return self.seconds / SHARE


FULL = Effort()
QUICK = Effort(seconds=10.0, least=3, most=5)


@dataclass(frozen=True, slots=True)
class Swept:
    """The points of an operation; ``curve`` are those with the probe's usual tokens, and ``knee``
    is theirs. ``note`` says what ended a series, where that was a failure."""

    points: tuple[Point, ...]
    curve: tuple[Point, ...]
    knee: int
    note: str = ""


async def sweep(probe: Probe, effort: Effort, tell: Tell, clock: Callable[[], float]) -> Swept:
    """Measure one operation.

    First a warm-up, then batches of 1, 2, 4, … items until the throughput stops rising, and items
    of the probe's other lengths, alone and in batches of the knee. Then rounds over all these, one
    up and one down, so that a machine that becomes slower or faster favours none.

    Raises:
        MeasureError: not even one item can be measured.
    """
    return await _Sweep(probe, effort, tell, clock).run()


def own_time(times: Sequence[float]) -> float:
    """The median of the faster half: whatever else runs on a machine makes a batch slower, never
    faster."""
    return median(sorted(times)[: (len(times) + 1) // 2])


def steady_knee(curve: Sequence[Point]) -> int:
    """The knee of a measured curve, or of the straight line through it where that comes earlier:
    noise makes the best batch look better than it is, and so puts the first one too high."""
    line = fit(curve, count_tokens=False)
    smooth = [(one.items, line.base_ms + one.items * line.item_ms) for one in curve]
    return min(knee(smooth), knee([(one.items, one.ms) for one in curve]))


@dataclass(slots=True)
class _Sweep:
    probe: Probe
    effort: Effort
    tell: Tell
    clock: Callable[[], float]
    note: str = ""
    batches: int = 0
    samples: dict[Conditions, list[Sample]] = field(default_factory=dict)

    async def run(self) -> Swept:
        await self._batch(1, self.probe.usual)
        curve = await self._grow()
        for items in dict.fromkeys((1, steady_knee(self._points()))):
            await self._lengthen(items)
        await self._rounds()
        points = self._points()
        usual = points[: len(curve)]
        return Swept(points, usual, steady_knee(usual), self.note)

    async def _batch(self, items: int, tokens: int) -> Sample:
        taken = await self.probe.run(items, tokens)
        self.batches += 1
        self.tell(self.batches)
        return taken

    async def _try(self, items: int, tokens: int) -> tuple[float, float] | None:
        """Milliseconds of a batch, the better of two, and the seconds that one run takes with all
        its preparations; None where it fails, which ends a series."""
        began = self.clock()
        try:
            taken = [await self._batch(items, tokens) for _ in range(TRIES)]
        except MeasureError as error:
            if not self.samples:
                raise
            self.note = f"not measured from {items} items of {tokens} tokens on: {error}"
            return None
        self.samples[items, tokens] = taken
        return min(one.ms for one in taken), (self.clock() - began) / TRIES

    async def _grow(self) -> list[tuple[int, float]]:
        """Double the items until it does not pay, does not fit or takes too long."""
        curve: list[tuple[int, float]] = []
        items = 1
        while (tried := await self._try(items, self.probe.usual)) is not None:
            curve.append((items, tried[0]))
            items *= 2
            if not (still_rises(curve) and self.probe.fits(items, self.probe.usual)):
                break
            if tried[1] * 2 > self.effort.batch_s:
                self.note = (
                    f"not measured from {items} items on: a run would take {tried[1] * 2:.1f} s"
                )
                break
        return curve

    async def _lengthen(self, items: int) -> None:
        """Items of other lengths, until one takes too long."""
        expected = 0.0
        for tokens in self.probe.lengths:
            if (items, tokens) in self.samples or not self.probe.fits(items, tokens):
                continue
            if expected * tokens > self.effort.batch_s:
                return
            if (tried := await self._try(items, tokens)) is None:
                return
            expected = tried[1] / tokens * GROWTH

    async def _rounds(self) -> None:
        end = self.clock() + self.effort.seconds
        order = list(self.samples)
        for done in range(self.effort.most):
            if done >= self.effort.least and self.clock() >= end:
                return
            for conditions in order:
                self.samples[conditions].append(await self._batch(*conditions))
            order.reverse()

    def _points(self) -> tuple[Point, ...]:
        return tuple(
            Point(
                items=items,
                tokens=round(sum(one.tokens for one in taken) / len(taken), 1),
                ms=round(own_time([one.ms for one in taken]), 4),
                runs=len(taken),
            )
            for (items, _), taken in self.samples.items()
        )
