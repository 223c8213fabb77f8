"""The prompts of LLM calls, and what warm-ups said they would begin with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias
from unittest import mock

from teola.runtime import Runner
from teola.runtime.llm.scheduler import LLMScheduler

Tokens: TypeAlias = tuple[int, ...]


class Prompts:
    """By runner and call (the id of its prefill): the prompts that were ``made``, and what of them
    was known before (``begun``)."""

    def __init__(self) -> None:
        self.made: dict[tuple[Any, str], list[Tokens]] = defaultdict(list)
        self.begun: dict[tuple[Any, str], list[Tokens]] = defaultdict(list)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Listen to what is given to the schedulers of LLMs."""
        submit, warm = LLMScheduler.submit, LLMScheduler.warm

        def submitted(scheduler: LLMScheduler, task: Any) -> None:
            run = task.call.run
            self.made[run.executor, run.prepared.head.id].append(tuple(task.prompt))
            submit(scheduler, task)

        def warmed(scheduler: LLMScheduler, run: Any, prompt: Any, *rest: Any) -> None:
            self.begun[run.executor, run.prepared.target.id].append(tuple(prompt))
            warm(scheduler, run, prompt, *rest)

        with mock.patch.multiple(LLMScheduler, submit=submitted, warm=warmed):
            yield

    def of(self, runner: Runner) -> dict[str, list[Tokens]]:
        """The prompts of a runner's calls, by call, in no order."""
        return {call: sorted(found) for (by, call), found in self.made.items() if by is _of(runner)}

    def stray(self, runner: Runner) -> Iterator[tuple[str, Tokens]]:
        """What a runner has begun of a call that it made, though no prompt of that call begins so.
        What it shares with another runner, that one has made."""
        for (by, call), found in self.begun.items():
            if by is not _of(runner) or (by, call) not in self.made:
                continue
            made = [
                tokens for (_, one), every in self.made.items() if one == call for tokens in every
            ]
            for tokens in found:
                if not any(prompt[: len(tokens)] == tokens for prompt in made):
                    yield call, tokens


def _of(runner: Runner) -> Any:
    return runner._scheduler
