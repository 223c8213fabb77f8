"""Teola's runtime: plans run on batching engines. Importing it imports no engine."""

from __future__ import annotations

from teola.runtime.errors import InputError, ModelError, ModuleError, RunError
from teola.runtime.pool import EnginePool
from teola.runtime.result import RunResult
from teola.runtime.runner import Runner

__all__ = ["EnginePool", "InputError", "ModelError", "ModuleError", "RunError", "RunResult", "Runner"]
