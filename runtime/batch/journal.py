"""The file of answers: one line a row, each written at once; what a killed process left is mended.

A journal belongs to one process: it holds a lock on its file, which the system takes back when the
process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from teola.runtime.batch.answers import BEGINNING
from teola.runtime.batch.errors import BatchError, BatchInputError
from teola.runtime.batch.recorded import Recorded, read_line


class Journal:
    """Answers in a file, which is made where there is none.

    Raises:
        BatchInputError: another process writes the file, or it cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.name = str(path)
        self._path = Path(path).resolve()  # a link stays one when the file is replaced
        if self._path.exists() and not self._path.is_file():
            raise BatchInputError(f"{self.name}: cannot hold answers: it is no file")
        try:
            self._descriptor = _open_alone(self._path)
        except BlockingIOError as error:
            raise BatchInputError(
                f"{self.name}: another process is writing it: wait for its end, or give another "
                "file"
            ) from error
        except OSError as error:
            raise BatchInputError(f"{self.name}: cannot be written: {_why(error)}") from error
        self._end = os.fstat(self._descriptor).st_size

    def recorded(self) -> Iterator[Recorded]:
        """Go through the lines that are there.

        A last line that is not whole is cut off: it was being written when the process was killed.

        Raises:
            BatchInputError: a line is not one of answers; the file is left as it is.
        """
        end = 0
        with self._reader() as file:
            for number, line in enumerate(file, 1):
                ended = line.endswith(b"\n")
                try:
                    found = self._read(line, number)
                except BatchInputError:
                    if ended or not _is_ours(line):
                        raise
                    self._cut(end)
                    return
                end += len(line)
                yield found
                if not ended:
                    self.write(b"\n")
                    return

    def _read(self, line: bytes, number: int) -> Recorded:
        try:
            return read_line(line, number)
        except (ValueError, RecursionError) as error:
            raise BatchInputError(
                f"{self.name}:{number}: no line of a batch's answers: {error}: give another file, "
                "or remove the line to have its row made again"
            ) from error

    def drop(self, unwanted: Callable[[int], bool]) -> None:
        """Take out the lines of these numbers (from 1): a file with the others replaces this one.

        Raises:
            BatchError: it cannot be written; the file is left as it is.
        """
        new = self._path.with_name(f".{self._path.name}.new")
        try:
            new.unlink(missing_ok=True)
            descriptor = self._copied(new, unwanted)
        except OSError as error:
            new.unlink(missing_ok=True)
            raise BatchError(f"{self.name}: cannot be rewritten: {_why(error)}") from error
        os.close(self._descriptor)
        self._descriptor = descriptor
        self._end = os.fstat(descriptor).st_size

    def _copied(self, new: Path, unwanted: Callable[[int], bool]) -> int:
        descriptor = _open_alone(new)
        try:
            os.fchmod(descriptor, stat.S_IMODE(os.fstat(self._descriptor).st_mode))
            with self._reader() as lines, new.open("ab") as file:
                file.writelines(line for n, line in enumerate(lines, 1) if not unwanted(n))
            os.fsync(descriptor)
            new.rename(self._path)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def write(self, line: bytes) -> None:
        """Add a line, whole or not at all.

        Raises:
            BatchError: it cannot be written, as on a full disk.
        """
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            self._cut(self._end)
            raise BatchError(f"{self.name}: cannot be written: {_why(error)}") from error
        self._end += len(line)

    def close(self) -> None:
        """Let the file reach the disk, and others write it."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise BatchError(f"{self.name}: cannot be written: {_why(error)}") from error
        finally:
            os.close(self._descriptor)

    def _cut(self, end: int) -> None:
        os.ftruncate(self._descriptor, end)
        self._end = end

    def _reader(self) -> IO[bytes]:
        return self._path.open("rb")


def _open_alone(path: Path) -> int:
    """Open a file that nobody else holds, even where it is replaced meanwhile."""
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_ours(line: bytes) -> bool:
    """Whether it is the beginning of a line of ours: what else stands there is not ours to cut.

    After a power cut there may be zeros where the line had not reached the disk.
    """
    return line.startswith(BEGINNING) or BEGINNING.startswith(line.rstrip(b"\0"))


def _why(error: OSError) -> str:
    return error.strerror or str(error)
