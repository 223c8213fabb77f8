"""Messages as bytes: a frame is a count, the lengths, a pickle, and the arrays beside it.

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

Part = bytes | bytearray | memoryview


def pack(message: object) -> list[Part]:
    """The parts of a frame, to be sent one after the other; arrays are not copied.

    Raises:
        pickle.PicklingError, TypeError, AttributeError: the message is no plain data.
    """
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    parts: list[Part] = [body, *(buffer.raw() for buffer in buffers)]
    lengths = b"".join(LENGTH.pack(memoryview(part).nbytes) for part in parts)
    return [COUNT.pack(len(parts)) + lengths, *parts]


def lengths_of(packed: bytes) -> list[int]:
    """The lengths that follow the count."""
    return [length for (length,) in LENGTH.iter_unpack(packed)]


def unpack(parts: Sequence[Part]) -> Any:
    """The message of a frame's parts; arrays are writable when the parts are."""
    body, *buffers = parts
    return pickle.loads(body, buffers=buffers)  # noqa: S301 - see the module's docstring
