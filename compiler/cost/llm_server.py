"""An LLM in an estimate: a server that batches continuously."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from teola.compiler.cost.profile import Entry
from teola.compiler.cost.servers import EPSILON, Simulation, most_requests
from teola.compiler.graph.pgraph import Json

STEP_TOKENS = 1024
"""Prompt tokens that an LLM takes in one step, where its settings do not say (``batch_tokens``)."""


@dataclass(slots=True)
class _Step:
    """What an LLM does now: ``steps`` decode steps, or one step with chunks of prompts."""

    began: float
    ms: float
    steps: int
    chunks: Sequence[tuple[int, int]]
    decoding: tuple[int, ...]
    valid: bool = True


class LlmServer:
    """An LLM that batches continuously: a step takes prompt tokens up to its budget, requests
    before warm-ups, and one token of every sequence that decodes. It costs the prefill of the
    chunks (its base once, where a prompt begins), or a decode step's base if that is more (the
    weights are read once for both), and a decode step's items. A prefill gives the first token.
    Warm-ups are admitted one at a time and where no request waits; one that is still queued when
    its call comes is dropped, one that runs is waited for, and what a finished one prefilled is
    saved. Steps without prompts are taken together, up to the next event.
    """

    def __init__(
        self,
        simulation: Simulation,
        settings: Mapping[str, Json],
        prefill: Entry,
        decode: Entry,
        calls: Mapping[int, tuple[int, int]],
    ) -> None:
        self.simulation, self.prefill, self.decode, self.calls = (
            simulation,
            prefill,
            decode,
            calls,
        )
        self.most = most_requests(settings)
        self.kv = _kv_tokens(settings)
        self.budget = prompt_budget(settings)
        self.waiting: deque[int] = deque()
        self.hints: list[int] = []
        self.filling: dict[int, int] = {}
        self.begun: set[int] = set()
        self.decoding: dict[int, int] = {}
        self.held: dict[int, int] = {}
        self.owner = {last: call for call, (last, _) in calls.items()}
        self.warmed: set[int] = set()
        self.dropped: set[int] = set()
        self.followers: dict[int, list[int]] = {}
        self.step: _Step | None = None
        self.last: int | None = None
        self.busy_ms = 0.0
        self.numbers = {task.id: number for number, task in enumerate(simulation.tasks)}

    def add(self, task: int) -> None:
        about = self.simulation.tasks[task]
        if about.form == "decode":
            self._decode(task)
            return
        if about.form == "hint" and task in self.dropped:
            self._drop(task)
            return
        warm_ups = [self.numbers[name] for name in about.warmed_by]
        running = [one for one in warm_ups if one in self.filling]
        for one in warm_ups:
            if one not in self.warmed and one not in running and one not in self.dropped:
                self._replace(one)
        if running and about.form == "prefill":
            self.followers.setdefault(running[-1], []).append(task)
            return
        (self.waiting if about.form == "prefill" else self.hints).append(task)
        self._interrupt()

    def _replace(self, hint: int) -> None:
        """A warm-up is not needed any more, whether it is queued or not yet."""
        self.dropped.add(hint)
        if hint in self.hints:
            self.hints.remove(hint)
            self._drop(hint)

    def _drop(self, hint: int) -> None:
        self.simulation.begin(hint, None)
        self.simulation.finish(hint)

    def _decode(self, task: int) -> None:
        about = self.simulation.tasks[task]
        self.simulation.begin(task, None)
        steps = about.tokens - (about.first == 0)
        if steps > 0:
            self.decoding[task] = steps
        else:
            self._finish(task)

    def _finish(self, task: int) -> None:
        if (call := self.owner.get(task)) is not None:
            del self.held[call]
        self.simulation.finish(task)

    def _interrupt(self) -> None:
        """Something came while only decoding goes on: it is looked at when the step ends."""
        step = self.step
        if step is None or step.chunks or step.steps <= 1:
            return
        passed = self.simulation.now - step.began
        done = min(step.steps, ceil(passed / step.ms - EPSILON)) if step.ms else step.steps
        if done < step.steps:
            step.valid = False
            self._run(_Step(step.began, step.ms, done, (), step.decoding))

    def start(self) -> None:
        if self.step is not None:
            return
        self._admit()
        if self.filling:
            self._fill()
        elif self.decoding:
            ms = self.decode.latency_ms(len(self.decoding))
            steps = min(self.decoding.values())
            self._run(_Step(self.simulation.now, ms, steps, (), tuple(self.decoding)))

    def _admit(self) -> None:
        while self.waiting and self._fits(self.waiting[0]):
            call = self.waiting.popleft()
            self.held[call] = self.calls[call][1]
            self._begin(call)
        if not self.waiting and not self.filling and self.hints:
            self._begin(self.hints.pop(0))

    def _fits(self, call: int) -> bool:
        if not self.held:
            return True
        free = self.kv is None or sum(self.held.values()) + self.calls[call][1] <= self.kv
        return free and (self.most is None or len(self.held) < self.most)

    def _begin(self, task: int) -> None:
        about = self.simulation.tasks[task]
        saved = max((self._prefix(name) for name in about.warmed_by), default=0)
        self.filling[task] = max(1, about.tokens - saved)
        self.simulation.begin(task, self.last)

    def _prefix(self, name: str) -> int:
        hint = self.numbers[name]
        return self.simulation.tasks[hint].tokens if hint in self.warmed else 0

    def _fill(self) -> None:
        """One step with chunks of the prompts that are being filled, requests first."""
        room = self.budget
        chunks = []
        cost = 0.0
        order = sorted(self.filling, key=lambda one: self.simulation.tasks[one].form == "hint")
        for task in order:
            count = min(room, self.filling[task])
            if count:
                chunks.append((task, count))
                cost += count * self.prefill.token_ms
            room -= count
        fresh = {task for task, _ in chunks} - self.begun
        self.begun |= fresh
        cost += len(fresh) * self.prefill.item_ms + (self.prefill.base_ms if fresh else 0)
        if self.decoding:
            cost = max(cost, self.decode.base_ms) + len(self.decoding) * self.decode.item_ms
        self._run(_Step(self.simulation.now, cost, 1, chunks, tuple(self.decoding)))

    def _run(self, step: _Step) -> None:
        self.step = step
        self.simulation.at(step.began + step.ms * step.steps, lambda: self._end(step))

    def _end(self, step: _Step) -> None:
        if not step.valid:
            return
        self.step = None
        self.busy_ms += step.ms * step.steps
        ended = []
        for task in step.decoding:
            self.decoding[task] -= step.steps
            if not self.decoding[task]:
                del self.decoding[task]
                ended.append(task)
        for task, count in step.chunks:
            self.filling[task] -= count
            if not self.filling[task]:
                del self.filling[task]
                ended.append(task)
        self.last = (ended or [*step.decoding, *(task for task, _ in step.chunks)])[0]
        for task in ended:
            if self.simulation.tasks[task].form == "hint":
                self.warmed.add(task)
                self.waiting.extend(self.followers.pop(task, ()))
            self._finish(task)


def prompt_budget(settings: Mapping[str, Json]) -> int:
    """Prompt tokens of one step at most."""
    budget = settings.get("batch_tokens")
    return budget if isinstance(budget, int) and budget > 0 else STEP_TOKENS


def _kv_tokens(settings: Mapping[str, Json]) -> int | None:
    """Tokens of KV that an LLM holds, where its settings say so."""
    tokens, pages, size = (
        settings.get(name) for name in ("kv_tokens", "kv_pages", "kv_page_tokens")
    )
    if isinstance(tokens, int):
        return tokens
    return pages * size if isinstance(pages, int) and isinstance(size, int) else None
