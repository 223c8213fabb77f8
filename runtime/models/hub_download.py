"""Download a model into the hub's own cache; run as a process of its own, so that it can be ended.

    python -m teola.runtime.models.hub_download ORGANISATION/NAME [REVISION]

The last line it prints is the folder, or why there is none (exit status 1).
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

OPEN_FILES = Path("/proc/self/fd")
OWN_PARTIAL = re.compile(r"\.[0-9a-f]{8}\.incomplete")
"""What only the process that writes it can go on with; others are for whoever comes next."""


def main() -> None:
    """Download what the arguments say."""
    signal.signal(signal.SIGTERM, _leave)
    from teola.runtime.models.hub import first_line, snapshot

    try:
        folder = snapshot(sys.argv[1], next(iter(sys.argv[2:]), None))
    except Exception as error:  # noqa: BLE001 - the library's own, its HTTP client's, the system's
        sys.exit(first_line(error))
    sys.stdout.write(f"{folder}\n")


def _leave(_number: int, _frame: Any) -> None:
    """End at once: the library would wait for its threads."""
    for link in OPEN_FILES.glob("*"):
        with contextlib.suppress(OSError):  # closed meanwhile
            path = link.readlink()
            if OWN_PARTIAL.search(path.name):
                path.unlink()
    os._exit(1)


if __name__ == "__main__":
    main()
