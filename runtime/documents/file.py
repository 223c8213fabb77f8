"""One file as text: its ending says how it is read, and no encoding is guessed.

A text is UTF-8, with or without a byte order mark, or an HTML page that declares its encoding. PDF
and Word files are packed: `DocumentProcess` reads them.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from teola.runtime.documents.errors import ForeignError, UnreadableError
from teola.runtime.documents.process import DocumentProcess
from teola.runtime.documents.text import html_text, markdown_text

MAX_FILE_BYTES = 32 * 2**20
MAX_PACKED_BYTES = 128 * 2**20

_TYPES = {
    ".txt": "text",
    ".text": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".htm": "html",
    ".html": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
    ".docx": "word",
}
_PACKED = frozenset(["pdf", "word"])
_ADVICE = {
    ".doc": "the old Word format is not read: save it as .docx, for example: "
    "soffice --convert-to docx FILE"
}
_READERS: Mapping[str, Callable[[str], tuple[str, str | None]]] = {
    "text": lambda text: (text, None),
    "markdown": markdown_text,
    "html": html_text,
}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_DECLARED_CHARSET = re.compile(
    rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([\w:.-]{1,40})", re.IGNORECASE
)
# What the HTML standard reads these labels as (https://encoding.spec.whatwg.org/#names-and-labels).
_WINDOWS_1252_LABELS = frozenset(
    ["ascii", "us-ascii", "iso-8859-1", "iso8859-1", "latin1", "latin-1"]
)


@dataclass(frozen=True, slots=True)
class FileContent:
    """What a file says: its ``type`` (text, markdown, html, pdf, word), and how many bytes it is,
    unpacked."""

    type: str
    text: str
    title: str | None
    size: int


def read_file(
    path: Path, packed: DocumentProcess, *, most_bytes: int = MAX_FILE_BYTES
) -> FileContent:
    """Read a file by its ending; one without an ending is text if it reads as text.

    Args:
        path: the file.
        packed: reads what is no text.
        most_bytes: the most that it may be.

    Raises:
        ForeignError: an unknown ending, none and no text, or no regular file.
        UnreadableError: an encoding that is neither UTF-8 nor declared, a binary file, a PDF or
            Word file that is damaged, encrypted or without text, one larger than 32 MiB (128 MiB
            packed) or ``most_bytes``.
        OSError: the file is missing or may not be read.
    """
    ending = path.suffix.lower()
    if ending and ending not in _TYPES:
        raise ForeignError(
            _ADVICE.get(ending)
            or f"unknown ending '{ending}'; files ending in {' '.join(sorted(_TYPES))} or in "
            "nothing are read: convert it, or give {name, text}"
        )
    kind = _TYPES.get(ending, "text")
    if kind in _PACKED:
        return _unpacked(kind, path, packed, most_bytes)
    content = _content(path, MAX_FILE_BYTES)
    try:
        plain = _decode(content, kind)
    except UnreadableError as error:
        if ending:
            raise
        raise ForeignError(f"no ending, and no text: {error}") from None
    _check_size(len(content), MAX_FILE_BYTES)
    _check_room(len(content), most_bytes)
    text, title = _READERS[kind](plain)
    return FileContent(kind, text, title, len(content))


def _unpacked(kind: str, path: Path, packed: DocumentProcess, most_bytes: int) -> FileContent:
    content = _content(path, MAX_PACKED_BYTES)
    _check_size(len(content), MAX_PACKED_BYTES)
    text, title = packed.read(kind, content)
    size = len(text.encode(errors="surrogatepass"))
    _check_room(size, most_bytes)
    return FileContent(kind, text, title, size)


def _content(path: Path, limit: int) -> bytes:
    """Read a regular file, not far beyond its limit; a pipe or a device is never opened."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ForeignError("not a regular file")
    with path.open("rb") as file:
        return file.read(limit + 1)


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise UnreadableError(f"larger than {limit >> 20} MiB: split it")


def _check_room(size: int, most_bytes: int) -> None:
    if size > most_bytes:
        raise UnreadableError("with it the documents together are too large: name fewer files")


def _decode(content: bytes, kind: str) -> str:
    if content.startswith(_UTF16):
        raise UnreadableError("UTF-16, not UTF-8; convert it: iconv -f UTF-16 -t UTF-8")
    binary = content.find(b"\0")
    if binary >= 0:
        raise UnreadableError(f"binary, not text: a NUL byte at offset {binary}")
    encoding = _declared_encoding(content) if kind == "html" else "utf-8"
    try:
        text = content.decode(encoding)
    except LookupError:
        raise UnreadableError(f"declares the unknown encoding '{encoding}'") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UnreadableError(
            f"not {encoding.upper()}: byte 0x{content[error.start]:02x} at offset {error.start} "
            f"(line {line}); convert it, for example: iconv -f WINDOWS-1252 -t UTF-8"
        ) from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _declared_encoding(content: bytes) -> str:
    """Name the encoding that an HTML page declares in its first KiB; UTF-8 if none."""
    declared = _DECLARED_CHARSET.search(content[:1024])
    if content.startswith(b"\xef\xbb\xbf") or declared is None:
        return "utf-8"
    label = declared[1].decode("ascii", "replace").lower()
    if label in _WINDOWS_1252_LABELS:
        return "cp1252"
    # A page that could be read this far is not UTF-16, whatever it says (HTML standard).
    return "utf-8" if label.startswith("utf-16") else label
