"""PDF and Word files are read in a process of their own: one that hangs, crashes or takes all
memory ends that process, and is an error of that file alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from teola.runtime.documents.errors import UnreadableError

LIMIT_S = 120.0
"""Time of one file."""


class DocumentProcess:
    """Reads file after file; started for the first one, and again after one that ended it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection[Any, Any] | None = None

    def read(self, kind: str, content: bytes) -> tuple[str, str | None]:
        """The text and the title of a file of ``kind`` (pdf, word).

        Raises:
            UnreadableError: what is wrong with it, or that it takes too long or too much memory.
            OSError: the process cannot be started.
        """
        pipe = self._pipe or self._start()
        try:
            pipe.send_bytes(kind.encode())
            pipe.send_bytes(content)
            answered = pipe.poll(LIMIT_S)
            found = json.loads(pipe.recv_bytes()) if answered else {}
        except (EOFError, ConnectionError):
            raise UnreadableError(
                f"damaged, or too much for the memory: reading it ended in {self._end()}"
            ) from None
        if not answered:
            self.close()
            raise UnreadableError(f"reading it takes longer than {LIMIT_S:g} s: split it")
        if "problem" in found:
            raise UnreadableError(found["problem"])
        return found["text"], found["title"]

    def _start(self) -> Connection[Any, Any]:
        self._pipe, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                (sys.executable, "-m", "teola.runtime.documents.worker", str(theirs.fileno())),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # libraries warn of what the answer says anyway
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        return self._pipe

    def _end(self) -> str:
        """How the process, which has closed its end, ended."""
        code = self._process.wait() if self._process is not None else 0
        self.close()
        return signal.Signals(-code).name if code < 0 else f"status {code}"

    def close(self) -> None:
        """End the process, if there is one."""
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._pipe = self._process = None
