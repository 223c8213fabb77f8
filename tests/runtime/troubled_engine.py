"""An engine for tests of real hosts: its items say what goes wrong."""

import os
import signal
import threading

from teola.runtime.engines.fakes.embedder import FakeEmbedder


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
