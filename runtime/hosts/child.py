"""An engine's process as its parent sees it: started, spoken to, read, and always ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
import tempfile
from collections import deque
from collections.abc import Mapping
from typing import Any

from teola.runtime.hosts.frames import COUNT, LENGTH, lengths_of, pack, unpack

KEPT_LINES = 50
LINE_BYTES = 2000
DRAIN_S = 1.0
GROUP_S, GROUP_TRIES = 2.0, 40


class ChildProcess:
    """``python -m teola.runtime.hosts.worker``: a socket for frames, a pipe for what it prints, a
    folder for temporary files that goes with it."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        output: _Output,
        folder: tempfile.TemporaryDirectory[str],
    ) -> None:
        self._process = process
        self._folder = folder
        self._reader = reader
        self._writer = writer
        self._output = output

    @classmethod
    async def start(cls, environment: Mapping[str, str]) -> ChildProcess:
        """Start the process; it waits for its first frame.

        Raises:
            OSError: it cannot be started.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_unix_connection(sock=ours)
            with contextlib.ExitStack() as unless_started:
                unless_started.callback(writer.close)
                folder = tempfile.TemporaryDirectory(prefix="teola-", ignore_cleanup_errors=True)
                unless_started.callback(folder.cleanup)
                descriptor, pipe = os.pipe()
                with os.fdopen(pipe, "wb", buffering=0):
                    output = await _Output.read(descriptor)
                    unless_started.callback(output.drop)
                    # Last, and nothing is awaited after it: whoever is cancelled leaves none.
                    process = await asyncio.create_subprocess_exec(
                        *(sys.executable, "-X", "faulthandler", "-m", "teola.runtime.hosts.worker"),
                        str(theirs.fileno()),
                        stdin=asyncio.subprocess.DEVNULL,
                        stdout=pipe,
                        stderr=pipe,
                        pass_fds=(theirs.fileno(),),
                        env={**environment, "TMPDIR": folder.name},
                        start_new_session=True,  # Ctrl-C reaches the parent, which closes engines
                    )
                unless_started.pop_all()
        return cls(process, reader, writer, output, folder)

    @property
    def folder(self) -> str:
        """Where its temporary files are."""
        return self._folder.name

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def send(self, message: object) -> None:
        """Send a frame; nothing when the process is gone."""
        if not self._writer.is_closing():
            self._writer.writelines(pack(message))

    async def receive(self) -> Any:
        """The next frame's message.

        Raises:
            asyncio.IncompleteReadError, OSError: the process has closed its end.
        """
        (count,) = COUNT.unpack(await self._reader.readexactly(COUNT.size))
        lengths = lengths_of(await self._reader.readexactly(count * LENGTH.size))
        return unpack([bytearray(await self._reader.readexactly(length)) for length in lengths])

    async def end(self, *, gentle_s: float, terminate_s: float) -> None:
        """Close the socket (the process then closes its engine and exits), wait, and insist.

        When this returns the process is gone and waited for, with all that it has started and its
        temporary files, and every descriptor is closed.
        """
        self._writer.close()
        if not await self._exited(gentle_s):
            self._signal(signal.SIGTERM)
            if not await self._exited(terminate_s):
                self._signal(signal.SIGKILL)
                await self._process.wait()
        await self._end_group()
        self._folder.cleanup()
        with contextlib.suppress(OSError):  # the other end broke: it is closed either way
            await self._writer.wait_closed()
        await self._output.close(DRAIN_S)

    async def _end_group(self) -> None:
        """End what it has left behind, mostly nothing; gently, so that memory is freed that these
        processes share, but for good whoever is cancelled here."""
        with contextlib.suppress(OSError):
            try:
                os.killpg(self._process.pid, signal.SIGTERM)
                for _ in range(GROUP_TRIES):
                    await asyncio.sleep(GROUP_S / GROUP_TRIES)
                    os.killpg(self._process.pid, 0)
            finally:
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _exited(self, limit_s: float) -> bool:
        try:
            await asyncio.wait_for(self._process.wait(), limit_s)
        except TimeoutError:
            return False
        return True

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
            self._process.send_signal(number)

    def obituary(self) -> str:
        """How the process ended."""
        code = self._process.returncode
        if code is not None and code < 0:
            name = signal.Signals(-code).name if -code in _SIGNALS else f"signal {-code}"
            return f"the engine's process was killed by {name}"
        return f"the engine's process ended with status {code}"

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The last lines it printed."""
        return tuple(self._output.lines)


_SIGNALS = frozenset(signal.Signals)


class _Output(asyncio.Protocol):
    """Keeps the last lines of what a process prints."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._rest = b""
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.BaseTransport | None = None

    @classmethod
    async def read(cls, descriptor: int) -> _Output:
        pipe = os.fdopen(descriptor, "rb", buffering=0)
        _, output = await asyncio.get_running_loop().connect_read_pipe(cls, pipe)
        return output

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *complete, rest = re.split(rb"[\r\n]+", self._rest + data)
        self._rest = rest[-LINE_BYTES:]
        self._keep(complete)

    def connection_lost(self, _error: Exception | None) -> None:
        self._keep([self._rest])
        if not self._ended.done():
            self._ended.set_result(None)

    def _keep(self, lines: list[bytes]) -> None:
        texts = (line[:LINE_BYTES].decode(errors="replace").rstrip() for line in lines)
        self.lines.extend(text for text in texts if text)

    async def close(self, limit_s: float) -> None:
        """Read what is left; a process of the process may hold the pipe open for longer."""
        await asyncio.wait([self._ended], timeout=limit_s)
        self.drop()
        await self._ended

    def drop(self) -> None:
        """Read no more."""
        if self._transport is not None:
            self._transport.close()
