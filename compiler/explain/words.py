"""How sentences name and count things."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

NAMED = 8
"""Names that one sentence lists at most."""


def listed(names: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``; many names end in ``and 12 more``."""
    known = list(names)
    if len(known) > NAMED:
        known = [*known[: NAMED - 1], f"{len(known) - NAMED + 1} more"]
    return " and ".join(filter(None, (", ".join(known[:-1]), *known[-1:])))


def counted(number: int, noun: str) -> str:
    """``1 edge``, ``2 edges``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def abbreviated(text: str, most: int) -> str:
    """``text`` in one line; a long one keeps its beginning and its end."""
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    tail = most // 3
    return f"{line[: most - tail - 3].rstrip()} … {line[-tail:].lstrip()}"


def shortened(rows: Sequence[tuple[str, ...]], what: str) -> tuple[tuple[str, ...], ...]:
    """Some of many rows, and a last one that says how many there are besides."""
    if len(rows) <= NAMED:
        return tuple(rows)
    rest = counted(len(rows) - NAMED + 1, what)
    return (*rows[: NAMED - 1], (f"and {rest} more",))
