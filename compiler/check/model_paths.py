"""The folders that engines take their models from: relative to whoever names them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from teola.compiler.diagnostics import Diagnostics
from teola.compiler.engine_settings import EngineSettings, ModelSettings
from teola.compiler.located import LocatedTree
from teola.compiler.model_folders import check_folder, located
from teola.compiler.overrides import OPTION


def locate_models(
    tree: LocatedTree,
    engines: Mapping[str, EngineSettings],
    folder: Path | None,
    diagnostics: Diagnostics,
) -> dict[str, EngineSettings]:
    """The engines with absolute paths: what the file says is relative to its ``folder`` (None: it
    is no file), what ``--set`` says to the current one. Missing folders are reported."""
    found = dict(engines)
    for name, engine in engines.items():
        span = tree.value_span(("engines", name, "path"))
        base = Path.cwd() if span.source.name == OPTION else folder
        if base is not None and isinstance(engine, ModelSettings) and engine.path is not None:
            place = located(engine.path, base)
            check_folder(engine.path, place, span, diagnostics)
            found[name] = engine.model_copy(update={"path": str(place)})
    return found
