"""A task's limits: its clocks, and how often it is tried again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RETRIED = ("engine", "died", "memory", "timeout")
"""Error classes that are retried unless ``retry.on`` says otherwise."""


@dataclass(frozen=True, slots=True)
class Limits:
    """A task's clocks in seconds, and its retries."""

    timeout_s: float | None = None
    idle_timeout_s: float | None = None
    max_retries: int = 0
    initial_s: float = 0.2
    exponential: bool = True
    on: tuple[str, ...] = RETRIED

    @staticmethod
    def of(config: Mapping[str, Any]) -> Limits:
        """From a primitive's config."""
        retry = config.get("retry") or {}
        return Limits(
            config.get("timeout_s"),
            config.get("idle_timeout_s"),
            int(retry.get("max", 0)),
            float(retry.get("initial_s", 0.2)),
            retry.get("backoff", "exponential") == "exponential",
            tuple(retry.get("on") or RETRIED),
        )

    def delay_s(self, attempt: int) -> float:
        """The wait before attempt ``attempt`` (from 1)."""
        return self.initial_s * (2 ** (attempt - 1) if self.exponential else 1)
