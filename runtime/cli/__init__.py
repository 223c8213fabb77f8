"""The command line: ``teola`` with its commands, and ``teola-run``.

One command a file. Nothing heavy is imported before a command needs it: ``check``, ``compile``
and ``viz`` load the compiler only, ``run`` and ``models`` the runtime without any engine.
"""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> None:
    """Run ``teola``; the process ends with the command's exit code."""
    try:
        from teola.runtime.cli.application import teola
        from teola.runtime.cli.ending import launch

        launch(teola, "teola")
    except KeyboardInterrupt:  # outside of a command: while it was loading
        sys.exit(INTERRUPTED)


def main_run() -> None:
    """Run ``teola-run``, which is ``teola run``; the process ends with its exit code."""
    try:
        from teola.runtime.cli.application import teola_run
        from teola.runtime.cli.ending import launch

        launch(teola_run, "teola-run")
    except KeyboardInterrupt:  # outside of a command: while it was loading
        sys.exit(INTERRUPTED)
