"""How many cases are run, from where to where, and what is kept of it.

In the environment: ``CASES`` (300 without it), ``SEED``, and ``SECONDS`` after which no more are
begun; ``SUMMARY``, a file for what was found. `tests.properties.long` runs several at once.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.properties.cases import Case, cases

CHUNK = 50
"""Cases of one test: a failure names it by its seed, and no test runs for minutes."""

CASES = int(os.environ.get("CASES", "300"))
SEED = int(os.environ.get("SEED", "1"))
SECONDS = float(os.environ.get("SECONDS", "inf"))
SEEDS = range(SEED, SEED + -(-CASES // CHUNK))

FAIR = settings(
    max_examples=CHUNK,
    database=None,
    derandomize=False,  # the seed decides
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.generate],  # shrinking takes minutes
)


def drawn(number: int) -> list[Case]:
    """The cases of a seed."""
    found: list[Case] = []

    @seed(number)
    @FAIR
    @given(case=cases())
    def draw(case: Case) -> None:
        found.append(case)

    draw()
    return found


class Campaign:
    """The cases so far: what was ``seen`` in how many of those that held, the seeds that had
    ``failures``, and the time that all took."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.seconds = 0.0
        self.failures = 0

    def run(self, number: int, check: Callable[[Case, Counter[str]], None]) -> bool:
        """Check the cases of a seed; False where the time is over."""
        if self.seconds >= SECONDS:
            return False
        began = time.perf_counter()

        @seed(number)
        @FAIR
        @given(case=cases())
        def every(case: Case) -> None:
            check(case, self.seen)

        self.failures += 1
        try:
            every()
            self.failures -= 1
        finally:
            self.seconds += time.perf_counter() - began
        return True

    def share(self, name: str) -> float:
        """In how many of the cases, 0 to 1."""
        return self.seen[name] / max(1, self.seen["cases"])

    def finish(self) -> None:
        """Say what there was: in the file that was asked for, or on the screen."""
        figures = {
            "cases": self.seen["cases"],
            "seeds with failures": self.failures,
            "seconds": round(self.seconds, 1),
            "cases with": dict(sorted(self.seen.items())),
        }
        if "SUMMARY" in os.environ:
            Path(os.environ["SUMMARY"]).write_text(json.dumps(figures), encoding="utf-8")
        else:
            print(figures)
