"""Items that an engine is not given for a while: equal ones have ended it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from teola.runtime.keys import Key, digest
from teola.runtime.sent import Sent

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
        (mark,) = (_mark(part, index) for index in part.indices)
        self._until.pop(mark, None)
        self._until[mark] = asyncio.get_running_loop().time() + REFUSED_S
        if len(self._until) > MOST:
            del self._until[next(iter(self._until))]

    def of(self, part: Sent) -> list[int]:
        """The items of a slice that are refused."""
        now = asyncio.get_running_loop().time()
        while self._until and next(iter(self._until.values())) <= now:
            del self._until[next(iter(self._until))]
        return [i for i in part.indices if self and _mark(part, i) in self._until]


def _mark(part: Sent, index: int) -> Key:
    task = part.task
    common = {name: value for name, value in task.common.items() if name not in NAMES}
    content = [task.operation, common, task.items[index]]
    return digest(json.dumps(content, sort_keys=True, default=_plain).encode())


def _plain(value: Any) -> Any:
    """An array as data; anything else is what it is shown as."""
    return [value.dtype.str, value.tobytes().hex()] if hasattr(value, "tobytes") else repr(value)
