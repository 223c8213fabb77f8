"""What may be written to a terminal."""

from __future__ import annotations

import sys
from typing import TextIO

KEPT = "\n\t"
CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in KEPT}
"""Control characters: a document could move the cursor or rename the window with them."""


def printable(text: str) -> str:
    """Return ``text`` without control characters, line breaks and tabs excepted."""
    return text.translate(CONTROLS)


def is_terminal(stream: TextIO) -> bool:
    """Whether someone sits before ``stream``; a closed stream has nobody."""
    return not stream.closed and stream.isatty()


def write_now(text: str) -> None:
    """Write to standard output and let it be seen at once."""
    sys.stdout.write(text)
    sys.stdout.flush()
