"""Work that is an LLM call: its prompt is made tokens and sent, what comes back goes to its run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from teola.compiler.graph.pgraph import INPUTS, Primitive, Ref
from teola.runtime.engines.protocol import Capabilities, Grammar, TokenEvent
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


class CallSettings(NamedTuple):
    """What the plan says of the calls of a primitive: ``texts`` are the inputs of its prompt that
    are texts of the workflow's inputs; ``capabilities`` are those of the engine that it holds for.
    """

    prompt: Prompt
    texts: tuple[str, ...]
    settings: Mapping[str, Any]
    adapter: str | None
    ignore_eos: bool
    capabilities: Capabilities

    @classmethod
    def of(cls, run: GenerateRun, head: Primitive, engine: PooledEngine) -> CallSettings:
        """Of a run's primitive; its engine is ready."""
        settings, truncate = settings_of(head), head.config.get("truncate")
        limits = [engine.capabilities.context, engine.capabilities.kv_tokens]
        entries: Any = head.config.get("messages") or ()
        prompt = Prompt(
            run.prepared.place,
            entries,
            engine.tokenizer(),
            min((limit for limit in limits if limit), default=0),
            int(settings.get("max_tokens", 256)),
            truncate if isinstance(truncate, str) else None,
        )
        texts = [
            name
            for name, operand in head.inputs.items()
            if isinstance(operand, Ref) and operand.node == INPUTS and not operand.fields
        ]
        ignore_eos = bool(settings.get("ignore_eos", False))
        return cls(
            prompt,
            tuple(texts),
            settings,
            adapter_of(head),
            ignore_eos,
            engine.capabilities,
        )


def run_text(scheduler: Scheduler, run: GenerateRun, inputs: dict[str, Any]) -> None:
    """Queue the call on its LLM; a long prompt is rendered beside the loop first."""
    call = _call(scheduler, run)
    prompt = call.prompt
    texts = {name: inputs[name] for name in call.texts if isinstance(inputs.get(name), str)}
    found = prompt.at_once(inputs)
    if found is not None:
        _queue(scheduler, run, call, inputs, 0.0, found)
        run.text_tokens = prompt.tokens_of(texts)
        return
    began_s = scheduler.loop.time()

    def rendered(made: tuple[Rendered, dict[str, int]]) -> None:
        found, run.text_tokens = made
        spent_s = scheduler.loop.time() - began_s
        _queue(scheduler, run, call, inputs, spent_s, found)

    beside(scheduler, run, lambda: (prompt.fitted(inputs), prompt.tokens_of(texts)), rendered)


def _call(scheduler: Scheduler, run: GenerateRun) -> CallSettings:
    engine, found = _engine(run), scheduler.calls.get(run.prepared.id)
    if found is None or found.capabilities is not engine.capabilities:  # it has started again
        head = run.prepared.head
        if head is None:
            raise ModuleError(run.prepared.place, "it has no prompt")
        found = scheduler.calls[run.prepared.id] = CallSettings.of(run, head, engine)
    return found


def _engine(run: GenerateRun) -> PooledEngine:
    if run.home is None:
        raise ModuleError(run.prepared.place, "its engine is not declared")
    return run.home


def _queue(
    scheduler: Scheduler,
    run: GenerateRun,
    call: CallSettings,
    inputs: dict[str, Any],
    spent_s: float,
    prompt: Rendered,
) -> None:
    engine = _engine(run)
    run.prompt_tokens = run.item_count = len(prompt.tokens)
    work = _TextWork(scheduler, run, call.prompt.tokenizer, inputs)
    work.attempt()
    if run.over:
        return
    task = LLMTask(
        prompt.tokens,
        call.prompt.max_tokens,
        call.ignore_eos,
        run.prepared.place,
        run.prepared.limits,
        work,
        call.adapter,
    )
    task.spent_s, task.origin, task.rank = spent_s, run, rank_of(run)
    task.sampling = sampling_of(run, call.settings, scheduler.seed)
    if run.weighed:
        task.sampling = task.sampling._replace(logprobs=LIKELIEST)
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
