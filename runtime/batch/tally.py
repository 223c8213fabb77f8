"""The account of a batch: how many rows there are, and what has become of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from teola.runtime.batch.answers import Answer
from teola.runtime.result import Usage


@dataclass
class Tally:
    """``answered`` and ``failed`` (error code -> rows) are this run's; ``kept`` and ``kept_failed``
    were there before it. ``usage`` counts calls that rows share for each of them; ``truncated`` are
    the rows with a text that was cut off by its token limit."""

    total: int
    kept: int = 0
    kept_failed: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    usage: Usage = field(default_factory=Usage)
    truncated: int = 0
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def ended(self) -> int:
        """Rows that this run has ended."""
        return self.answered + self.failed.total()

    @property
    def recorded(self) -> int:
        """Rows that have ended, in this run or before."""
        return self.ended + self.kept + self.kept_failed.total()

    @property
    def errors(self) -> Counter[str]:
        """Rows without outputs, by the code of their error."""
        return self.failed + self.kept_failed

    def add(self, answer: Answer) -> None:
        """Count a row that has ended."""
        if answer.result is None:
            self.failed[answer.error.code if answer.error else "internal"] += 1
            return
        self.answered += 1
        self.truncated += bool(answer.result.truncated)
        used = answer.result.usage
        self.usage.requests += used.requests
        self.usage.prompt_tokens += used.prompt_tokens
        self.usage.completion_tokens += used.completion_tokens
        self.usage.warm_ups += used.warm_ups
