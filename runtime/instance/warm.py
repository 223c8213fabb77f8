"""Runs of hints: the part of a prompt that is known is offered to the engine, again as it grows."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from teola.runtime.errors import ModuleError
from teola.runtime.instance.blueprint import Prepared
from teola.runtime.instance.run import NO_SOURCES, Executor, Run, State
from teola.runtime.instance.scope import Scope
from teola.runtime.keys import Key
from teola.runtime.values import Source


class Warmer(Protocol):
    """Who takes a run's offers to its engine."""

    def leave(self) -> None:
        """The offers are taken back."""
        ...

    def failed(self) -> None:
        """What was to be offered could not be made."""
        ...


class WarmRun(Run):
    """A warm-up of one prompt. Nothing waits for it and its failure is nobody's: it lives until its
    queries end. ``known`` are the inputs so far. It has a place in the timeline once the engine has
    a prefix of it.
    """

    __slots__ = ("completion_tokens", "known", "offered_s", "planned", "prompt_tokens", "warmer")

    hint: ClassVar[bool] = True

    def __init__(
        self,
        prepared: Prepared,
        scope: Scope,
        sources: dict[str, Source],
        key: Key | None,
        executor: Executor,
    ) -> None:
        super().__init__(prepared, scope, sources, key, executor)
        self.known: dict[str, Any] = {}
        self.planned = False
        self.offered_s: float | None = None
        self.prompt_tokens = self.completion_tokens = 0
        self.warmer: Warmer | None = None

    def waits_for(self, name: str, source: Source) -> bool:
        return False

    def begin(self) -> None:
        self.queued_s = None
        for source in self.sources.values():
            if not source.cell.done:
                source.cell.on_done += (self._arrived,)
        self._arrived()

    def _arrived(self) -> None:
        """More of the inputs is there; several at once are one occasion."""
        if not self.planned and not self.over:
            self.planned = True
            self.executor.ready(lambda: self.executor.guarded(self, self._offer))

    def _offer(self) -> None:
        self.planned = False
        if self.over:
            return
        for name, source in tuple(self.sources.items()):
            if source.cell.done:
                self.known[name] = source.get()
                source.cell.release()
                del self.sources[name]
        self.executor.execute(self, 0, dict(self.known))

    def offered(self) -> None:
        """A prefix is queued."""
        self.offered_s = self.executor.now()

    def sent(self, tokens: int) -> None:
        """The engine has the prefix."""
        if self.started_s is None:
            self.queued_s, self.started_s = self.offered_s, self.executor.now()
            for user in self.users:
                user.tell_began(self)
        self.item_count = self.prompt_tokens = tokens

    def ended(self) -> None:
        """The engine has done it."""
        self.ended_s = self.executor.now()

    def fail(self, error: ModuleError) -> None:
        """No query hears of it."""
        if not self.over and self.warmer is not None:
            self.warmer.failed()
        self.cancel()

    def _end(self, state: State) -> None:
        self.state, self.over = state, True

    def _after(self) -> None:
        for source in self.sources.values():
            source.cell.release()
        self.sources, self.upstream, self.known = NO_SOURCES, (), {}
        warmer, self.warmer = self.warmer, None
        if warmer is not None:
            warmer.leave()
