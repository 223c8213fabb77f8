"""Fetching models with progress: one by name, or all that a workflow uses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from teola.compiler.errors import CompileError
from teola.compiler.locations import find_workflow, gallery
from teola.runtime.cli.progress import open_progress
from teola.runtime.cli.sources import read_plan, refuse_unknown
from teola.runtime.cli.state import RunState
from teola.runtime.engines import find_entry
from teola.runtime.events import EngineStatus
from teola.runtime.models import fetch as fetch_model

if TYPE_CHECKING:
    from teola.compiler.plan import Plan

ENDINGS = (".yaml", ".yml", ".json", ".pgraph")
"""What a name must end in to mean a file, whether or not it is there."""


def wanted_by(name: str) -> list[str]:
    """The models that ``name`` means: itself, or those that the workflow of that name uses.

    Raises:
        CompileError: it is a workflow, and not valid.
        CommandError: it is neither a workflow nor a model.
    """
    if _is_workflow(name):
        return models_of(read_plan(name))
    if not name.startswith("hub:"):
        refuse_unknown([name], [file.stem for file in gallery().glob("*.yaml")])
    return [name]


def _is_workflow(name: str) -> bool:
    if Path(name).suffix in ENDINGS:
        return True
    try:
        find_workflow(name)
    except CompileError:
        return False
    return True


def models_of(plan: Plan) -> list[str]:
    """The models that a plan's engines load by name, each once."""
    names = [
        str(config["model"])
        for config in plan.graph.engines.values()
        if find_entry(str(config["kind"]), str(config["backend"])).weights
        and not config.get("path")
    ]
    return list(dict.fromkeys(names))


def fetch_all(names: Sequence[str], *, quiet: bool) -> None:
    """Fetch one model after another and show where it is.

    Raises:
        ModelError: a model is unknown or cannot be fetched.
    """
    state = RunState((), time.monotonic)
    progress = open_progress(state, Console(stderr=True), quiet=quiet, noun="model")

    def tell(name: str, phase: str, fraction: float | None, detail: str) -> None:
        status = EngineStatus(name, phase, fraction, detail)
        state.feed(status)
        progress.feed(status)

    progress.start()
    try:
        for name in names:
            tell(name, "checking", None, "")
            folder = fetch_model(name, partial(tell, name))
            tell(name, "ready", None, _short(folder))
    finally:
        progress.stop()


def _short(folder: Path) -> str:
    """A path in which home is ``~``."""
    home = Path.home()
    return f"~/{folder.relative_to(home)}" if folder.is_relative_to(home) else str(folder)
