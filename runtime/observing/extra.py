"""Packages that only some observers need: ``pip install 'teola[telemetry]'``."""

from __future__ import annotations

from importlib import import_module

from teola.runtime.errors import ModelError


def require(module: str, package: str, purpose: str) -> None:
    """Import ``module`` of ``package``.

    Raises:
        ModelError: it is not installed; the message says what needs it and how to get it.
    """
    try:
        import_module(module)
    except ImportError as error:
        raise ModelError(
            f"{purpose} need the package {package}: pip install 'teola[telemetry]'"
        ) from error
