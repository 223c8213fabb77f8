"""Content keys: equal keys stand for equal values, known before anything is computed."""

from __future__ import annotations

import json
from functools import lru_cache
from hashlib import blake2b
from typing import Any

Key = bytes
"""A content key: equal keys stand for equal values."""

SIZE = 16
_text = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode


def digest(*parts: bytes) -> Key:
    """One key from parts; their lengths are part of it, so that no two lists of parts are one."""
    head = _lengths(*map(len, parts))
    return blake2b(b"".join((head, *parts)), digest_size=SIZE).digest()


@lru_cache(maxsize=1024)
def _lengths(*lengths: int) -> bytes:
    """Few lists of lengths are ever seen: keys have one length, names are those of plans."""
    return repr(list(lengths)).encode()


def of_port(key: Key, port: str) -> Key:
    """The key of one output port of what ``key`` stands for."""
    return key + b":" + port.encode()


def of_json(value: Any) -> Key:
    """The key of plain data; map order does not count."""
    return digest(b"json", _text(value).encode("utf-8", "surrogatepass"))


def of_input(value: Any) -> Key | None:
    """The key of an input value; None where it has no content of its own (a handle, an array)."""
    try:
        return of_json(value)
    except TypeError:
        return None
