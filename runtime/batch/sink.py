"""Where the lines of answers go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Sink(Protocol):
    """Takes lines of answers; a ``Journal`` is one that can be gone on with."""

    def write(self, line: bytes) -> None:
        """Write a whole line."""

    def close(self) -> None:
        """Nothing more comes."""


class Stream:
    """Answers that cannot be read back: they go to a pipe, a terminal, standard output."""

    def __init__(self, put: Callable[[str], object]) -> None:
        self._put = put

    def write(self, line: bytes) -> None:
        self._put(line.decode())

    def close(self) -> None:
        """Whoever opened it closes it."""
