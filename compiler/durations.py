"""Durations as they are written: a number and its unit."""

from __future__ import annotations

import re

from pydantic_core import PydanticCustomError

DURATION_PATTERN = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)$"
"""A duration, for JSON Schema."""

MAX_SECONDS = 30 * 24 * 3600
"""Longer durations are refused."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?P<number>[0-9]{1,12}(?:\.[0-9]{1,12})?)\s*(?P<unit>[A-Za-zµ]*)")
_FOREIGN = {
    "sec": "s",
    "secs": "s",
    "second": "s",
    "seconds": "s",
    "min": "m",
    "mins": "m",
    "minute": "m",
    "minutes": "m",
    "hr": "h",
    "hour": "h",
    "hours": "h",
    "msec": "ms",
    "millis": "ms",
    "milliseconds": "ms",
}
_FORM = "a duration is a number and its unit: 200ms, 60s, 2m, 1h"


def parse_duration(value: object) -> object:
    """Return the seconds of ``60s``, ``200ms``, ``2m`` or ``1h``.

    Raises:
        PydanticCustomError: ``bad-duration``, with what to write instead.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise _bad("this is no duration", _FORM)
    match = _DURATION.fullmatch(str(value).strip())
    if match is None:
        raise _bad(f"'{value}' is no duration", _FORM)
    number, unit = match["number"], match["unit"]
    if not unit:
        raise _bad(f"'{value}' has no unit", f"for seconds write {number}s; {_FORM}")
    if unit not in _UNITS:
        meant = _FOREIGN.get(unit.lower()) or (unit.lower() if unit.lower() in _UNITS else None)
        raise _bad(f"there is no unit '{unit}'", f"write {number}{meant}" if meant else _FORM)
    seconds = float(number) * _UNITS[unit]
    if seconds > MAX_SECONDS:
        raise _bad(f"'{value}' is longer than 30 days", _FORM)
    if seconds == 0:
        raise _bad(f"'{value}' leaves no time at all", _FORM)
    return seconds


def _bad(message: str, help_text: str) -> PydanticCustomError:
    return PydanticCustomError("bad-duration", "{what}", {"what": message, "help": help_text})
