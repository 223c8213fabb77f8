"""Work that is an LLM call: the prompt rendered, made tokens, checked for length, and sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from teola.compiler.graph.pgraph import Primitive
from teola.compiler.prompts import render_messages
from teola.runtime.engines.tokenizer import Tokenizer
from teola.runtime.errors import ModuleError
from teola.runtime.instance.generate import GenerateRun
from teola.runtime.llm_scheduler import LLMTask
from teola.runtime.pool_engine import PooledEngine
from teola.runtime.task import Limits
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
    run.prompt_tokens = len(prompt)
    run.item_count = len(prompt)

    def attempt() -> None:
        run.cells["text"].text = ""
        if run.cells["lines"].items:
            run.cells["lines"].items.clear()
        run.delivered = 0
        run.open(tokenizer.detokenizer(), inputs)

    def tokens(new: Sequence[int], finish_reason: str | None) -> None:
        scheduler.ready(lambda: scheduler.guarded(run, lambda: run.tokens(new, finish_reason)))

    attempt()
    if run.over:
        return
    task = LLMTask(
        prompt,
        max_tokens,
        bool(sampling.get("ignore_eos", False)),
        run.prepared.place,
        Limits.of(run.prepared.node.config),
        on_tokens=tokens,
        on_fail=run.fail,
        on_attempt=attempt,
        left=lambda: _left(run),
        on_start=lambda: _started(scheduler, run),
    )
    run.tasks.append(task)
    run.stop = task.cancel
    engine.calls.submit(task)


def _started(scheduler: Scheduler, run: GenerateRun) -> None:
    run.started_s = scheduler.loop.time()


def _left(run: GenerateRun) -> bool:
    """Whether text or items have reached the caller or a later step."""
    lines = run.cells["lines"]
    read = bool(run.cells["text"].on_text) or bool(lines.on_growth)
    return run.delivered > 0 and read


def abort_text(run: GenerateRun) -> None:
    """Nobody wants the text any more."""
    run.stop = None


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
