"""The probe of ``chunk``, which runs on no engine but counts with the tokenizer of one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from teola.runtime.engines.tokenizer import Tokenizer
from teola.runtime.instance.context import TaskContext
from teola.runtime.operations import CPU
from teola.runtime.profiling.probe import Probe, Sample, sample
from teola.runtime.profiling.texts import Texts

MAX_DOCUMENTS = 16


class Chunk(Probe):
    """Documents cut as a workflow asks; ``limit`` is the size where it leaves that to the model."""

    max_items = MAX_DOCUMENTS
    usual = 2048
    lengths = (512, 8192)

    def __init__(self, config: Mapping[str, Any], tokenizer: Tokenizer, limit: int) -> None:
        self.config = dict(config)
        self.texts = Texts(tokenizer)
        self.context = TaskContext(
            self.config, tokenizer=lambda _: tokenizer, text_limit=lambda _: limit
        )

    async def run(self, items: int, tokens: int) -> Sample:
        made = [self.texts.text(tokens) for _ in range(items)]
        documents = [{"name": str(n), "text": text} for n, (text, _) in enumerate(made)]
        inputs = {"documents": documents}
        operation = CPU["chunk"]
        loop = asyncio.get_running_loop()
        began = loop.time()
        if operation.heavy(inputs):
            await loop.run_in_executor(None, operation.compute, inputs, self.config, self.context)
        else:
            operation.compute(inputs, self.config, self.context)
        return sample(loop.time() - began, sum(count for _, count in made) / items)
