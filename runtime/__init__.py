"""Teola's runtime: plans run on batching engines. Importing it imports no engine."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from teola.runtime.errors import InputError, ModelError, ModuleError, Overloaded, RunError
    from teola.runtime.pool import EnginePool
    from teola.runtime.result import RunResult
    from teola.runtime.runner import Runner

__all__ = [
    "EnginePool",
    "InputError",
    "ModelError",
    "ModuleError",
    "Overloaded",
    "RunError",
    "RunResult",
    "Runner",
]

_HOMES = {
    "EnginePool": "pool",
    "InputError": "errors",
    "ModelError": "errors",
    "ModuleError": "errors",
    "Overloaded": "errors",
    "RunError": "errors",
    "RunResult": "result",
    "Runner": "runner",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the command line starts without the rest."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
