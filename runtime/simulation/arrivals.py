"""When queries come: at random, or as a trace says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain
from math import inf
from pathlib import Path
from random import Random

from teola.runtime.errors import InputError


def poisson(rate: float, count: int, seed: int | str = 0) -> tuple[float, ...]:
    """``count`` arrivals in seconds after the start, ``rate`` a second on average, independent.

    Raises:
        InputError: the rate or the count is not above 0.
    """
    if not 0 < rate < inf or count < 1:
        raise InputError(f"{count} queries at {rate:g} a second: both must be above 0")
    random = Random(f"arrivals:{seed}")  # noqa: S311 - no secret
    now, arrivals = 0.0, []
    for _ in range(count):
        now += random.expovariate(rate)
        arrivals.append(now)
    return tuple(arrivals)


def poisson_together(rates: Sequence[float], count: int, seed: int = 0) -> list[tuple[float, ...]]:
    """The first ``count`` arrivals of several independent processes, for each process its own (some
    may have none). The first process is that of ``poisson``.

    Raises:
        InputError: a rate or the count is not above 0.
    """
    seeds = [seed if not index else f"{seed}:{index}" for index in range(len(rates))]
    streams = [poisson(rate, count, own) for rate, own in zip(rates, seeds, strict=True)]
    last_s = sorted(chain.from_iterable(streams))[count - 1]
    return [tuple(at_s for at_s in stream if at_s <= last_s) for stream in streams]


def read_trace(path: Path) -> tuple[float, ...]:
    """The arrivals of a file of JSON lines: objects with ``at_s``, seconds after the start.

    Raises:
        InputError: the file cannot be read, or a line says no time; names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the trace cannot be read: {error}") from error
    arrivals = [
        _arrival(line, f"{path}:{row}") for row, line in enumerate(lines, 1) if line.strip()
    ]
    if not arrivals:
        raise InputError(f"{path}: the trace has no arrivals")
    return tuple(sorted(arrivals))


def _arrival(line: str, where: str) -> float:
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise InputError(f"{where}: not JSON: {error}") from error
    at_s = entry.get("at_s") if isinstance(entry, dict) else None
    if isinstance(at_s, int | float) and not isinstance(at_s, bool) and 0 <= at_s < inf:
        return float(at_s)
    raise InputError(f'{where}: expected {{"at_s": 1.5}}, seconds from 0 on, not {line.strip()}')
