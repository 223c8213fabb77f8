"""Documents: what a user names becomes ``{name, text, meta}``, or one error naming every problem.

A document is a file, a folder, a glob, packaged data (``teola.workflows:data/sqlite``) or its text
itself, ``{name, text}``. Nothing is skipped in silence.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from teola.runtime.document_file import UnreadableError, read_file
from teola.runtime.document_tree import files_matching, files_within, is_pattern
from teola.runtime.errors import InputError

MAX_FILES = 10_000
MAX_TOTAL_BYTES = 256 * 2**20
PACKAGE = "teola.workflows"

_SHOWN_PROBLEMS = 20


class DocumentError(InputError):
    """Documents that cannot be read; ``problems`` has one line for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        shown = list(self.problems[:_SHOWN_PROBLEMS])
        if len(self.problems) > len(shown):
            shown.append(f"and {len(self.problems) - len(shown)} more")
        noun = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n  ".join([f"the documents cannot be read ({noun}):", *shown]))


def read_documents(
    value: object, base: Path | None = None, *, allow_paths: bool = True
) -> list[dict[str, Any]]:
    """Read what the user named, in the order it was named; folders and globs in order of names.

    Args:
        value: a path, folder, glob or ``teola.workflows:path`` (text or ``Path``), a mapping with
            ``name``, ``text`` and perhaps ``meta``, or a list of these. Hidden files are left out
            of folders and globs; a file that is reached twice is read once.
        base: the folder that relative paths start from; the working folder unless given.
        allow_paths: False takes only mappings; servers must not read files for their callers.

    Returns:
        One mapping a document: ``name`` (relative to the folder or the glob's fixed part; to
        ``base`` for a single file), ``text``, and ``meta`` with ``type`` (text, markdown, html),
        and for files ``path`` (relative to ``base`` where it lies inside) and ``title`` where the
        file has one. Documents may be empty. Names are unique.

    Raises:
        DocumentError: with every problem of every document: a missing, unreadable, binary or too
            large file, an unknown ending, an encoding that is not UTF-8, a pattern or folder
            without files, two documents of one name.
    """
    reading = _Reading(Path(base) if base is not None else Path.cwd())
    items = value if isinstance(value, list | tuple) else [value]
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
    if reading.problems:
        raise DocumentError(reading.problems)
    return reading.documents


def content_key(documents: Iterable[Mapping[str, Any]]) -> str:
    """Hash documents by content (name, text, meta, order): equal keys mean equal documents."""
    digest = hashlib.sha256()
    for document in documents:
        fields = [document["name"], document["text"], document.get("meta") or {}]
        digest.update(json.dumps(fields, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


@dataclass
class _Reading:
    """One call's documents, and the problems found on the way."""

    base: Path
    documents: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _names: dict[str, str] = field(default_factory=dict)
    _files: set[str] = field(default_factory=set)
    _bytes: int = 0

    def problem(self, where: str, what: str) -> None:
        self.problems.append(f"{where.encode(errors='backslashreplace').decode()}: {what}")

    def add(self, name: str, text: str, meta: dict[str, Any], where: str) -> None:
        if not all(map(_is_unicode, (name, text, json.dumps(meta, ensure_ascii=False)))):
            self.problem(where, "its name, path or text is not valid Unicode")
        elif name in self._names:
            self.problem(
                where,
                f"another document is named '{name}' too ({self._names[name]}): give one folder "
                "that holds both, or {name, text}",
            )
        else:
            self._names[name] = where
            self.documents.append({"name": name, "text": text, "meta": meta})

    def take_text(self, document: Mapping[Any, Any], where: str) -> None:
        unknown = sorted(str(key) for key in document.keys() - {"name", "text", "meta"})
        if unknown:
            self.problem(where, f"unknown field {unknown[0]!r}; a document has name, text and meta")
            return
        name, text, meta = document.get("name"), document.get("text"), document.get("meta") or {}
        if not isinstance(name, str) or not name:
            self.problem(where, "'name' must be a text that is not empty")
        elif not isinstance(text, str):
            self.problem(where, f"'text' of '{name}' must be a text")
        elif not isinstance(meta, Mapping) or not _is_json(meta):
            self.problem(where, f"'meta' of '{name}' must be a mapping of JSON values")
        else:
            self.add(name, text, {"type": "text", **meta}, where)

    def take_path(self, spec: str) -> None:
        """Read the file, folder, pattern or packaged data that ``spec`` names."""
        if not spec or "\0" in spec:
            self.problem(repr(spec), "not a path")
            return
        base, written = self.base, spec
        if spec.startswith(f"{PACKAGE}:"):
            written = spec.partition(":")[2]
            package = files(PACKAGE)
            if not isinstance(package, Path) or not _stays_inside(written):
                self.problem(spec, f"not a path inside the installed package {PACKAGE}")
                return
            base = package
        try:
            self._take(_absolute(base, Path(written).expanduser()), base, spec)
        except RuntimeError:
            self.problem(spec, "this user has no home folder")
        except OSError as error:
            self.problem(spec, f"cannot be read: {error.strerror or error}")

    def _take(self, path: Path, base: Path, spec: str) -> None:
        if path.is_dir():
            found = files_within(path)
            self._take_files(path, list(found), base, spec, "the folder has no files")
        elif os.path.lexists(path):
            inside = _relative(path, base)
            self._read(path, inside or path.name, inside or path.as_posix(), spec)
        elif is_pattern(spec):
            folder, names = files_matching(path)
            self._take_files(folder, names, base, spec, "no file matches this pattern")
        else:
            self.problem(spec, f"no such file or folder (relative paths start from {base})")

    def _take_files(
        self, folder: Path, names: list[str], base: Path, spec: str, none_found: str
    ) -> None:
        if not names:
            self.problem(spec, none_found)
        if len(names) > MAX_FILES:
            self.problem(spec, f"{len(names)} files, more than {MAX_FILES}: name fewer")
            return
        for name in sorted(names):
            path = folder / name
            inside = _relative(path, base)
            self._read(path, name, inside or path.as_posix(), inside or str(path))

    def _read(self, path: Path, name: str, shown: str, where: str) -> None:
        real = os.path.realpath(path)  # Path.resolve raises for a link to itself
        if real in self._files:
            return
        self._files.add(real)
        try:
            content = read_file(path, most_bytes=MAX_TOTAL_BYTES - self._bytes)
        except OSError as error:
            self.problem(where, f"cannot be read: {error.strerror or error}")
            return
        except UnreadableError as error:
            self.problem(where, str(error))
            return
        self._bytes += content.size
        meta = {"type": content.type, "path": shown}
        title = content.title
        self.add(name, content.text, {**meta, "title": title} if title else meta, where)


def _absolute(base: Path, path: Path) -> Path:
    return Path(os.path.normpath(base.absolute() / path))


def _relative(path: Path, base: Path) -> str | None:
    """Give ``path`` relative to ``base`` with slashes; None when it lies outside."""
    base = _absolute(base, Path())
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else None


def _stays_inside(path: str) -> bool:
    return not Path(path).is_absolute() and ".." not in Path(path).parts


def _is_json(value: Mapping[Any, Any]) -> bool:
    try:
        json.dumps(value, sort_keys=True)
    except (TypeError, ValueError):
        return False
    return True


def _is_unicode(text: str) -> bool:
    """Tell whether ``text`` can be written as UTF-8: it has no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
