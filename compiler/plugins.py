"""Plug-ins: what other distributions add through entry points, looked up when it is needed."""

from __future__ import annotations

import importlib.metadata
from functools import cache

from teola.compiler.engines import EngineSettings
from teola.compiler.errors import CompileError

ENGINES = "teola.engines"
"""Entry point group of engines; the names are ``kind.backend``."""


class PluginError(CompileError):
    """A plug-in cannot be loaded, or is not what its entry point says."""


@cache
def _entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=ENGINES)}


def engine_backends(kind: str) -> list[str]:
    """Return the backends that plug-ins add to an engine kind; nothing is imported."""
    return [name.partition(".")[2] for name in _entry_points() if name.startswith(f"{kind}.")]


def engine_settings(kind: str, backend: str) -> type[EngineSettings] | None:
    """Return the settings model of a plug-in's backend, or None where no plug-in has it.

    Raises:
        PluginError: the plug-in does not load, or names no settings model.
    """
    point = _entry_points().get(f"{kind}.{backend}")
    if point is None:
        return None
    try:
        loaded = point.load()
    except Exception as error:  # a plug-in may raise anything while it is imported
        raise PluginError(f"the engine plug-in {point.value} does not load: {error}") from error
    settings = getattr(loaded, "settings", loaded)
    if isinstance(settings, type) and issubclass(settings, EngineSettings):
        return settings
    raise PluginError(
        f"the engine plug-in {point.value} names no settings: its attribute 'settings' must be a "
        "subclass of teola.compiler.engines.EngineSettings"
    )
