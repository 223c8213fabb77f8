"""What an exception of an engine says, as a failure, and whether one item may be its cause."""

from __future__ import annotations

from teola.runtime.engines.protocol import Failure
from teola.runtime.hosts import EngineCallError, EngineDied, HostError

WORDS = (
    "bad_alloc",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "unable to allocate",
)
"""What libraries say of memory in errors that are no ``MemoryError``: PyTorch of a GPU and of a
CPU, NumPy, the C++ library, the operating system."""


def failure_of(error: Exception) -> Failure:
    """An exception as data."""
    if isinstance(error, EngineDied):
        return Failure("died", str(error))
    if _is_memory(error):
        return Failure("memory", str(error) or "out of memory")
    return Failure("engine", f"{type(error).__name__}: {error}")


def may_be_an_item(error: Exception) -> bool:
    """Whether one item can be what the engine raised it for: not where all were too many, or where
    the engine cannot be reached."""
    reached = isinstance(error, EngineCallError) or not isinstance(error, HostError)
    return reached and not _is_memory(error)


def _is_memory(error: Exception) -> bool:
    if isinstance(error, RuntimeError | OSError | EngineCallError):
        text = str(error).lower()
        return any(words in text for words in WORDS)
    return isinstance(error, MemoryError)
