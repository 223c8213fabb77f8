"""Items that an engine is not given for a while: equal ones have ended it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from teola.runtime.keys import digest
from teola.runtime.sent import Sent
from teola.runtime.values import Key

REFUSED_S = 600.0
MOST = 256
NAMES = ("collection", "pending")
"""What of a request's settings says where and not what."""


class Refused:
    """The last MOST items that were refused, each for REFUSED_S, as hashes of their content."""

    def __init__(self) -> None:
        self._until: dict[Key, float] = {}

    def __bool__(self) -> bool:
        return bool(self._until)

    def add(self, part: Sent) -> None:
        """Refuse an item from now on."""
        now = asyncio.get_running_loop().time()
        (mark,) = (_mark(part, index) for index in part.indices)
        kept = {known: until for known, until in self._until.items() if until > now}
        self._until = dict(list(kept.items())[-(MOST - 1) :]) | {mark: now + REFUSED_S}

    def of(self, part: Sent) -> list[int]:
        """The items of a slice that are refused."""
        now = asyncio.get_running_loop().time()
        return [i for i in part.indices if self._until.get(_mark(part, i), 0.0) > now]


def _mark(part: Sent, index: int) -> Key:
    task = part.task
    common = {name: value for name, value in task.common.items() if name not in NAMES}
    content = [task.operation, common, task.items[index]]
    return digest(json.dumps(content, sort_keys=True, default=_plain).encode())


def _plain(value: Any) -> Any:
    """An array as data; anything else is what it is shown as."""
    return [value.dtype.str, value.tobytes().hex()] if hasattr(value, "tobytes") else repr(value)
