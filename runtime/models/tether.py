"""Run a module that ends with its parent: ``python -m teola.runtime.models.tether MODULE ...``.

Its standard input is a pipe that the parent holds and never writes to. When the parent ends,
however that happens, the pipe ends, and so does the module.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

LEAVE_S = 2.0


def main() -> None:
    """Run the module named by the first argument with the arguments after it."""
    threading.Thread(target=_end_with_parent, name="teola-tether", daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LEAVE_S)
    os._exit(1)  # whoever handles the signal may be blocked


if __name__ == "__main__":
    main()
