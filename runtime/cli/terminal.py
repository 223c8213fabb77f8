"""What may be written to a terminal."""

from __future__ import annotations

import sys
from typing import IO

from teola.compiler.errors import TeolaError

KEPT = "\n\t"
CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in KEPT}
"""Control characters: a document could move the cursor or rename the window with them."""


def printable(text: str) -> str:
    """Return ``text`` without control characters, line breaks and tabs excepted."""
    return text.translate(CONTROLS)


def is_terminal(stream: IO[str]) -> bool:
    """Whether someone sits before ``stream``; a closed stream has nobody."""
    return not stream.closed and stream.isatty()


def write_now(text: str) -> None:
    """Write to standard output and let it be seen at once.

    Raises:
        BrokenPipeError: its reader has gone.
        TeolaError: it cannot be written, as on a full disk.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        what = error.strerror or str(error)
        raise TeolaError(f"standard output cannot be written: {what}") from error
