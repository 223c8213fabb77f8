"""The questions of a batch: JSON lines in a file, or mappings; read again and again, lazily."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias

from teola.runtime.batch.errors import BatchError, BatchInputError
from teola.runtime.batch.row import Columns, Row, read_row, row_of

BOM = b"\xef\xbb\xbf"
STANDARD_INPUT = "-"

Given: TypeAlias = str | Path | Sequence[Mapping[str, Any]]
"""A file of JSON lines (``-``: standard input), or the rows themselves."""


class Questions(Protocol):
    """Rows that can be gone through more than once."""

    name: str

    def __iter__(self) -> Iterator[Row]: ...

    def close(self) -> None:
        """Let them go."""
        ...


class ListedQuestions:
    """Rows that are in memory."""

    name = "the rows"

    def __init__(self, rows: Sequence[Mapping[str, Any]], columns: Columns) -> None:
        self._rows = rows
        self._columns = columns

    def close(self) -> None:
        """Nothing to let go."""

    def __iter__(self) -> Iterator[Row]:
        for number, values in enumerate(self._rows, 1):
            yield row_of(values, number, self._columns)


class QuestionFile:
    """Rows of a file, one line at a time; blank lines are none.

    Standard input, and what can be read only once, is first copied to a file without a name.

    Raises:
        BatchInputError: it cannot be read.
    """

    def __init__(self, path: str | Path, columns: Columns) -> None:
        self.name = "standard input" if str(path) == STANDARD_INPUT else str(path)
        self._columns = columns
        try:
            self._file = _open(path)
        except OSError as error:
            raise BatchInputError(
                f"{self.name}: cannot be read: {error.strerror or error}"
            ) from error

    def __iter__(self) -> Iterator[Row]:
        try:
            self._file.seek(0)
            for number, line in enumerate(self._file, 1):
                text = line.removeprefix(BOM) if number == 1 else line
                if text.strip():
                    text = text.rstrip(b"\r\n")
                    yield read_row(text, number, self._columns)
        except OSError as error:
            what = error.strerror or error
            raise BatchError(f"{self.name}: cannot be read any further: {what}") from error

    def close(self) -> None:
        """Let the file go."""
        self._file.close()


def _open(path: str | Path) -> IO[bytes]:
    if str(path) == STANDARD_INPUT:
        return _copied(sys.stdin.buffer)
    stream = Path(path).open("rb")  # noqa: SIM115  # closed with the questions
    if stream.seekable():
        return stream
    with stream:
        return _copied(stream)


def _copied(stream: IO[bytes]) -> IO[bytes]:
    copy = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the questions
    shutil.copyfileobj(stream, copy)
    return copy


def open_questions(given: Given, columns: Columns) -> Questions:
    """The questions that ``given`` means.

    Raises:
        BatchInputError: the file cannot be read.
    """
    if isinstance(given, str | Path):
        return QuestionFile(given, columns)
    return ListedQuestions(given, columns)
