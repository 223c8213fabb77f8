"""Run a module as a process to its end: its lines as they come, bounded in time, stoppable, and
gone when this process is, even if that is killed."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from teola.runtime.models.progress import stop_if

TICK_S = 0.2
TERMINATE_S = 3.0
KEPT_LINES = 200


@dataclass(frozen=True, slots=True)
class Finished:
    """How a module ended: ``code`` is None when it was stopped for taking too long."""

    code: int | None
    lines: Sequence[str]


def run_module(
    module: str,
    arguments: Sequence[str] = (),
    *,
    on_line: Callable[[str], None],
    limit_s: float,
    environment: Mapping[str, str] | None = None,
    cancelled: threading.Event | None = None,
) -> Finished:
    """Run ``python -m module``; call ``on_line`` with each line of its standard output and error.

    Raises:
        OSError: it cannot be started.
        ModelError: ``cancelled`` was set; the process has been stopped.
    """
    lines: deque[str] = deque(maxlen=KEPT_LINES)

    def keep(line: str) -> None:
        lines.append(line)
        on_line(line)

    with subprocess.Popen(
        (sys.executable, "-m", "teola.runtime.models.tether", module, *arguments),
        stdin=subprocess.PIPE,  # ends with this process; that tells the module to end
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environment) if environment is not None else None,
    ) as process:
        try:
            in_time = _follow(process, keep, time.monotonic() + limit_s, cancelled)
        finally:
            _stop(process)
    return Finished(process.returncode if in_time else None, tuple(lines))


def _follow(
    process: subprocess.Popen[bytes],
    on_line: Callable[[str], None],
    deadline: float,
    cancelled: threading.Event | None,
) -> bool:
    """Read until the output ends; False when the deadline came first."""
    if process.stdout is None:
        raise ValueError("the output must be a pipe")
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < deadline:
            stop_if(cancelled)
            if not selector.select(TICK_S):
                continue
            block = os.read(process.stdout.fileno(), 1 << 16)
            *complete, rest = re.split(rb"[\r\n]", rest + block)
            for line in complete if block else [*complete, rest]:
                if text := line.decode(errors="replace").strip():
                    on_line(text)
            if not block:
                return _wait(process, deadline)
    return False


def _wait(process: subprocess.Popen[bytes], deadline: float) -> bool:
    try:
        process.wait(max(TERMINATE_S, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(TERMINATE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
