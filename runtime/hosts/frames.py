"""Messages as bytes: a frame is a count, the lengths, a pickle, and large arrays beside it.

Pickle is safe here and only here: frames pass between our own parent and child, over a socket that
the child inherits and nobody else can open.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Sequence
from typing import Any

COUNT = struct.Struct(">I")
LENGTH = struct.Struct(">Q")
LARGE_BYTES = 1 << 16
"""Smaller arrays are quicker copied into the pickle than sent and read one by one."""

Part = bytes | bytearray | memoryview


def pack(message: object) -> list[Part]:
    """The parts of a frame, to be sent one after the other; large arrays are not copied.

    Raises:
        pickle.PicklingError, TypeError, AttributeError: the message is no plain data.
    """
    large: list[memoryview] = []

    def keep_inside(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes >= LARGE_BYTES:
            large.append(raw)
        return raw.nbytes < LARGE_BYTES

    body = pickle.dumps(message, protocol=5, buffer_callback=keep_inside)
    parts: list[Part] = [body, *large]
    lengths = b"".join(LENGTH.pack(memoryview(part).nbytes) for part in parts)
    return [COUNT.pack(len(parts)) + lengths, *parts]


def lengths_of(packed: bytes) -> list[int]:
    """The lengths that follow the count."""
    return [length for (length,) in LENGTH.iter_unpack(packed)]


def unpack(parts: Sequence[Part]) -> Any:
    """The message of a frame's parts; arrays are writable when the parts are."""
    body, *buffers = parts
    return pickle.loads(body, buffers=buffers)  # noqa: S301 - see the module's docstring
