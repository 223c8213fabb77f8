"""Make an engine from its entry, and say in the user's words why it could not start."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from teola.compiler.errors import TeolaError
from teola.runtime.hosts.errors import EngineCallError, EngineStartError


def make_engine(factory: str, config: Mapping[str, Any]) -> Any:
    """An instance of ``module:Class``, not started.

    Raises:
        EngineStartError: no such module or class.
        ImportError: the module needs a package that is missing.
    """
    module_name, _, class_name = factory.partition(":")
    module = importlib.import_module(module_name)
    engine_class = getattr(module, class_name, None)
    if engine_class is None:
        raise EngineStartError(f"{module_name} has no engine class {class_name!r}")
    return engine_class(dict(config))


def start_error(factory: str, error: Exception) -> Exception:
    """``error`` as what the user should read: Teola's own as they are, others explained."""
    if isinstance(error, TeolaError):
        return error
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        package = error.name.partition(".")[0]
        if package != "teola":
            return EngineStartError(
                f"the engine needs the package {package!r}, which is not installed: "
                "pip install 'teola[local]'"
            )
    if isinstance(error, ImportError):
        return EngineStartError(
            f"the engine's packages cannot be imported ({error}): pip install 'teola[local]'"
        )
    return EngineStartError(f"{factory.partition(':')[2]}: {type(error).__name__}: {error}")


def engine_method(engine: Any, name: str) -> Any:
    """The engine's method.

    Raises:
        EngineCallError: engines of its kind have none of that name.
    """
    method = getattr(engine, name, None)
    if method is None:
        raise EngineCallError(f"{type(engine).__name__} has no {name!r}")
    return method
