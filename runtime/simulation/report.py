"""What a simulation found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil, fsum
from typing import Any


@dataclass(frozen=True, slots=True)
class Spread:
    """Seconds: the mean and percentiles by nearest rank."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    most: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread | None:
        """Of some durations; None where there are none."""
        if not seconds:
            return None
        ordered = sorted(seconds)

        def rank(share: float) -> float:
            return ordered[ceil(share * len(ordered)) - 1]

        mean = fsum(ordered) / len(ordered)
        return cls(mean, rank(0.5), rank(0.9), rank(0.95), rank(0.99), ordered[-1])


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """An engine: its ``replicas`` were busy for ``busy_s`` together, which is ``utilisation`` of
    the whole time of all, with ``running`` tasks or calls on each then, on average. ``work`` counts
    batches or calls. ``queued`` is how long tasks or calls waited for it. ``items`` are those of
    all batches (None: an LLM); ``warm_ups`` and the tokens of all calls are an LLM's."""

    name: str
    kind: str
    replicas: int
    utilisation: float
    busy_s: float
    running: float
    work: int
    queued: Spread | None
    items: int | None = None
    warm_ups: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One query: when it came and how long it took (None: it failed, or was cut off)."""

    arrival_s: float
    latency_s: float | None


@dataclass(frozen=True)
class Outcome:
    """What became of ``queries``, of which ``done`` gave their outputs and others failed
    (``failures``: error code -> how many).

    ``throughput`` counts done queries a second of the whole time. ``first_token`` is from arrival
    to the first token of the call that gives the main output, None where none does.
    """

    queries: int
    done: int
    failures: Mapping[str, int]
    throughput: float
    latency: Spread | None
    first_token: Spread | None
    samples: tuple[Sample, ...]

    @classmethod
    def of(
        cls,
        samples: Iterable[Sample],
        failures: Mapping[str, int],
        first_tokens: Sequence[float],
        seconds: float,
    ) -> Outcome:
        """Of queries of which some failed, in ``seconds``."""
        found = tuple(sorted(samples, key=lambda sample: sample.arrival_s))
        latencies = [sample.latency_s for sample in found if sample.latency_s is not None]
        return cls(
            len(found),
            len(latencies),
            dict(sorted(failures.items())),
            len(latencies) / seconds if seconds else 0.0,
            Spread.of(latencies),
            Spread.of(first_tokens),
            found,
        )


@dataclass(frozen=True)
class ApplicationReport(Outcome):
    """What became of the queries of one application: ``options`` are those of its plan."""

    name: str
    options: str


@dataclass(frozen=True)
class Report(Outcome):
    """A simulated run: what became of the queries of all ``applications`` together.

    ``seconds`` is from the start to the last end. ``structural`` names costs that are rough
    figures, ``unknown`` operations that have none and took no time.
    """

    policy: str
    seed: int
    seconds: float
    applications: tuple[ApplicationReport, ...]
    engines: tuple[EngineLoad, ...]
    structural: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def bottleneck(self) -> str | None:
        """The engine that was busy longest; of equals the one that tasks waited for most."""
        found = max(self.engines, key=pressure, default=None)
        return found.name if found is not None and found.busy_s else None

    def to_json(self) -> dict[str, Any]:
        """Plain data; the queries one by one are left out."""
        found = asdict(self)
        for one in (found, *found["applications"]):
            del one["samples"]
        return {**found, "bottleneck": self.bottleneck}


def pressure(load: EngineLoad) -> tuple[float, float]:
    """What makes an engine the bottleneck."""
    return round(load.utilisation, 2), load.queued.mean if load.queued else 0.0
