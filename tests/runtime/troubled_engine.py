"""An engine for tests of real hosts: its items say what goes wrong."""

import asyncio
import os
import signal
import threading

from teola.runtime.engines.fakes.embedder import FakeEmbedder
from teola.runtime.engines.fakes.llm import FakeLLM
from teola.runtime.engines.tokenizer import ByteTokenizer


class OutOfMemoryError(RuntimeError):
    """As a GPU library's: of a class that the parent does not know."""


class TroubledEmbedder(FakeEmbedder):
    """A fake embedder that obeys the first word of an item."""

    async def run(self, batch):
        texts = [text for request in batch for text in request.items]
        for trouble in (text.partition(" ")[0] for text in texts):
            if trouble == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if trouble == "block":
                threading.Event().wait()
            if trouble == "raise":
                raise OverflowError("no good")
            if trouble == "memory" and len(texts) > 1:
                raise OutOfMemoryError("CUDA out of memory")
        return await super().run(batch)


class LeakyLLM(FakeLLM):
    """A fake LLM that never answers when a request is taken back, and keeps it."""

    async def abort(self, ids):
        await asyncio.Event().wait()


class TroubledLLM(FakeLLM):
    """A fake LLM that sticks at a prompt which says so: it makes no more steps and does not close,
    and answers what it is asked."""

    stuck = False

    async def submit(self, requests):
        prompts = [ByteTokenizer().decode(request.tokens) for request in requests]
        self.stuck = self.stuck or any("stick" in text for text in prompts)
        await super().submit(requests)

    def _plan(self):
        if not self.stuck:
            super()._plan()

    async def close(self):
        while self.stuck:
            await asyncio.Event().wait()
        await super().close()
