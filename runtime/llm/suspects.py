"""Calls that ran when their replica died: each runs again alone, so that one kills only itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator

from teola.runtime.circuit import Circuit
from teola.runtime.errors import ModuleError
from teola.runtime.llm.replica import LLMReplica
from teola.runtime.llm.task import LLMTask
from teola.runtime.refused import Refused
from teola.runtime.sent import Sent
from teola.runtime.suspects import REFUSAL, Death


class SuspectCalls:
    """They wait here instead of in the queue, and for nobody's turn: their clocks begin when they
    are sent. One replica at a time is theirs; the others go on. A call that kills again has failed,
    and equal ones are ``refused`` for a while."""

    def __init__(self) -> None:
        self.waiting: deque[LLMTask] = deque()
        self.refused = Refused()
        self._death = Death(Circuit())

    def died(self, replica: LLMReplica) -> None:
        """A replica has died: what runs on it is added then, but for one that ran alone. That it
        hangs says nothing of who runs: it was late with another, which is no more."""
        self._death = Death(replica.circuit)
        if (one := replica.suspect) is None or one.death is None:
            return
        if replica.pulse.hung:
            one.suspect = False
        else:
            self.refused.add(_whole(one))
            one.death.explain()
            if not replica.excused:
                self._death.explain()

    def add(self, task: LLMTask) -> None:
        """It ran on the replica that has just died, or comes back after that."""
        task.death = task.death or self._death
        self.waiting.append(task)

    def check(self, task: LLMTask) -> None:
        """Fail a call that is refused."""
        if self.refused and self.refused.of(_whole(task)):
            task.fail(ModuleError(task.place, REFUSAL.message, REFUSAL.kind))

    def put_back(self, task: LLMTask) -> None:
        """It was sent and not taken."""
        self.waiting.appendleft(task)

    def next(self, replicas: Collection[LLMReplica]) -> tuple[LLMReplica, LLMTask] | None:
        """Who is sent now, and where. The replica on which one runs, or that would be free for one
        first, is given nothing else."""
        theirs = next((one for one in replicas if one.suspect is not None), None)
        if theirs is None and self.first() is not None:
            theirs = min(replicas, key=lambda one: (one.rests, one.held), default=None)
        for one in replicas:
            one.reserved = one is theirs
        if theirs is None or theirs.running or theirs.rests:
            return None
        return theirs, self.waiting.popleft()

    def first(self) -> LLMTask | None:
        """Who is next; those that are over are passed over."""
        while self.waiting and self.waiting[0].over:
            self.waiting.popleft()
        return self.waiting[0] if self.waiting else None

    def clear(self) -> list[LLMTask]:
        """Forget all, and return them in order."""
        waiting, self.waiting = list(self), deque()
        return waiting

    def __iter__(self) -> Iterator[LLMTask]:
        return (one for one in self.waiting if not one.over)


def _whole(task: LLMTask) -> Sent:
    """A call as a slice of items: its first prompt."""
    return Sent(task, (0,), task.generation)
