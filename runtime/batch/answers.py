"""One line of a batch's answers: a row's outputs, or its error, and what they came from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from teola.compiler.graph.text import print_graph
from teola.compiler.plan import Plan
from teola.runtime.batch.row import Row, hash_of
from teola.runtime.batch.shared import SharedInputs
from teola.runtime.errors import (
    DeadlineExceeded,
    InputError,
    ModuleError,
    RunError,
)
from teola.runtime.result import RunResult, plain

BEGINNING = b'{"row": '
"""What every line begins with."""

_CODES: tuple[tuple[type[Exception], str], ...] = (
    (InputError, "input"),
    (DeadlineExceeded, "deadline"),
    (RunError, "run"),
)
"""Error -> its code, where it has no kind of its own."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What the answers of a batch come from, besides their rows: hashes of the compiled workflow
    and of the inputs that all rows share."""

    workflow: str
    inputs: str


def origin_of(plan: Plan, shared: SharedInputs) -> Origin:
    """The origin of all answers of a batch."""
    return Origin(hash_of([print_graph(plan.graph), plan.deadline_s]), shared.hash)


@dataclass(frozen=True, slots=True)
class RowError:
    """Why a row has no outputs: a code to count by, and where it happened as far as is known."""

    code: str
    message: str
    where: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What has become of a row: a result, its outputs as JSON data, or an error."""

    row: Row
    seconds: float
    result: RunResult | None = None
    error: RowError | None = None

    def line(self, origin: Origin) -> bytes:
        """The line that records it."""
        body: dict[str, Any] = {"row": self.row.number}
        if self.row.id is not None:
            body["id"] = self.row.id
        if self.error is not None:
            body["error"] = asdict(self.error)
        elif self.result is not None:
            body |= _outcome(self.result)
        body["seconds"] = round(self.seconds, 3)
        body["from"] = {**asdict(origin), "row": self.row.hash}
        return _encoded(body)


def as_data(result: RunResult) -> RunResult:
    """The result with its outputs as JSON data.

    Raises:
        TypeError: an output cannot be written as JSON.
    """
    return replace(result, outputs={name: plain(value) for name, value in result.items()})


def _outcome(result: RunResult) -> dict[str, Any]:
    body: dict[str, Any] = {
        "outputs": result.outputs,
        "usage": asdict(result.usage),
    }
    if result.truncated:
        body["truncated"] = list(result.truncated)
    if result.warnings:
        body["warnings"] = list(result.warnings)
    return body


def _encoded(body: dict[str, Any]) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # half of a surrogate pair has no UTF-8
        return json.dumps(body).encode() + b"\n"


def unreadable(row: Row, source: str) -> RowError:
    """The error of a line that is no row."""
    problem = row.problem
    message = problem.message if problem else "cannot be read"
    where: dict[str, Any] = {"file": source, "line": row.number}
    place = f"{source}:{row.number}"
    if problem and problem.column is not None:
        where["column"] = problem.column
        place += f":{problem.column}"
    return RowError("row", f"{place}: the row {message}", where)


def row_error(error: Exception, row: Row, source: str) -> RowError:
    """The error that a row's run has raised."""
    if isinstance(error, ModuleError):
        return RowError(error.kind, str(error), asdict(error.place))
    code = next((code for kind, code in _CODES if isinstance(error, kind)), "internal")
    message = str(error) if isinstance(error, RunError) else f"{type(error).__name__}: {error}"
    return RowError(code, message, {"file": source, "line": row.number})
