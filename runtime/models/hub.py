"""Models of the Hugging Face hub: ``hub:organisation/name``, with ``@revision`` if wanted."""

from __future__ import annotations

import importlib
import os
import re
import threading
from pathlib import Path

from teola.runtime.errors import ModelError
from teola.runtime.models.cache import cache_folder, locked
from teola.runtime.models.child import run_module
from teola.runtime.models.progress import Progress

PREFIX = "hub:"
NAME = re.compile(r"hub:(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
WANTED = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model")
UNWANTED = ("onnx/*", "openvino/*", "original/*")
LIMIT_S = 6 * 3600.0


def ensure_hub(model: str, progress: Progress, cancelled: threading.Event | None = None) -> Path:
    """The local folder of a hub model; downloaded on first use into the hub's own cache.

    A download that did not come to its end goes on at the next use, file by file; until then what
    is there of the model is not taken for it.

    Raises:
        ModelError: not a hub name, `huggingface_hub` is missing, no such model, no connection, or
            ``cancelled`` was set.
    """
    name = NAME.fullmatch(model)
    if name is None:
        raise ModelError(f"{model!r} is no hub model: write hub:organisation/name")
    repository, revision = name["repository"], name["revision"]
    begun = cache_folder() / "hub" / f"{model.removeprefix(PREFIX).replace('/', '--')}.partial"
    if folder := _complete(repository, revision, begun):
        return folder
    with locked(begun, progress, cancelled):
        if folder := _complete(repository, revision, begun):  # another process was quicker
            return folder
        progress("fetching", None, f"{repository} from the Hugging Face hub")
        begun.touch()
        folder = _download(model, repository, revision, cancelled)
        begun.unlink()
    return folder


def snapshot(repository: str, revision: str | None, *, here: bool = False) -> Path:
    """The hub library's own folder of a model, downloaded unless ``here``.

    Raises:
        ImportError: `huggingface_hub` is missing.
        Exception: whatever the library raises where it has none.
    """
    hub = importlib.import_module("huggingface_hub")
    folder = hub.snapshot_download(
        repo_id=repository,
        revision=revision,
        allow_patterns=list(WANTED),
        ignore_patterns=list(UNWANTED),
        local_files_only=here,
    )
    return Path(folder)


def _complete(repository: str, revision: str | None, begun: Path) -> Path | None:
    """What the hub's cache has of the model, if it is all of it."""
    try:
        return None if begun.exists() else snapshot(repository, revision, here=True)
    except ImportError as error:
        raise ModelError(
            f"model {PREFIX}{repository} needs huggingface_hub: pip install 'teola[local]'"
        ) from error
    except (OSError, ValueError):  # it is not there yet, whatever the library calls that
        return None


def _download(
    model: str, repository: str, revision: str | None, cancelled: threading.Event | None
) -> Path:
    finished = run_module(
        "teola.runtime.models.hub_download",
        (repository, revision) if revision else (repository,),
        on_line=lambda _line: None,
        limit_s=LIMIT_S,
        environment={**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
        cancelled=cancelled,
    )
    last = finished.lines[-1] if finished.lines else f"exit status {finished.code}"
    if finished.code == 0:
        return Path(last)
    cause = f"it took longer than {LIMIT_S:g} s" if finished.code is None else last
    raise ModelError(
        f"cannot fetch model {model!r} from the Hugging Face hub: {cause}; "
        f"connect once and run `teola models fetch {model}`, or give the engine `path: FOLDER`"
    )


def first_line(error: BaseException) -> str:
    """What an error says first."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
