"""An LLM in an estimate: calls wait here, and are sent to replicas (``llm_machine``)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from teola.compiler.cost.llm_machine import LlmMachine
from teola.compiler.cost.servers import Simulation


@dataclass(frozen=True, slots=True)
class Call:
    """Its last task, the tokens of its answer, and those of prompt and answer."""

    last: int
    new: int
    tokens: int


class LlmServer:
    """Calls are sent in order of arrival, each to the replica that will be through with it first
    (of equals, to the one that holds least); what fits nowhere waits.

    ``call_of`` is the call of each of its tasks, ``make`` makes a replica that is given ``ended``.

    Warm-ups are sent where no call waits, to a replica that computes no prompt. One that is still
    queued when its call comes is dropped; one that is being computed where its call goes is waited
    for, and what a finished one computed is saved there.
    """

    def __init__(
        self,
        simulation: Simulation,
        calls: Mapping[int, Call],
        call_of: Mapping[int, int],
        contexts: Mapping[int, float],
        make: Callable[[Callable[[int], None]], LlmMachine],
        replicas: int,
    ) -> None:
        self.simulation, self.calls, self.call_of = simulation, calls, call_of
        self.contexts = contexts
        self.machines = [make(self.ended) for _ in range(replicas)]
        self.waiting: deque[int] = deque()
        self.hints: list[int] = []
        self.home: dict[int, LlmMachine] = {}
        self.dropped: set[int] = set()
        self.followers: dict[int, list[int]] = {}
        self.numbers = {task.id: number for number, task in enumerate(simulation.tasks)}

    @property
    def busy_ms(self) -> float:
        return sum(machine.busy_ms for machine in self.machines)

    def add(self, task: int) -> None:
        about = self.simulation.tasks[task]
        if about.form == "decode":
            machine, steps = self.home[self.call_of[task]], about.tokens - (about.first == 0)
            machine.go_on(task, steps, self.contexts[task])
            return
        if task in self.dropped:
            self._skip(task)
            return
        for hint in self._warm_ups(task):
            if hint not in self.home and hint not in self.dropped:
                self._drop(hint)
        (self.hints if about.form == "hint" else self.waiting).append(task)

    def start(self) -> None:
        self._send()
        for machine in self.machines:
            machine.start()

    def ended(self, task: int) -> None:
        """A replica is through with a task: who waited for a warm-up goes before all others."""
        self.waiting.extendleft(reversed(self.followers.pop(task, ())))
        call = self.call_of.get(task)
        if call is not None and self.calls[call].last == task:
            del self.home[call].held[call]
        self.simulation.finish(task)

    def _warm_ups(self, task: int) -> Sequence[int]:
        return [self.numbers[name] for name in self.simulation.tasks[task].warmed_by]

    def _drop(self, hint: int) -> None:
        """A warm-up is not needed any more, whether it is queued or not yet."""
        self.dropped.add(hint)
        if hint in self.hints:
            self.hints.remove(hint)
            self._skip(hint)

    def _skip(self, hint: int) -> None:
        self.simulation.begin(hint, None)
        self.simulation.finish(hint)

    def _send(self) -> None:
        while self.waiting and (machine := self._best(self.waiting[0])) is not None:
            call = self.waiting.popleft()
            running = [hint for hint in self._warm_ups(call) if hint in machine.prompts]
            if running:
                self.followers.setdefault(running[-1], []).append(call)
            else:
                self._send_to(machine, call)
        while self.hints and not self.waiting:
            idle = self._best(self.hints[0])
            if idle is None:
                return
            self._send_to(idle, self.hints.pop(0))

    def _send_to(self, machine: LlmMachine, task: int) -> None:
        self.home[task] = machine
        held = self.calls[task].tokens if task in self.calls else None
        machine.send(task, self._uncached(machine, task), held)

    def _best(self, task: int) -> LlmMachine | None:
        """Where a call would be through first, or a warm-up be the only prompt."""
        call = self.calls.get(task)
        if call is None:
            found = [one for one in self.machines if not one.prompts]
        else:
            found = [one for one in self.machines if one.fits(call.tokens)]
        if len(found) < 2:
            return found[0] if found else None
        new = call.new if call is not None else 0

        def until_done(machine: LlmMachine) -> tuple[int, int]:
            own = self._uncached(machine, task)
            return machine.tokens_until_done(own, new), sum(machine.held.values())

        return min(found, key=until_done)

    def _uncached(self, machine: LlmMachine, task: int) -> int:
        """The tokens of a prompt that are not cached, and that no warm-up computes there."""
        warm = [hint for hint in self._warm_ups(task) if self.home.get(hint) is machine]
        tasks = self.simulation.tasks
        saved = max((tasks[hint].tokens for hint in warm), default=0)
        return max(0, tasks[task].tokens - max(saved, tasks[task].cached))
