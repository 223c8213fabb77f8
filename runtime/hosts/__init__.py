"""Where an engine lives: the caller's event loop, a thread or a process; one handle for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teola.runtime.engines.registry import EngineEntry
from teola.runtime.hosts.errors import EngineCallError, EngineDied, EngineStartError, HostError
from teola.runtime.hosts.handle import EngineHandle, OnStatus, ignore_status
from teola.runtime.hosts.host import Host
from teola.runtime.hosts.loop import LoopHost
from teola.runtime.hosts.process import ProcessHost
from teola.runtime.hosts.thread import ThreadHost

__all__ = [
    "EngineCallError",
    "EngineDied",
    "EngineHandle",
    "EngineStartError",
    "HostError",
    "OnStatus",
    "connect",
]

HOSTS: Mapping[str, type[Host]] = {"loop": LoopHost, "thread": ThreadHost, "process": ProcessHost}


def connect(
    entry: EngineEntry, config: Mapping[str, Any], *, on_status: OnStatus = ignore_status
) -> EngineHandle:
    """A handle to a new engine, not started yet: ``listen`` if it is an LLM, then ``start``.

    Args:
        entry: the engine's class and where it lives.
        config: its canonical config; ``threads`` and ``cores`` (a list of CPU numbers) are for its
            process.
        on_status: told what the start is doing.
    """
    return HOSTS[entry.host](entry, config, on_status)
