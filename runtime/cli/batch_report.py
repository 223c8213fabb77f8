"""What a batch has come to: a few lines for people, or one JSON object."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

from teola.runtime.batch import Tally
from teola.runtime.cli.pace import duration


def summary(tally: Tally) -> dict[str, object]:
    """The account as JSON data (``--json``)."""
    return {
        "rows": tally.total,
        "answered": tally.answered + tally.kept,
        "failed": dict(tally.errors),
        "before": tally.kept + tally.kept_failed.total(),
        "truncated": tally.truncated,
        "usage": asdict(tally.usage),
        "seconds": round(tally.seconds, 3),
        "rows_per_second": round(_rate(tally), 3),
    }


def recorded(tally: Tally, answers: str) -> str:
    """``answers.jsonl has 1,200 of 5,000 rows``."""
    return f"{answers} has {tally.recorded:,} of {_rows(tally.total)}"


def lines(tally: Tally, *, retry: bool) -> list[str]:
    """What has become of the rows, what it took, and (``retry``) what can be done about errors."""
    before = tally.kept + tally.kept_failed.total()
    facts = [f"{_rows(tally.total)}: {tally.answered + tally.kept:,} answered"]
    if tally.errors:
        facts.append(f"{tally.errors.total():,} failed ({_by_code(tally.errors)})")
    if before:
        facts.append(f"{before:,} of them in an earlier run")
    found = [", ".join(facts)]
    if tally.ended:
        took = [f"{tally.ended:,} in {duration(tally.seconds)}, {_rate(tally):,.3g} rows/s"]
        if (usage := tally.usage).requests:
            took.append(
                f"{usage.requests:,} LLM requests, {usage.prompt_tokens:,} tokens in, "
                f"{usage.completion_tokens:,} out"
            )
        found.append("; ".join(took))
    if tally.truncated:
        found.append(f"{_rows(tally.truncated)} with a text cut off at its token limit")
    if tally.errors and retry:
        found.append("--retry-errors makes the failed rows again")
    return found


def _rate(tally: Tally) -> float:
    return tally.ended / tally.seconds if tally.seconds else 0.0


def _rows(number: int) -> str:
    return f"{number:,} row" if number == 1 else f"{number:,} rows"


def _by_code(errors: Counter[str]) -> str:
    return ", ".join(f"{count:,} {code}" for code, count in errors.most_common())
