"""Models of the Hugging Face hub: ``hub:organisation/name``, with ``@revision`` if wanted."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from teola.runtime.errors import ModelError
from teola.runtime.models.progress import Progress

PREFIX = "hub:"
NAME = re.compile(r"hub:(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
WANTED = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model")
UNWANTED = ("onnx/*", "openvino/*", "original/*")


def ensure_hub(model: str, progress: Progress) -> Path:
    """The local folder of a hub model; downloaded on first use into the hub's own cache.

    Raises:
        ModelError: not a hub name, `huggingface_hub` is missing, no such model, no connection.
    """
    name = NAME.fullmatch(model)
    if name is None:
        raise ModelError(f"{model!r} is no hub model: write hub:organisation/name")
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise ModelError(
            f"model {model!r} needs huggingface_hub: pip install 'teola[local]'"
        ) from error
    wanted = {
        "repo_id": name["repository"],
        "revision": name["revision"],
        "allow_patterns": list(WANTED),
        "ignore_patterns": list(UNWANTED),
    }
    try:
        return Path(hub.snapshot_download(**wanted, local_files_only=True))
    except (OSError, ValueError):  # it is not there yet, whatever the library calls that
        progress("fetching", None, f"{name['repository']} from the Hugging Face hub")
    try:
        return Path(hub.snapshot_download(**wanted))
    except Exception as error:  # the library's own, its HTTP client's and the system's
        raise ModelError(
            f"cannot fetch model {model!r} from the Hugging Face hub: {_first_line(error)}; "
            f"connect once and run `teola models fetch {model}`, or give the engine `path: FOLDER`"
        ) from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
