"""Documents: what a user names becomes ``{name, text, meta}``, or one error naming every problem.

A document is a file, a folder, a glob, packaged data (``teola.workflows:data/sqlite``) or its text
itself, ``{name, text}``. Nothing is left out in silence.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from teola.runtime.documents.reading import Reading, listed
from teola.runtime.errors import InputError

_SHOWN_PROBLEMS = 20
_KINDS = "text, Markdown, HTML, PDF nor Word"


class DocumentError(InputError):
    """Documents that cannot be read; ``problems`` has one line for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        shown = list(self.problems[:_SHOWN_PROBLEMS])
        if len(self.problems) > len(shown):
            shown.append(f"and {len(self.problems) - len(shown)} more")
        noun = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n  ".join([f"the documents cannot be read ({noun}):", *shown]))


@dataclass(frozen=True)
class Documents:
    """What was read: ``texts`` are mappings with ``name``, ``text`` and ``meta``.

    ``warnings`` names what was left out of folders and globs, and the documents without text.
    An input of documents takes one as it is: it is read once, for many runs.
    """

    texts: list[dict[str, Any]]
    warnings: tuple[str, ...] = ()

    @cached_property
    def key(self) -> str:
        """Their content, hashed once."""
        return content_key(self.texts)


def read_documents(
    value: object, base: Path | None = None, *, allow_paths: bool = True
) -> Documents:
    """Read what the user named, in the order it was named; folders and globs in order of names.

    Args:
        value: a path, folder, glob or ``teola.workflows:path`` (text or ``Path``), a mapping with
            ``name``, ``text`` and perhaps ``meta``, or a list of these. Folders and globs leave out
            hidden files, and with a warning those of a kind that is not read; a file that is
            reached twice is read once.
        base: the folder that relative paths start from; the working folder unless given.
        allow_paths: False takes only mappings; servers must not read files for their callers.

    Returns:
        One mapping a document: ``name`` (relative to the folder or the glob's fixed part; to
        ``base`` for a single file), ``text``, and ``meta`` with ``type`` (text, markdown, html,
        pdf, word), and for files ``path`` (relative to ``base`` where it lies inside) and ``title``
        where the file has one. Names are unique.

    Raises:
        DocumentError: with every problem of every document: a missing, unreadable, binary or too
            large file, a named file of an unknown ending, an encoding that is not UTF-8, an
            encrypted PDF or one without text, a pattern or folder without a file that can be read,
            two documents of one name.
    """
    reading = Reading(Path() if base is None else Path(base))
    try:
        _read(reading, value if isinstance(value, list | tuple) else [value], allow_paths)
    finally:
        reading.close()
    if reading.problems:
        raise DocumentError(reading.problems)
    return Documents(reading.documents, tuple(_warnings(reading)))


def _read(reading: Reading, items: Sequence[object], allow_paths: bool) -> None:
    for position, item in enumerate(items, start=1):
        if isinstance(item, Mapping):
            reading.take_text(item, f"document {position}")
        elif not isinstance(item, str | Path):
            found = type(item).__name__
            reading.problem(
                f"document {position}", f"expected a path or {{name, text}}, not {found}"
            )
        elif not allow_paths:
            reading.problem(f"document {position}", "paths are not taken here: give {name, text}")
        else:
            reading.take_path(str(item))


def content_key(documents: Iterable[Mapping[str, Any]]) -> str:
    """Hash documents by content (name, text, meta, order): equal keys mean equal documents."""
    digest = hashlib.sha256()
    for document in documents:
        fields = [document["name"], document["text"], document.get("meta") or {}]
        digest.update(json.dumps(fields, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def _warnings(reading: Reading) -> Iterable[str]:
    if reading.left_out:
        yield f"left out, neither {_KINDS}: {listed(list(reading.left_out))}"
    empty = [document["name"] for document in reading.documents if not document["text"].strip()]
    if empty:
        yield f"without any text: {listed(empty)}"
