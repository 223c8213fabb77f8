"""The folders that engines take their models from, or keep collections in: relative to whoever
names them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from teola.compiler.diagnostics import Diagnostics
from teola.compiler.engine_settings import EngineSettings, ModelSettings
from teola.compiler.engine_settings_openai import OpenAISettings
from teola.compiler.engine_settings_stores import FaissStore
from teola.compiler.engine_settings_vllm import VllmLLM
from teola.compiler.located import LocatedTree
from teola.compiler.model_folders import check_folder, located
from teola.compiler.overrides import OPTION

WITH_FOLDERS = (ModelSettings, OpenAISettings, FaissStore)


def locate_models(
    tree: LocatedTree,
    engines: Mapping[str, EngineSettings],
    folder: Path | None,
    diagnostics: Diagnostics,
) -> dict[str, EngineSettings]:
    """The engines with absolute paths: what the file says is relative to its ``folder`` (None: it
    is no file), what ``--set`` says to the current one. Missing models are reported."""
    found = dict(engines)
    for name, engine in engines.items():
        span = tree.value_span(("engines", name, "path"))
        base = Path.cwd() if span.source.name == OPTION else folder
        path = engine.path if isinstance(engine, WITH_FOLDERS) else None
        if base is not None and path is not None:
            place = located(path, base)
            if isinstance(engine, ModelSettings):
                check_folder(path, place, span, diagnostics)
            found[name] = engine.model_copy(update={"path": str(place)})
    return {name: _with_adapters(tree, name, engine, folder) for name, engine in found.items()}


def _with_adapters(
    tree: LocatedTree, name: str, engine: EngineSettings, folder: Path | None
) -> EngineSettings:
    """The engine with the absolute paths of its LoRA adapters."""

    def whole(path: str | None, *keys: str) -> str | None:
        span = tree.value_span(("engines", name, *keys))
        base = Path.cwd() if span.source.name == OPTION else folder
        return path if base is None or not path else str(located(path, base))

    if not isinstance(engine, VllmLLM):
        return engine
    adapters = {key: whole(path, "adapters", key) for key, path in engine.adapters.items()}
    return engine.model_copy(update={"lora": whole(engine.lora, "lora"), "adapters": adapters})
