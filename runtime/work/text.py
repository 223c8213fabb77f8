"""Work that is an LLM call: its prompt is made tokens and sent, what comes back goes to its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from teola.compiler.graph.pgraph import INPUTS, Primitive, Ref
from teola.runtime.engines.protocol import Grammar, TokenEvent
from teola.runtime.engines.tokenizer import Tokenizer
from teola.runtime.errors import ModuleError
from teola.runtime.instance.generate import GenerateRun
from teola.runtime.instance.standing import rank_of
from teola.runtime.llm.task import LLMTask
from teola.runtime.pool_engine import PooledEngine
from teola.runtime.work.beside import beside
from teola.runtime.work.prompt import Prompt, Rendered
from teola.runtime.work.sampling import adapter_of, sampling_of, settings_of
from teola.runtime.work.scheduler import Scheduler

LIKELIEST = 20
"""Tokens of a step whose probabilities are asked for: servers tell no more."""


def run_text(scheduler: Scheduler, run: GenerateRun, inputs: dict[str, Any]) -> None:
    """Queue the call on its LLM; a long prompt is rendered beside the loop first."""
    engine, head = run.home, run.prepared.head
    if engine is None or head is None:
        raise ModuleError(run.prepared.place, "its engine is not declared")
    prompt = _prompt(run, head, engine)
    texts = _texts(head, inputs)
    found = prompt.at_once(inputs)
    if found is not None:
        _queue(scheduler, run, engine, head, inputs, 0.0, found)
        run.text_tokens = prompt.tokens_of(texts)
        return
    began_s = scheduler.loop.time()

    def rendered(made: tuple[Rendered, dict[str, int]]) -> None:
        found, run.text_tokens = made
        spent_s = scheduler.loop.time() - began_s
        _queue(scheduler, run, engine, head, inputs, spent_s, found)

    beside(scheduler, run, lambda: (prompt.fitted(inputs), prompt.tokens_of(texts)), rendered)


def _texts(head: Primitive, inputs: Mapping[str, Any]) -> dict[str, str]:
    """The texts of a prompt that are inputs of the workflow."""
    given = {
        name
        for name, operand in head.inputs.items()
        if isinstance(operand, Ref) and operand.node == INPUTS and not operand.fields
    }
    return {name: inputs[name] for name in given if isinstance(inputs.get(name), str)}


def _prompt(run: GenerateRun, head: Primitive, engine: PooledEngine) -> Prompt:
    limits = [engine.capabilities.context, engine.capabilities.kv_tokens]
    truncate = head.config.get("truncate")
    entries: Any = head.config.get("messages") or ()
    return Prompt(
        run.prepared.place,
        entries,
        engine.tokenizer(),
        min((limit for limit in limits if limit), default=0),
        _max_tokens(head),
        truncate if isinstance(truncate, str) else None,
    )


def _queue(
    scheduler: Scheduler,
    run: GenerateRun,
    engine: PooledEngine,
    head: Primitive,
    inputs: dict[str, Any],
    spent_s: float,
    prompt: Rendered,
) -> None:
    run.prompt_tokens = run.item_count = len(prompt.tokens)
    work = _TextWork(scheduler, run, engine.tokenizer(), inputs)
    work.attempt()
    if run.over:
        return
    task = LLMTask(
        prompt.tokens,
        _max_tokens(head),
        bool(settings_of(head).get("ignore_eos", False)),
        run.prepared.place,
        run.prepared.limits,
        work,
        adapter_of(head),
    )
    task.spent_s, task.origin, task.rank = spent_s, run, rank_of(run)
    task.sampling = sampling_of(run, settings_of(head), scheduler.seed)
    if run.weighed:
        task.sampling = replace(task.sampling, logprobs=LIKELIEST)
    task.grammar = _grammar(run, engine)
    if not engine.capabilities.takes_tokens:
        task.messages = prompt.messages
    run.tasks += (task,)
    run.stop = task.cancel
    engine.calls.submit(task)


def _grammar(run: GenerateRun, engine: PooledEngine) -> Grammar | None:
    """What holds the answer to its shape, where the engine can do that."""
    grammar = run.shape.grammar
    if grammar is None:
        return None
    name = "choices" if grammar.json_schema is None else "json_schema"
    return grammar if name in engine.capabilities.grammars else None


def _max_tokens(head: Primitive) -> int:
    return int(settings_of(head).get("max_tokens", 256))


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
        for cell in self.run.cells.values():
            if cell.items:
                cell.items.clear()
        self.run.delivered = 0
        self.run.open(self.tokenizer, self.inputs)

    def started(self) -> None:
        """The engine has the call."""
        self.run.started_s = self.scheduler.loop.time()

    def event(self, event: TokenEvent) -> None:
        """New tokens or text, and how the call ended."""
        self.scheduler.ready(
            partial(self.scheduler.guarded, self.run, partial(self.run.event, event))
        )

    def left(self) -> bool:
        """Whether text or items have reached the caller or a later step."""
        cells = self.run.cells
        read = cells["text"].text_read or any(cell.on_growth for cell in cells.values())
        return self.run.delivered > 0 and read

    def failed(self, error: ModuleError) -> None:
        """The call failed for good."""
        self.run.fail(error)
