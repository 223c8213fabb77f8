"""What an engine that nobody uses still holds, by what it tells of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teola.compiler.errors import TeolaError
from teola.runtime.hosts import EngineCallError, EngineHandle, HostError

NONE: frozenset[int] = frozenset()


async def leftovers(handle: EngineHandle) -> list[str]:
    """Requests that run, versions that wait to be published, calls without an answer though a later
    one has one. An engine that is no more has none; one that tells nothing (``describe``) may."""
    waiting = _unanswered(handle)
    try:
        told = await handle.control("describe", {})
    except EngineCallError:
        told = {}  # it lives, and has no such command
    except HostError:
        return []  # it is no more
    except TeolaError:
        told = {}  # an engine that says itself that it has no such command
    lost = len(waiting & _unanswered(handle))
    return ([f"{lost} calls have no answer"] if lost else []) + _held(told)


def _unanswered(handle: EngineHandle) -> frozenset[int]:
    """The calls on their way; what stands before a host need not know of any."""
    return getattr(handle, "unanswered", NONE)


def _held(told: Mapping[str, Any]) -> list[str]:
    problems = []
    if running := told.get("running"):
        problems.append(f"{running} requests run that nobody waits for")
    if pending := told.get("pending"):
        problems.append(f"versions are pending that nobody publishes: {', '.join(pending)}")
    return problems
