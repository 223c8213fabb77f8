"""One replica of an LLM in an estimate: a machine that batches continuously."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


class LlmMachine:
    """A step takes prompt tokens up to its budget, requests before warm-ups, and one token of every
    sequence that decodes. It costs the prefill of the chunks (its base once, where a prompt
    begins), or a decode step's base if that is more (the weights are read once for both), and what
    the sequences that decode add to that base. A prefill gives the first token. Steps
    without prompts are taken together, up to the next event.

    ``held`` are the KV tokens of calls from when they are sent to their last token, ``prompts``
    the tokens of calls and warm-ups that are sent and have no first token yet. ``ended`` is called
    with each task that ends.
    """

    def __init__(
        self,
        simulation: Simulation,
        settings: Mapping[str, Json],
        prefill: Entry,
        decode: Entry,
        ended: Callable[[int], None],
    ) -> None:
        self.simulation, self.prefill, self.decode = simulation, prefill, decode
        self.ended = ended
        self.most = most_requests(settings)
        self.kv = _kv_tokens(settings)
        self.budget = prompt_budget(settings)
        self.held: dict[int, int] = {}
        self.prompts: dict[int, int] = {}
        self.sent: list[int] = []
        self.filling: dict[int, int] = {}
        self.begun: set[int] = set()
        self.decoding: dict[int, int] = {}
        self.contexts: dict[int, float] = {}
        self.step: _Step | None = None
        self.last: int | None = None
        self.busy_ms = 0.0

    def fits(self, tokens: int) -> bool:
        """Whether a call of so many tokens can be sent now."""
        if not self.held:
            return True
        free = self.kv is None or sum(self.held.values()) + tokens <= self.kv
        return free and (self.most is None or len(self.held) < self.most)

    def tokens_until_done(self, prompt: int, new: int) -> int:
        """The tokens it computes until a call that is sent now is through: the prompts before it,
        its own, and one of every other call with each of its own (as the runtime counts)."""
        running = len(self.held.keys() | self.prompts.keys())
        return sum(self.prompts.values()) + prompt + running * new

    def send(self, task: int, prompt: int, held: int | None) -> None:
        """A call, or a warm-up (which counts as holding nothing), begins with the next step."""
        self.prompts[task] = max(1, prompt)
        if held is not None:
            self.held[task] = held
        self.sent.append(task)
        self._interrupt()

    def go_on(self, decode: int, steps: int, context: float) -> None:
        """A call decodes so many steps, with so many tokens of context on average."""
        self.simulation.begin(decode, None)
        self.contexts[decode] = context
        if steps > 0:
            self.decoding[decode] = steps
        else:
            self.ended(decode)

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
        """Begin the next step, if none runs and there is something to do."""
        if self.step is not None:
            return
        for task in self.sent:
            self.filling[task] = self.prompts[task]
            self.simulation.begin(task, self.last)
        self.sent = []
        if self.filling:
            self._fill()
        elif self.decoding:
            ms = self._decode_ms()
            steps = min(self.decoding.values())
            self._run(_Step(self.simulation.now, ms, steps, (), tuple(self.decoding)))

    def _decode_ms(self) -> float:
        """One step of the sequences that decode."""
        added = sum(self.decode.added_ms(self.contexts[one]) for one in self.decoding)
        return self.decode.batch_ms(len(self.decoding), added)

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
                cost += self.prefill.added_ms(self.prompts[task]) * count / self.prompts[task]
            room -= count
        fresh = {task for task, _ in chunks} - self.begun
        self.begun |= fresh
        cost = self.prefill.scale(len(chunks)) * (cost + (self.prefill.base_ms if fresh else 0))
        if self.decoding:
            base = self.decode.base_ms
            cost = max(cost, base) + max(0.0, self._decode_ms() - base)
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
                del self.decoding[task], self.contexts[task]
                ended.append(task)
        for task, count in step.chunks:
            self.filling[task] -= count
            if not self.filling[task]:
                del self.filling[task], self.prompts[task]
                ended.append(task)
        self.last = (ended or [*step.decoding, *(task for task, _ in step.chunks)])[0]
        for task in ended:
            self.ended(task)


def prompt_budget(settings: Mapping[str, Json]) -> int:
    """Prompt tokens of one step at most."""
    budget = settings.get("batch_tokens") or settings.get("max_num_batched_tokens")
    return budget if isinstance(budget, int) and budget > 0 else STEP_TOKENS


def _kv_tokens(settings: Mapping[str, Json]) -> int | None:
    """Tokens of KV that an LLM holds, where its settings say so."""
    tokens, pages, size = (
        settings.get(name) for name in ("kv_tokens", "kv_pages", "kv_page_tokens")
    )
    if isinstance(tokens, int):
        return tokens
    return pages * size if isinstance(pages, int) and isinstance(size, int) else None
