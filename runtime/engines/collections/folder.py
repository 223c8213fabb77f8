"""A collection in a folder: whole versions, each published by one renaming.

store/.locks/c-handbook     who publishes holds it
store/c-handbook/17/        a version, named by its number: the highest is the collection
    collection.json         what it is
    chunks.jsonl            one chunk a line
    vectors.faiss           the index, with the vectors (mode dense or hybrid)
    words/                  the index of words (mode keyword or hybrid)
store/c-handbook/~…/        a version that is being written, or was when its writer died
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote, unquote
from uuid import uuid4

from teola.runtime.engines.collections.index_settings import IndexSettings
from teola.runtime.engines.collections.keyword_index import KeywordIndex
from teola.runtime.engines.collections.vector_index import VectorIndex
from teola.runtime.engines.collections.version import CollectionVersion
from teola.runtime.errors import RunError

SCHEMA = "teola.collection/1"
ABOUT, CHUNKS, VECTORS, WORDS = "collection.json", "chunks.jsonl", "vectors.faiss", "words"
PREFIX = "c-"
KEPT = 2
"""Versions that stay: whoever looked for the newest a moment ago may still read the one before."""
LOCK_S = 300.0
TRIES = 20
"""How often a reader looks for the newest version while others replace it."""


Mark: TypeAlias = tuple[int, int, int]
"""The number of a version, and what tells it from one that had the number before the collection was
dropped."""


@dataclass(frozen=True, slots=True)
class Held:
    """A version that is in memory, and which it is (None: it is in no folder)."""

    version: CollectionVersion
    mark: Mark | None = None


T = TypeVar("T")


class CollectionFolder:
    """The collection ``name`` of the store in ``root``."""

    def __init__(self, root: Path, name: str, settings: IndexSettings, language: str) -> None:
        self.name, self.settings, self.language = name, settings, language
        self.path = root / f"{PREFIX}{quote(name, safe='')}"
        self._lock = root / ".locks" / self.path.name

    def newest(self) -> Mark | None:
        """Which version is the newest; None where there is none."""
        for _ in range(TRIES):
            try:
                number = max(int(one.name) for one in self.path.iterdir() if one.name.isdecimal())
                return number, *_told_apart(self.path / str(number))
            except FileNotFoundError:
                if not self.path.exists():
                    return None
            except ValueError:
                return None
        raise self._hurried()

    def _hurried(self) -> RunError:
        return RunError(f"collection {self.name!r} is replaced faster than it can be read")

    def load(self, held: Held | None = None) -> Held:
        """The newest version; the one that is held, where it is that.

        Raises:
            RunError: it cannot be read, or is of another index than the store's.
        """

        def read(mark: Mark) -> Held:
            same = held is not None and held.mark == mark
            return held if held and same else Held(self._read(self._at(mark)), mark)

        nothing = CollectionVersion(VectorIndex(self.settings), KeywordIndex(self.language))
        return self._of_newest(read) or Held(nothing)

    def describe(self) -> dict[str, Any] | None:
        """What the newest version is, whatever the store's settings; None where there is none.

        Raises:
            RunError: it cannot be read.
        """
        about = self._of_newest(lambda mark: _about(self._at(mark)))
        return about and {key: about[key] for key in ("count", "dimension", "fingerprint")}

    def _at(self, mark: Mark) -> Path:
        return self.path / str(mark[0])

    def _of_newest(self, read: Callable[[Mark], T]) -> T | None:
        """What is read of the newest version, which others may replace meanwhile."""
        for _ in range(TRIES):
            mark = self.newest()
            if mark is None:
                return None
            try:
                return read(mark)
            except (OSError, ValueError, KeyError, RuntimeError) as error:
                if self.newest() == mark:
                    raise RunError(
                        f"version {mark[0]} of collection {self.name!r} in {self.path} cannot be "
                        f"read: {error}"
                    ) from error
        raise self._hurried()

    def _read(self, folder: Path) -> CollectionVersion:
        about = _about(folder)
        self._check(about)
        with (folder / CHUNKS).open("rb") as lines:
            chunks = tuple(json.loads(line) for line in lines)
        if len(chunks) != about["count"]:
            raise ValueError(f"it has {len(chunks)} chunks, not {about['count']}")
        index, words = VectorIndex(self.settings), KeywordIndex(self.language)
        if about["dimension"]:
            index = VectorIndex.load(self.settings, folder / VECTORS)
        if about["words"]:
            words = KeywordIndex.load(self.language, folder / WORDS)
        return CollectionVersion(index, words, chunks, about["fingerprint"], about["mode"])

    def _about(self, version: CollectionVersion) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "fingerprint": version.fingerprint,
            "mode": version.mode,
            "dimension": version.index.dimension,
            "words": bool(version.words),
            "count": len(version.chunks),
            "built": self._built(version.mode),
        }

    def _built(self, mode: str | None) -> dict[str, Any]:
        vectors = {} if mode == "keyword" else self.settings.fixed()
        return vectors if mode == "dense" else {**vectors, "language": self.language}

    def _check(self, about: dict[str, Any]) -> None:
        mine, theirs = self._built(about["mode"]), about["built"]
        if mine != theirs:
            raise RunError(
                f"collection {self.name!r} in {self.path} was made with {_shown(theirs)}, the "
                f"store has {_shown(mine)}: give the store the settings of the collection, or "
                "index into another one"
            )

    def draft(
        self, change: Callable[[CollectionVersion], CollectionVersion], held: Held | None
    ) -> Draft:
        """Write the next version, which nobody sees yet; until it is published or abandoned no
        other process can write one.

        Raises:
            RunError: ``change`` refuses, or another process publishes for too long.
        """
        lock = self._locked()
        pending = self.path / f"~{uuid4().hex}"
        try:
            before = self.load(held)
            after = change(before.version)
            newest = before.mark[0] if before.mark is not None else 0
            self.path.mkdir(exist_ok=True)
            on_disk(self.path.parent)
            self._clear(newest)
            self._write(pending, after)
        except BaseException:
            shutil.rmtree(pending, ignore_errors=True)
            os.close(lock)
            raise
        return Draft(pending, self.path / str(newest + 1), after, lock)

    def _clear(self, newest: int) -> None:
        """Remove what is of no use: versions that died while they were written, old ones."""
        for entry in self.path.iterdir():
            old = entry.name.isdecimal() and int(entry.name) <= newest - KEPT + 1
            if old or entry.name.startswith("~"):
                shutil.rmtree(entry, ignore_errors=True)

    def _write(self, folder: Path, version: CollectionVersion) -> None:
        folder.mkdir()
        (folder / ABOUT).write_text(json.dumps(self._about(version), indent=1))
        with (folder / CHUNKS).open("w") as lines:
            lines.writelines(f"{json.dumps(dict(chunk))}\n" for chunk in version.chunks)
        if version.index.dimension:
            version.index.save(folder / VECTORS)
        if version.words:
            version.words.save(folder / WORDS)
        for path in (*folder.rglob("*"), folder):
            on_disk(path)

    def _locked(self) -> int:
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o666)
        late = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if time.monotonic() < late:
                    time.sleep(0.01)  # flock cannot wait for a bounded time; this is no event loop
                    continue
                os.close(lock)
                raise RunError(
                    f"another process has been publishing into collection {self.name!r} of "
                    f"{self.path.parent} for {LOCK_S:g} s"
                ) from error
            return lock

    def drop(self) -> bool:
        """Remove the collection, in one step; whether it was there."""
        if self.newest() is None:
            return False
        lock = self._locked()
        try:
            if self.newest() is None:  # another process has been quicker
                return False
            gone = self.path.with_name(f"~{uuid4().hex}")
            self.path.rename(gone)
            on_disk(gone.parent)
            shutil.rmtree(gone, ignore_errors=True)
        finally:
            os.close(lock)
        return True


@dataclass(frozen=True, slots=True)
class Draft:
    """A version that is written and not published. It holds the collection's lock."""

    pending: Path
    final: Path
    version: CollectionVersion
    lock: int

    def publish(self) -> Held:
        """Let everybody see it."""
        try:
            self.pending.rename(self.final)
            on_disk(self.final.parent)
            return Held(self.version, (int(self.final.name), *_told_apart(self.final)))
        finally:
            os.close(self.lock)

    def abandon(self) -> None:
        """Leave everything as it was."""
        shutil.rmtree(self.pending, ignore_errors=True)
        os.close(self.lock)


def _about(version: Path) -> dict[str, Any]:
    """What a version says of itself."""
    about: dict[str, Any] = json.loads((version / ABOUT).read_bytes())
    if about["schema"] != SCHEMA:
        raise ValueError(f"it is of schema {about['schema']!r}, this Teola reads {SCHEMA!r}")
    return about


def _told_apart(version: Path) -> tuple[int, int]:
    found = version.stat()
    return found.st_ino, found.st_mtime_ns


def names_in(root: Path) -> list[str]:
    """The collections of a store's folder."""
    if not root.is_dir():
        return []
    entries = sorted(entry.name for entry in root.iterdir() if entry.name.startswith(PREFIX))
    return [unquote(name.removeprefix(PREFIX)) for name in entries]


def on_disk(path: Path) -> None:
    """Return when a file, or the names in a folder, would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _shown(built: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in built.items())
