"""Reads what an engine tells of itself, a while after its work has changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from teola.runtime.engines.protocol import Figure

LOG = logging.getLogger(__name__)
WAIT_S = 1.0
"""Engines reckon their figures after a step: so long after the last change they are right."""


class FigureReader:
    """Asks ``describe`` for the figures of ``about`` and tells those that are there, at most once
    in ``WAIT_S``, and for the last time so long after the last change."""

    def __init__(
        self,
        about: Mapping[str, Figure],
        describe: Callable[[], Awaitable[Mapping[str, Any]]],
        tell: Callable[[Mapping[str, float]], None],
    ) -> None:
        self._about, self._describe, self._tell = about, describe, tell
        self._changed = False
        self._reading: asyncio.Task[None] | None = None

    def changed(self) -> None:
        """The engine has begun or ended something."""
        self._changed = bool(self._about)
        if self._changed and self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        while self._changed:
            self._changed = False
            await asyncio.sleep(WAIT_S)
            try:
                told = await self._describe()
            except Exception as error:  # noqa: BLE001 - watching must not change what is watched
                LOG.warning("the figures of an engine cannot be read: %s", error)
                continue
            self._tell({name: told[name] for name in self._about if name in told})
        self._reading = None

    def stop(self) -> None:
        """The engine is no more."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
