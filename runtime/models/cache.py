"""Where converted models are kept: one folder each, written at once, with a manifest of hashes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from teola.runtime.errors import ModelError
from teola.runtime.models.progress import Progress, stop_if

MANIFEST = "teola-manifest.json"
QUICK_BYTES = 8 << 20
"""Files up to this size are hashed whole in the quick check; of larger ones both ends are."""
ENDS_BYTES = 1 << 20
LOCK_POLL_S = 0.1


def cache_folder() -> Path:
    """The folder of all cached models.

    ``$TEOLA_CACHE/models``, else ``$XDG_CACHE_HOME/teola/models``, else ``~/.cache/teola/models``.
    """
    if own := os.environ.get("TEOLA_CACHE"):
        return Path(own).expanduser() / "models"
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared).expanduser() / "teola" / "models"
    return Path.home() / ".cache" / "teola" / "models"


@contextmanager
def locked(
    folder: Path, progress: Progress, cancelled: threading.Event | None = None
) -> Iterator[None]:
    """Hold the lock of a cached folder: two processes never make the same one twice.

    Raises:
        ModelError: the cache cannot be written, or ``cancelled`` was set while waiting.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = folder.with_name(f"{folder.name}.lock").open("a")
    except OSError as error:
        raise _unwritable(folder.parent, error) from error
    with lock:
        while not _try_lock(lock.fileno()):
            progress("waiting", None, "another process is fetching this model")
            stop_if(cancelled)
            time.sleep(LOCK_POLL_S)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Give a new folder beside ``folder`` to fill; it takes that name when the block succeeds.

    A reader sees the whole folder or none. What was there before is removed.
    """
    with _workplace(folder) as work:
        fresh = work / "model"
        fresh.mkdir()
        yield fresh
        if folder.exists():
            folder.rename(work / "before")
        fresh.rename(folder)


def discard(folder: Path) -> None:
    """Remove a cached folder: a reader sees the whole of it or nothing."""
    with _workplace(folder) as work:
        folder.rename(work / "before")


@contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    for left in folder.parent.glob(f".{folder.name}-*"):  # by a killed process: the lock is ours
        shutil.rmtree(left, ignore_errors=True)
    try:
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise _unwritable(folder.parent, error) from error
    try:
        yield work
    except OSError as error:
        raise _unwritable(folder.parent, error) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _unwritable(folder: Path, error: OSError) -> ModelError:
    return ModelError(
        f"cannot write the model cache {folder}: {error.strerror or error}; "
        "TEOLA_CACHE=FOLDER names another place"
    )


def write_manifest(folder: Path, about: Mapping[str, str]) -> None:
    """Record size and hashes of every file of ``folder``."""
    files = {
        str(path.relative_to(folder)): {
            "size": path.stat().st_size,
            "sha256": hash_file(path),
            "ends": _hash_ends(path),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    text = json.dumps({**about, "files": files}, indent=1)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def damage(folder: Path, *, full: bool = False) -> list[str]:
    """What is wrong with a cached folder, one line a file; empty when it is whole.

    The quick check compares sizes, small files by hash and large ones by the hash of both ends
    (milliseconds); ``full`` hashes everything.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = {
            name: (entry["size"], entry["sha256"], entry["ends"])
            for name, entry in manifest["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"{MANIFEST} cannot be read: {error}"]
    found = (
        _file_damage(folder / name, size, sha256, ends, full=full)
        for name, (size, sha256, ends) in files.items()
    )
    return [line for line in found if line]


def _file_damage(path: Path, size: int, sha256: str, ends: str, *, full: bool) -> str | None:
    try:
        actual = path.stat().st_size
        if actual != size:
            return f"{path.name} has {actual} bytes, not {size}"
        whole = full or size <= QUICK_BYTES
        right = hash_file(path) == sha256 if whole else _hash_ends(path) == ends
    except OSError as error:
        return f"{path.name} cannot be read: {error.strerror or error}"
    return None if right else f"{path.name} has other content than when it was fetched"


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash_ends(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(ENDS_BYTES))
        file.seek(max(0, path.stat().st_size - ENDS_BYTES))
        digest.update(file.read(ENDS_BYTES))
    return digest.hexdigest()
