"""Reading the documents of one run: paths become texts, and every problem is kept."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from teola.runtime.documents.errors import ForeignError, UnreadableError
from teola.runtime.documents.file import read_file
from teola.runtime.documents.process import DocumentProcess
from teola.runtime.documents.tree import files_matching, files_within, is_pattern

MAX_FILES = 10_000
MAX_TOTAL_BYTES = 256 * 2**20
PACKAGE = "teola.workflows"
MAX_LISTED = 20
"""Files that one message names."""

_KINDS = "text, Markdown, HTML, PDF or Word"
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")


@dataclass
class Reading:
    """One call's documents, what was left out of its folders and globs, and every problem."""

    base: Path
    documents: list[dict[str, Any]] = field(default_factory=list)
    left_out: dict[str, None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _names: dict[str, str] = field(default_factory=dict)
    _files: set[str] = field(default_factory=set)
    _bytes: int = 0
    _packed: DocumentProcess = field(default_factory=DocumentProcess)

    def close(self) -> None:
        """End what was started to read with."""
        self._packed.close()

    def problem(self, where: str, what: str) -> None:
        """Remember what is wrong with a document."""
        self.problems.append(f"{_shown(where)}: {what}")

    def _add(self, name: str, text: str, meta: dict[str, Any], where: str) -> None:
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
        """Take a document that is its text itself."""
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
            self._add(name, text, {"type": "text", **meta}, where)

    def take_path(self, spec: str) -> None:
        """Read the file, folder, pattern or packaged data that ``spec`` names."""
        if not spec or "\0" in spec:
            self.problem(repr(spec), "not a path")
            return
        if _URL.match(spec):
            self.problem(spec, "URLs are not read: download the page and name its file")
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
            try:
                self._read(path, inside or path.name, inside or path.as_posix(), spec)
            except ForeignError as error:
                self.problem(spec, str(error))
        elif is_pattern(spec):
            folder, names = files_matching(path)
            self._take_files(folder, names, base, spec, "no file matches this pattern")
        else:
            self.problem(
                spec, f"no such file or folder (relative paths start from {base.absolute()})"
            )

    def _take_files(
        self, folder: Path, names: list[str], base: Path, spec: str, none_found: str
    ) -> None:
        if not names:
            self.problem(spec, none_found)
        if len(names) > MAX_FILES:
            self.problem(spec, f"{len(names)} files, more than {MAX_FILES}: name fewer")
            return
        foreign = []
        for name in sorted(names):
            path = folder / name
            inside = _relative(path, base)
            try:
                self._read(path, name, inside or path.as_posix(), inside or str(path))
            except ForeignError:
                foreign.append(inside or str(path))
        if foreign and len(foreign) == len(names):
            self.problem(spec, f"none of its files is {_KINDS}: {listed(foreign)}")
        self.left_out.update(dict.fromkeys(foreign))

    def _read(self, path: Path, name: str, shown: str, where: str) -> None:
        """Read a file, once.

        Raises:
            ForeignError: it is of a kind that is not read.
        """
        real = os.path.realpath(path)  # Path.resolve raises for a link to itself
        if real in self._files:
            return
        try:
            content = read_file(path, self._packed, most_bytes=MAX_TOTAL_BYTES - self._bytes)
        except ForeignError:
            raise
        except UnreadableError as error:
            self.problem(where, str(error))
            return
        except OSError as error:
            self.problem(where, f"cannot be read: {error.strerror or error}")
            return
        self._files.add(real)
        self._bytes += content.size
        meta = {"type": content.type, "path": shown}
        title = content.title
        self._add(name, content.text, {**meta, "title": title} if title else meta, where)


def listed(names: Sequence[str]) -> str:
    """Name the first of ``names``, and how many more there are."""
    more = [f"and {len(names) - MAX_LISTED} more"] if len(names) > MAX_LISTED else []
    return _shown(", ".join([*names[:MAX_LISTED], *more]))


def _shown(name: str) -> str:
    """A name as it can be written anywhere: paths may hold bytes that are no text."""
    return name.encode(errors="backslashreplace").decode()


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
