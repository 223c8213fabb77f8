"""The lowest class of an LLM's work: warm-ups, sent one by one and only where no call waits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from teola.runtime.llm.prefixes import Marks, Prefixes
from teola.runtime.llm.warm_up import MOST_NEW_TOKENS, Owner, WarmUp, WarmUpCounts

SHARE = 4
"""A warm-up takes at most one part in so many of an engine's KV."""


class WarmUps:
    """The warm-ups that somebody wants by key, ``queued`` and ``sent`` ones; ``counts`` tells what
    became of all there were. ``room`` is the KV that one may take."""

    def __init__(self) -> None:
        self.queued: dict[int, WarmUp] = {}
        self.sent: dict[int, WarmUp] = {}
        self.owned: dict[Owner, list[WarmUp]] = {}
        self.counts = WarmUpCounts()
        self.room = 0

    def start(self, kv_tokens: int) -> None:
        """The engine is up (again)."""
        self.room = kv_tokens // SHARE

    def offer(
        self,
        owner: Owner,
        prompt: Sequence[int],
        min_new_tokens: int,
        caches: Sequence[Prefixes],
        adapter: str | None = None,
    ) -> WarmUp | None:
        """Want the whole blocks of ``prompt``, as far as there is room, in place of what the owner
        has queued of this prompt; None where nothing is to be sent for it."""
        marks = caches[0].marks(prompt[: max(0, self.room - MOST_NEW_TOKENS)], adapter)
        self._replace(owner, marks)
        whole = prompt[: len(marks) * caches[0].block_tokens]
        new = WarmUp(whole, marks, min_new_tokens, adapter)
        if not worth(new, caches):
            return None
        running = self.sent.get(new.key)
        found = running if running and running.running else self.queued.setdefault(new.key, new)
        found.owners[owner] = None
        self.owned.setdefault(owner, []).append(found)
        return None if found is running else found

    def _replace(self, owner: Owner, marks: Marks) -> None:
        for one in self.owned.get(owner, ()):
            if self.queued.get(one.key) is one and one.begins(marks):
                del one.owners[owner]
                if not one.owners:
                    del self.queued[one.key]

    def arrived(self, marks: Marks) -> None:
        """A call with these marks is there: what is queued of its prompt comes too late, what was
        sent is used."""
        for mark in marks:
            if mark in self.queued:
                self.drop(self.queued[mark])
            if (one := self.sent.get(mark)) is not None and not one.used:
                one.used = True
                self.counts.used += 1

    def waiting(self, caches: Sequence[Prefixes]) -> Iterator[WarmUp]:
        """Those that may be sent, the oldest first, unless they leave meanwhile; what has been
        computed meanwhile is dropped."""
        passed = 0
        while (one := next(islice(self.queued.values(), passed, None), None)) is not None:
            if worth(one, caches):
                yield one
                passed += self.queued.get(one.key) is one
            else:
                self.drop(one)

    def drop(self, one: WarmUp) -> None:
        """It will not be sent."""
        self.counts.dropped += 1
        del self.queued[one.key]

    def send(self, one: WarmUp) -> None:
        """It goes to an engine now."""
        self.sent[one.key] = self.queued.pop(one.key)
        self.counts.sent += 1
        self.counts.tokens += len(one.prompt)

    def fail(self, one: WarmUp) -> None:
        """It was sent and failed; it is not tried again."""
        self.counts.failed += 1
        self._forget(one)

    def waste(self, one: WarmUp) -> None:
        """It was sent, and no call will use it."""
        self.counts.wasted += 1
        self._forget(one)
        for owner in one.owners:
            owner.ended()

    def _forget(self, one: WarmUp) -> None:
        if self.sent.get(one.key) is one:
            del self.sent[one.key]

    def leave(self, owner: Owner) -> list[WarmUp]:
        """The owner wants nothing any more. Those that run and nobody owns."""
        unwanted = []
        for one in self.owned.pop(owner, ()):
            one.owners.pop(owner, None)
            if one.owners:
                continue
            if self.queued.get(one.key) is one:
                self.drop(one)
            elif self.sent.get(one.key) is one:
                if one.used:
                    self._forget(one)
                else:
                    self.waste(one)
                unwanted += [one] if one.running else []
        return unwanted

    def drop_queued(self) -> None:
        """The engine will not come back."""
        for one in tuple(self.queued.values()):
            self.drop(one)

    def check_integrity(self) -> list[str]:
        """What should not be there when nothing runs."""
        left = len(self.queued) + len(self.sent) + len(self.owned)
        return [f"{left} warm-ups are left of queries that have ended"] if left else []


def worth(one: WarmUp, caches: Sequence[Prefixes]) -> bool:
    """Whether it would compute enough that is cached nowhere: a block at least."""
    cached = max(cache.cached(one.marks) for cache in caches)
    new = (len(one.marks) - cached) * caches[0].block_tokens
    return new >= max(one.min_new_tokens, 1)
