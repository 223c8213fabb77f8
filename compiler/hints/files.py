"""Files that cannot be read, and why."""

from __future__ import annotations

import errno
from dataclasses import dataclass

_REASONS = {
    errno.ENOENT: ("no-such-file", "there is no such file"),
    errno.EISDIR: ("not-a-file", "this is a folder, not a file"),
    errno.EACCES: ("unreadable-file", "you may not read this file"),
    errno.ENAMETOOLONG: ("no-such-file", "the name is too long for a file"),
}


@dataclass(frozen=True)
class FileProblem:
    """What is wrong with a file, and at which line and column (from 1)."""

    code: str
    message: str
    help: str | None = None
    line: int = 1
    column: int = 1


def unreadable(error: OSError | ValueError) -> FileProblem:
    """Say why a file could not be opened."""
    if not isinstance(error, OSError):
        return FileProblem("no-such-file", "no file has a name with this character")
    code, reason = _REASONS.get(
        error.errno or 0, ("unreadable-file", error.strerror or "the file cannot be read")
    )
    return FileProblem(code, reason)


def too_large(limit: int) -> FileProblem:
    """Say that a file is larger than ``limit`` bytes."""
    return FileProblem(
        "file-too-large",
        f"the file is larger than {limit >> 20} MiB",
        "keep documents and data in files of their own",
    )


def not_utf8(content: bytes, position: int) -> FileProblem:
    """Name the first byte that is not UTF-8, with its line and column."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return FileProblem("not-utf8", "the file is written in UTF-16", "save it as UTF-8")
    before = (
        content[:position].decode("utf-8").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    )
    meant = content[position : position + 1].decode("cp1252", "replace")
    guess = (
        f" (in Windows-1252 it is '{meant}')" if meant.isprintable() and meant != "\ufffd" else ""
    )
    return FileProblem(
        "not-utf8",
        f"byte 0x{content[position]:02x} is not UTF-8{guess}",
        "save the file as UTF-8",
        len(before),
        len(before[-1]) + 1,
    )
