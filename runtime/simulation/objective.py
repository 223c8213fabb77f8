"""What a latency must hold: ``p95=4s``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from pydantic_core import PydanticCustomError

from teola.compiler.durations import parse_duration
from teola.runtime.errors import InputError
from teola.runtime.simulation.report import Outcome, Report, Spread

MEASURES = ("mean", "p50", "p90", "p95", "p99", "most")


@dataclass(frozen=True, slots=True)
class Objective:
    """A ``measure`` of the latency is at most ``seconds``, for each application or for one. A query
    that fails never ends."""

    measure: str
    seconds: float
    application: str | None = None

    @classmethod
    def parse(cls, text: str, application: str | None = None) -> Objective:
        """Read ``p95=4s``.

        Raises:
            InputError: it cannot be read; says what can.
        """
        measure, _, limit = (part.strip() for part in text.partition("="))
        if measure not in MEASURES:
            raise InputError(
                f"cannot read the objective {text!r}: write p95=4s; it can begin with "
                f"{', '.join(MEASURES)}"
            )
        try:
            return cls(measure, float(str(parse_duration(limit))), application)
        except PydanticCustomError as error:
            raise InputError(f"cannot read the objective {text!r}: {_reason(error)}") from error

    def reached(self, report: Report) -> Mapping[str, float]:
        """Application -> what it has, in seconds."""
        return {
            one.name: _measured(one, self.measure)
            for one in report.applications
            if self.application in (None, one.name)
        }

    def holds(self, report: Report) -> bool:
        """Whether it does."""
        return all(seconds <= self.seconds for seconds in self.reached(report).values())

    def __str__(self) -> str:
        of = f"{self.application}: " if self.application else ""
        return f"{of}{self.measure} of {self.seconds:g} s"


def _measured(outcome: Outcome, measure: str) -> float:
    latencies = [inf if one.latency_s is None else one.latency_s for one in outcome.samples]
    spread = Spread.of(latencies)
    return inf if spread is None else float(getattr(spread, measure))


def _reason(error: PydanticCustomError) -> str:
    context = error.context or {}
    return f"{context.get('what')}; {context.get('help')}"
