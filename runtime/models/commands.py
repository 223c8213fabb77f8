"""What `teola models` does: list, fetch, remove and verify the models of the catalog."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from teola.runtime.models import hub
from teola.runtime.models.cache import cache_folder, damage, discard, locked
from teola.runtime.models.catalog import CATALOG, WheelModel
from teola.runtime.models.progress import Progress, silent
from teola.runtime.models.source import ensure_wheel, known

State = Literal["ready", "absent", "damaged"]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model of the catalog: where it comes from, where it is, and how it is there.

    ``download_bytes`` is the size of its wheel, ``disk_bytes`` what its folder takes now.
    """

    name: str
    kind: str
    source: str
    download_bytes: int
    folder: Path
    state: State
    disk_bytes: int
    problems: tuple[str, ...] = ()


def list_models() -> list[ModelInfo]:
    """The catalog with the state of each model, from the quick check."""
    return [_info(model, full=False) for model in CATALOG.values()]


def fetch(name: str, progress: Progress = silent) -> Path:
    """Fetch a model of the catalog, or ``hub:organisation/name``, unless it is there.

    Raises:
        ModelError: no such model, or it cannot be fetched.
    """
    if name.startswith(hub.PREFIX):
        return hub.ensure_hub(name, progress)
    return ensure_wheel(known(name), progress)


def remove(name: str) -> bool:
    """Delete a model of the catalog from the cache; False when it was not there.

    Raises:
        ModelError: no such model, or the cache cannot be written.
    """
    folder = cache_folder() / known(name).folder_name
    if not folder.is_dir():
        return False
    with locked(folder, silent):
        discard(folder)
    return True


def verify(name: str) -> ModelInfo:
    """Hash every file of a cached model: ``problems`` says what is damaged.

    Raises:
        ModelError: no such model.
    """
    return _info(known(name), full=True)


def _info(model: WheelModel, *, full: bool) -> ModelInfo:
    folder = cache_folder() / model.folder_name
    present = folder.is_dir()
    problems = tuple(damage(folder, full=full)) if present else ()
    state: State = "absent" if not present else "damaged" if problems else "ready"
    return ModelInfo(
        name=model.name,
        kind=model.kind,
        source=f"wheel {model.requirement}",
        download_bytes=model.size,
        folder=folder,
        state=state,
        disk_bytes=sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        problems=problems,
    )
