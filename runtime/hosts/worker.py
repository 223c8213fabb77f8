"""The engine's process: ``python -m teola.runtime.hosts.worker DESCRIPTOR``.

It lives as long as its socket: when the parent closes it, or is killed, the process closes its
engine and exits, and if the engine does not let it, it exits all the same.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
import traceback

from teola.runtime.hosts.errors import EngineCallError
from teola.runtime.hosts.frames import COUNT, LENGTH, Part, lengths_of, pack, unpack
from teola.runtime.hosts.messages import Call, Cancel, Raised, Report, Result, Setup
from teola.runtime.hosts.service import EngineService

LEAVE_S = 6.0
logger = logging.getLogger(__name__)


def main() -> None:
    """Serve one engine over the inherited socket, then leave."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when we end
    link = _Link(socket.socket(fileno=descriptor))
    setup = link.receive()
    if isinstance(setup, Setup):
        _prepare(setup)
        asyncio.run(_serve(link, setup))
        _clear(setup)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # an engine's leftover threads must not keep a closed process alive


def _prepare(setup: Setup) -> None:
    sys.path[:] = [*setup.paths, *(path for path in sys.path if path not in setup.paths)]
    if setup.cores is not None:
        os.sched_setaffinity(0, setup.cores)


async def _serve(link: _Link, setup: Setup) -> None:
    service = EngineService(setup.factory, setup.config, link.send)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            while isinstance(order := link.receive(), (Call, Cancel)):
                loop.call_soon_threadsafe(service.take, order)
        except Exception:  # noqa: BLE001 - an order that cannot be read: end, and say why
            traceback.print_exc()
        loop.call_soon_threadsafe(ended.set)
        time.sleep(LEAVE_S)  # on this thread the end comes even if the engine blocks the loop
        _clear(setup)
        _end_all()

    threading.Thread(target=read, name="teola-orders", daemon=True).start()
    await ended.wait()
    await service.close()


def _clear(setup: Setup) -> None:
    """Remove the temporary files: there may be no parent any more that would."""
    shutil.rmtree(setup.folder, ignore_errors=True)


def _end_all() -> None:
    """End at once, with every process that the engine has started."""
    if os.getpgrp() == os.getpid():  # a group of our own, as the parent makes it
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


class _Link:
    """The socket, in blocking frames; sending is safe from every thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def receive(self) -> object:
        """The next message; None when the parent has closed its end."""
        try:
            (count,) = COUNT.unpack(self._exactly(COUNT.size))
            lengths = lengths_of(bytes(self._exactly(count * LENGTH.size)))
            return unpack([self._exactly(length) for length in lengths])
        except (EOFError, ConnectionError):
            return None

    def _exactly(self, length: int) -> bytearray:
        block = bytearray(length)
        rest = memoryview(block)
        while rest:
            read = self._connection.recv_into(rest)
            if not read:
                raise EOFError
            rest = rest[read:]
        return block

    def send(self, report: Report) -> None:
        """Send ``report``; what cannot cross is described instead."""
        parts = _packed(report)
        try:
            with self._sending:
                for part in parts:
                    self._connection.sendall(part)
        except ConnectionError:  # the parent is gone: the reading thread ends this process
            logger.debug("nobody takes a report any more")


def _packed(report: Report) -> list[Part]:
    if isinstance(report, Raised):
        report = Raised(report.number, _crossing(report.error))
    try:
        return pack(report)
    except Exception as error:  # pickle raises whatever the object's own code does
        if not isinstance(report, Result):
            raise
        described = EngineCallError(f"a result is no plain data: {error}")
        return pack(Raised(report.number, described))


def _crossing(error: Exception) -> Exception:
    """``error`` if it is Teola's or Python's own and survives pickling, else its description."""
    where = "".join(traceback.format_exception(error))
    error.add_note(f"in the engine's process:\n{where}")
    home = type(error).__module__
    if home == "builtins" or home.startswith("teola."):
        try:
            unpack(pack(error)[1:])
        except Exception:  # noqa: BLE001 - its constructor wants other arguments
            logger.debug("%s does not survive pickling", type(error).__name__)
        else:
            return error
    described = EngineCallError(f"{type(error).__name__}: {error}")
    described.add_note(f"in the engine's process:\n{where}")
    return described


if __name__ == "__main__":
    main()
