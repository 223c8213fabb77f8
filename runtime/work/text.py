"""Work that is an LLM call: the prompt rendered, made tokens, checked for length, and sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from teola.compiler.graph.pgraph import Primitive
from teola.compiler.prompts import render_messages
from teola.runtime.engines.tokenizer import Tokenizer
from teola.runtime.errors import ModuleError
from teola.runtime.instance.generate import GenerateRun
from teola.runtime.llm_task import LLMTask
from teola.runtime.pool_engine import PooledEngine
from teola.runtime.work.scheduler import Scheduler


def run_text(scheduler: Scheduler, run: GenerateRun, inputs: dict[str, Any]) -> None:
    """Queue the call on its LLM."""
    engine, head = run.home, run.prepared.head
    if engine is None or head is None:
        raise ModuleError(run.prepared.place, "its engine is not declared")
    tokenizer = engine.tokenizer()
    sampling = _mapping(head.config.get("sampling"))
    max_tokens = int(sampling.get("max_tokens", 256))
    prompt = _prompt(run, head, inputs, tokenizer, engine, max_tokens)
    run.prompt_tokens = run.item_count = len(prompt)
    work = _TextWork(scheduler, run, tokenizer, inputs)
    work.attempt()
    if run.over:
        return
    task = LLMTask(
        prompt,
        max_tokens,
        bool(sampling.get("ignore_eos", False)),
        run.prepared.place,
        run.prepared.limits,
        work,
    )
    run.tasks += (task,)
    run.stop = task.cancel
    engine.calls.submit(task)


class _TextWork:
    """One call on its way: what its task tells goes to the run."""

    __slots__ = ("inputs", "run", "scheduler", "tokenizer")

    def __init__(
        self,
        scheduler: Scheduler,
        run: GenerateRun,
        tokenizer: Tokenizer,
        inputs: dict[str, Any],
    ) -> None:
        self.scheduler, self.run, self.tokenizer, self.inputs = scheduler, run, tokenizer, inputs

    def attempt(self) -> None:
        """A (new) attempt begins: what an earlier one gave is forgotten."""
        self.run.cells["text"].forget_text()
        if self.run.cells["lines"].items:
            self.run.cells["lines"].items.clear()
        self.run.delivered = 0
        self.run.open(self.tokenizer.detokenizer(), self.inputs)

    def started(self) -> None:
        """The engine has the call."""
        self.run.started_s = self.scheduler.loop.time()

    def tokens(self, new: Sequence[int], finish_reason: str | None) -> None:
        """New tokens, and how the call ended."""
        self.scheduler.ready(partial(self._tokens, new, finish_reason))

    def _tokens(self, new: Sequence[int], finish_reason: str | None) -> None:
        self.scheduler.guarded(self.run, partial(self.run.tokens, new, finish_reason))

    def left(self) -> bool:
        """Whether text or items have reached the caller or a later step."""
        cells = self.run.cells
        return self.run.delivered > 0 and bool(cells["text"].text_read or cells["lines"].on_growth)

    def failed(self, error: ModuleError) -> None:
        """The call failed for good."""
        self.run.fail(error)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _prompt(
    run: GenerateRun,
    head: Primitive,
    inputs: dict[str, Any],
    tokenizer: Tokenizer,
    engine: PooledEngine,
    max_tokens: int,
) -> Sequence[int]:
    """The tokens of the prompt; items of the input named by ``truncate`` are dropped from its end
    until prompt and answer fit the model's context and the engine's KV."""
    limits = [engine.capabilities.context, engine.capabilities.kv_tokens]
    room = min(limit for limit in limits if limit) if any(limits) else 0
    entries: Any = head.config.get("messages") or ()
    tokens = tokenizer.encode_chat(render_messages(entries, inputs))
    name = head.config.get("truncate")
    while room and len(tokens) + max_tokens > room:
        items = inputs.get(name) if isinstance(name, str) else None
        if not isinstance(items, list) or not items:
            raise ModuleError(
                run.prepared.place,
                f"prompt-too-long: the prompt has {len(tokens)} tokens, the model has room for "
                f"{room - max_tokens} ({room} less max_tokens {max_tokens}); shorten the inputs, "
                "or name the input to cut with `truncate:`",
                "item",
            )
        inputs = {**inputs, str(name): items[:-1]}
        tokens = tokenizer.encode_chat(render_messages(entries, inputs))
    return tokens
