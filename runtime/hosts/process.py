"""An engine in a process of its own: its own GIL, threads and cores; a crash is contained."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from teola.runtime.engines.protocol import Capabilities
from teola.runtime.engines.registry import EngineEntry
from teola.runtime.hosts.child import ChildProcess
from teola.runtime.hosts.environment import child_environment
from teola.runtime.hosts.errors import EngineDied, EngineStartError
from teola.runtime.hosts.handle import OnStatus
from teola.runtime.hosts.messages import Order, Setup
from teola.runtime.hosts.remote import RemoteHost

CLOSE_S = 8.0
TERMINATE_S = 3.0
DYING_S = 2.0


class ProcessHost(RemoteHost):
    """A child of this process; it ends when this process ends, however that ends."""

    def __init__(self, entry: EngineEntry, config: Mapping[str, Any], on_status: OnStatus) -> None:
        super().__init__(entry, config, on_status)
        self._child: ChildProcess | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        return None if self._child is None else self._child.pid

    def _last_lines(self) -> Sequence[str]:
        return () if self._child is None else self._child.last_lines

    async def _launch(self) -> Capabilities:
        self._gone = None
        environment = child_environment(self._config, offline=self._entry.weights)
        try:
            child = await ChildProcess.start(environment)
        except OSError as error:
            raise EngineStartError(f"the engine's process cannot be started: {error}") from error
        self._child = child
        cores = self._config.get("cores")
        child.send(
            Setup(
                factory=self._entry.factory,
                config=self._config,
                paths=tuple(sys.path),
                cores=None if cores is None else tuple(cores),
                folder=child.folder,
            )
        )
        self._reading = asyncio.create_task(self._read(child))
        return await self._start_engine()

    async def _read(self, child: ChildProcess) -> None:
        unread = ""
        try:
            while True:
                self._receive(await child.receive())
        except (asyncio.IncompleteReadError, OSError):
            await child.end(gentle_s=DYING_S, terminate_s=TERMINATE_S)
        except Exception as error:  # noqa: BLE001 - unreadable: whatever follows is unsure too
            unread = f" after a message that cannot be read ({type(error).__name__}: {error})"
            await child.end(gentle_s=0, terminate_s=TERMINATE_S)
        self._end(EngineDied(child.obituary() + unread, child.last_lines))

    def _post(self, order: Order) -> None:
        if self._child is not None:
            self._child.send(order)

    async def _shut(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        if self._child is not None:
            await self._child.end(gentle_s=CLOSE_S, terminate_s=TERMINATE_S)
        self._child = self._reading = None  # only now: whoever is cancelled here may shut again
