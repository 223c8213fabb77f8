"""What is still to be done of a batch: its questions against the answers that are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from teola.runtime.batch.answers import Origin
from teola.runtime.batch.errors import BatchInputError
from teola.runtime.batch.journal import Journal
from teola.runtime.batch.questions import Questions
from teola.runtime.batch.recorded import Recorded
from teola.runtime.batch.tally import Tally

SHOWN = 3
"""Rows that a message names."""


@dataclass(frozen=True, slots=True)
class Policy:
    """``retry_errors``: rows that failed are made again. ``accept_changes``: answers are kept even
    where what they came from has changed."""

    retry_errors: bool = False
    accept_changes: bool = False


def hashes_of(questions: Questions) -> dict[str, str]:
    """The rows by key, with the hash of each.

    Raises:
        BatchInputError: two rows have one id.
    """
    hashes: dict[str, str] = {}
    lines: dict[str, int] = {}
    for row in questions:
        if row.id is not None and (first := lines.setdefault(row.key, row.number)) != row.number:
            raise BatchInputError(
                f"{questions.name}: rows {first} and {row.number} have one id, {row.key}: "
                "give each row its own, or none"
            )
        hashes[row.key] = row.hash
    return hashes


def resume(
    questions: Questions,
    hashes: Mapping[str, str],
    journal: Journal,
    origin: Origin,
    policy: Policy,
) -> tuple[Tally, frozenset[str]]:
    """Keep what can be kept of earlier runs; returns the account and the keys of finished rows.

    Answers are kept. An error is kept while nothing it came from has changed, and not with
    ``retry_errors``; what is not kept is taken out of the file.

    Raises:
        BatchInputError: a line is none of answers, a row has two, or answers came from another
            workflow, other inputs or other rows.
        BatchError: the file of answers cannot be rewritten.
    """
    found = _each_once(journal)
    if not policy.accept_changes:
        answers = (one for one in found if one.code is None)
        _refuse_changes(answers, questions, journal, hashes, origin)
    stale = {
        one.line
        for one in found
        if one.code is not None
        and (policy.retry_errors or one.origin != origin or hashes.get(one.key) != one.hash)
    }
    if stale:
        journal.drop(stale.__contains__)
    kept = [one for one in found if one.line not in stale and one.key in hashes]
    tally = Tally(len(hashes))
    tally.kept_failed.update(one.code for one in kept if one.code is not None)
    tally.kept = len(kept) - tally.kept_failed.total()
    return tally, frozenset(one.key for one in kept)


def _each_once(journal: Journal) -> list[Recorded]:
    found: dict[str, Recorded] = {}
    for one in journal.recorded():
        first = found.setdefault(one.key, one)
        if first is not one:
            raise BatchInputError(
                f"{journal.name}: lines {first.line} and {one.line} are answers of one row "
                f"({one.key}): remove one of them"
            )
    return list(found.values())


def _refuse_changes(
    answers: Iterable[Recorded],
    questions: Questions,
    journal: Journal,
    hashes: Mapping[str, str],
    origin: Origin,
) -> None:
    """Never mix answers of different questions in silence."""
    changes: dict[str, list[int]] = {}
    for one in answers:
        if (what := _change(one, questions, hashes, origin)) is not None:
            changes.setdefault(what, []).append(one.line)
    if changes:
        (what, lines), *_ = changes.items()
        shown = ", ".join(map(str, lines[:SHOWN]))
        more = f" and {len(lines) - SHOWN:,} more" if len(lines) > SHOWN else ""
        noun = "line" if len(lines) == 1 else "lines"
        raise BatchInputError(
            f"{journal.name}: {what} ({noun} {shown}{more}): give another file for the answers, "
            "remove these lines to have their rows made again, or accept the changes to keep them "
            "(--accept-changes)"
        )


def _change(
    one: Recorded, questions: Questions, hashes: Mapping[str, str], origin: Origin
) -> str | None:
    if one.origin.workflow != origin.workflow:
        return "it has answers of another workflow, or of other settings of this one"
    if one.origin.inputs != origin.inputs:
        return "the inputs that all rows share, or their documents, have changed since its answers"
    if one.key not in hashes:
        return f"it has answers of rows that {questions.name} has not"
    if one.hash != hashes[one.key]:
        return f"rows of {questions.name} have changed since their answers"
    return None
