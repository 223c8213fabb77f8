"""Items that were with an engine when it died: one of them may have been the cause."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from teola.runtime.circuit import Circuit
from teola.runtime.engines.protocol import Failure
from teola.runtime.item_budget import ItemBudget
from teola.runtime.policies import Policy
from teola.runtime.refused import REFUSED_S, Refused
from teola.runtime.sent import Sent, count, put_back
from teola.runtime.task import Task

if TYPE_CHECKING:
    from teola.runtime.batch_worker import BatchWorker

TWICE = "it ended the engine twice, in a batch and then alone"
REFUSAL = Failure(
    "item",
    "an equal item ended the engine twice: "
    f"it is refused for {REFUSED_S / 60:g} minutes after that",
)


@dataclass(slots=True)
class Death:
    """A death of the engine with a circuit; ``explained`` once its cause is known: an item, or that
    there were so many, if each of those ``left`` is well alone. That is supposed at first, for it
    may have taken all memory: the replica takes half as many items until one is convicted."""

    circuit: Circuit
    explained: bool = False
    budget: ItemBudget | None = None
    before: int = 0
    left: int = 0

    @staticmethod
    def of(worker: BatchWorker, batch: Sequence[Sent]) -> Death:
        """The death of a replica that ran a batch."""
        before = worker.budget.items
        if count(batch) > 1:
            worker.budget.halve(count(batch))
        left = count([part for part in batch if part.repeatable])
        return Death(worker.circuit, budget=worker.budget, before=before, left=left)

    def tried(self) -> None:
        """One of the items is through."""
        self.left -= 1
        if not self.left:
            self.explain()

    def explain(self) -> None:
        """The cause is known."""
        if not self.explained:
            self.explained = True
            self.circuit.blame()

    def convict(self) -> None:
        """An item was it."""
        self.explain()
        if self.budget is not None:
            self.budget.items = max(self.budget.items, self.before)


class Suspects:
    """Each suspect is tried alone, once; one that kills again has failed, and equal items are
    ``refused`` for a while. One replica at a time (``tries``) is put at risk, and until the
    suspects of a primitive are through, its other items are held."""

    def __init__(self, queue: Policy) -> None:
        self._queue = queue
        self._waiting: deque[tuple[Sent, Death]] = deque()
        self._tried: tuple[Sent, Death] | None = None
        self._open: Counter[object] = Counter()
        self._held: list[Sent] = []
        self.tries: BatchWorker | None = None
        self.refused = Refused()

    @property
    def ready(self) -> bool:
        """Whether a replica may try one now."""
        return bool(self._waiting) and self.tries is None

    def next(self, worker: BatchWorker) -> list[Sent] | None:
        """The next one that somebody still wants."""
        while self.ready:
            suspect, death = self._waiting.popleft()
            if suspect.wanted and suspect.task.still_valid() and self.sift([suspect]):
                self.tries, self._tried = worker, (suspect, death)
                worker.circuit.excused = worker.worked
                return [suspect]
            self._through(suspect, death)
        return None

    def survived(self, worker: BatchWorker) -> None:
        """A replica is through with what it did."""
        if self.tries is worker and self._tried is not None:
            suspect, death = self._tried
            worker.circuit.excused = False
            self.tries = self._tried = None
            self._through(suspect, death)

    def _through(self, suspect: Sent, death: Death) -> None:
        death.tried()
        whose = _whose(suspect.task)
        self._open[whose] -= 1
        if self._open[whose] <= 0:
            del self._open[whose]
            back = [part for part in self._held if _whose(part.task) is whose]
            self._held = [part for part in self._held if _whose(part.task) is not whose]
            put_back(back, self._queue)

    def died(self, worker: BatchWorker, batch: Sequence[Sent], message: str) -> None:
        """A replica died of what it did."""
        if self.tries is worker and self._tried is not None:
            suspect, first = self._tried
            self.tries = self._tried = None
            self._convict(suspect, first, worker, message)
            self._through(suspect, first)
            return
        death = Death.of(worker, batch)
        for part in batch:
            if part.repeatable:
                self._waiting += [(part.only([index]), death) for index in part.indices]
                self._open[_whose(part.task)] += len(part.indices)
            else:
                part.deliver(Failure("died", message))

    def _convict(self, suspect: Sent, first: Death, worker: BatchWorker, message: str) -> None:
        self.refused.add(suspect)
        first.convict()
        if not worker.worked:
            worker.circuit.blame()
        suspect.deliver(Failure("item", f"{TWICE}: {message}"))

    def hold(self, batch: Sequence[Sent]) -> list[Sent]:
        """A batch without what has to wait until suspects are through."""
        if self._open:
            self._held += [part for part in batch if _whose(part.task) in self._open]
        return [part for part in batch if _whose(part.task) not in self._open]

    def sift(self, batch: Sequence[Sent]) -> list[Sent]:
        """A batch without what is refused, which fails."""
        if not self.refused:
            return list(batch)
        found = []
        for part in batch:
            if refused := self.refused.of(part):
                part.only(refused).deliver(REFUSAL)
            left = part.only([index for index in part.indices if index not in refused])
            if left.indices and left.wanted:
                found.append(left)
        return found

    def tasks(self) -> Iterator[Task]:
        """Whose items wait here."""
        suspects = (part for part, _ in self._waiting)
        return (part.task for part in (*suspects, *self._held) if part.wanted)

    def clear(self) -> list[Task]:
        """Forget everything: it is the engine that is at fault. Who waited."""
        tasks = list(dict.fromkeys(self.tasks()))
        self._waiting.clear()
        self._held.clear()
        self._open.clear()
        self.refused = Refused()
        return tasks


def _whose(task: Task) -> object:
    """What stands for the primitive that a task belongs to."""
    return task if task.origin is None else task.origin
