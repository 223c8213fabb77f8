"""An engine for the tests of hosts: it does what its items say."""

import asyncio
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

from teola.runtime.engines.protocol import Capabilities, TokenEvent
from teola.runtime.errors import InputError
from teola.runtime.hosts.errors import EngineDied


class ForeignError(Exception):
    """An error of a class that the parent need not know; it cannot be unpickled either."""

    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")


class EchoEngine:
    """Batch engine and LLM in one. ``run`` obeys the operation of its only request."""

    def __init__(self, config):
        self.config = config
        self.waiting = 0
        self.cancelled = 0
        self.emit = None

    def listen(self, emit):
        self.emit = emit

    async def start(self):
        print("the engine is starting")
        match self.config.get("start"):
            case "missing package":
                import a_package_nobody_has  # noqa: F401 - it is the point that it is missing
            case "value error":
                raise ValueError("weights of the wrong shape")
            case "exit":
                print("CUDA driver too old", file=sys.stderr)
                os._exit(3)
            case "die":
                print("its core ran out of memory", file=sys.stderr, flush=True)
                raise EngineDied("the core has ended")
            case "never":
                await asyncio.Event().wait()
        return Capabilities(max_items=7, details=self.about())

    def about(self):
        names = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "HF_HUB_OFFLINE", "TOKENIZERS_PARALLELISM")
        return {
            "pid": os.getpid(),
            "session": os.getsid(0),
            "thread": threading.get_ident(),
            "environment": {name: os.environ.get(name) for name in names},
            "cores": sorted(os.sched_getaffinity(0)),
        }

    async def close(self):
        if self.config.get("close") == "hang":
            threading.Event().wait()
        if self.config.get("close") == "fail":
            raise ValueError("it does not close")

    async def run(self, batch):
        (request,) = batch
        return [await getattr(self, request.operation)(list(request.items))]

    async def echo(self, items):
        return items

    async def double(self, items):
        return [item * 2 for item in items]

    async def wait(self, items):
        self.waiting += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def raise_python(self, items):
        raise ValueError(f"no good: {items}")

    async def raise_ours(self, items):
        raise InputError("no good either")

    async def raise_foreign(self, items):
        raise ForeignError(7, "strange")

    async def unpicklable(self, items):
        return [threading.Lock() for _ in items]

    async def die(self, items):
        raise EngineDied("out of life")

    async def kill(self, items):
        print("about to be killed", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    async def start_process(self, items):
        command = (sys.executable, "-c", "import signal; signal.pause()")
        return [(await asyncio.create_subprocess_exec(*command)).pid for _ in items]

    async def leave_file(self, items):
        for name in items:
            (Path(tempfile.gettempdir()) / name).write_text("left")
        return [tempfile.gettempdir() for _ in items]

    async def block(self, items):
        for begun in items:
            begun.set()
        threading.Event().wait()

    async def control(self, command, arguments):
        return {"waiting": self.waiting, "cancelled": self.cancelled, **arguments}

    async def submit(self, requests):
        for step in range(3):
            self.emit([TokenEvent(request.id, [step]) for request in requests])
        self.emit([TokenEvent(request.id, [], finish_reason="stop") for request in requests])

    async def abort(self, ids):
        self.emit([TokenEvent(name, [99]) for name in ids])
