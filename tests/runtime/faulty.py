"""Faults of engines whose work is items, by what is in the items: they raise, kill, hang, …"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from teola.runtime.engines.protocol import Failure, Request
from teola.runtime.errors import ModuleError
from teola.runtime.hosts import EngineDied
from teola.runtime.simulation.clock import pass_time
from tests.runtime.workbench import Bench, Spy, plan

EMBED = """
    input texts: list<text>
    %e.embed = embed texts={stream}%inputs:texts {{engine = emb{settings}}} @e
    output vectors: list<embedding> = %e.embed:embeddings
"""


def embedding(
    settings: str = "",
    *,
    group: int | None = None,
    deadline_s: float | None = None,
    **engine: Any,
) -> Any:
    """A plan that embeds texts on a fake engine, so many of them in a task (all)."""
    grouped = f"group = {group}" if group else ""
    more = "".join(f", {part}" for part in (grouped, settings) if part)
    body = EMBED.format(settings=more, stream="~" if group else "")
    return plan(body, deadline_s=deadline_s, emb=engine)


@dataclass
class Faults:
    """What an engine does with a batch that has an item with such a mark in it: it raises, dies,
    hangs, or is full so many times; ``memory``: it has none for more items than that; ``most``: it
    dies of more items than that. ``sizes`` are
    those of all batches."""

    raises: Sequence[str] = ()
    kills: Sequence[str] = ()
    hangs: Sequence[str] = ()
    full: int = 0
    memory: int | None = None
    most: int | None = None
    error: Callable[[str], Exception] = ValueError
    deaths: int = 0
    sizes: list[int] = field(default_factory=list)
    spies: list[Spy] = field(default_factory=list)

    def into(self, bench: Bench) -> Faults:
        """Let all engines of a bench have them."""
        bench.prepared.append(self._arrange)
        return self

    def _arrange(self, spy: Spy) -> None:
        self.spies.append(spy)

        async def before(batch: Sequence[Request]) -> Any:
            return await self._before(spy, batch)

        spy.before_run = before

    async def _before(self, spy: Spy, batch: Sequence[Request]) -> Any:
        items = [_text(item) for request in batch for item in request.items]
        self.sizes.append(len(items))
        if _found(self.hangs, items):
            spy.handle._engine.run = _never
        if found := _found(self.raises, items):
            raise self.error(f"cannot do {found}")
        if _found(self.kills, items) or (self.most is not None and len(items) > self.most):
            await pass_time(0.01)
            self.deaths += 1
            spy.die("poison")
            raise EngineDied("poison")
        if self.full:
            self.full -= 1
            return [Failure("full", "come again later")] * len(batch)
        if self.memory is not None and len(items) > self.memory:
            raise MemoryError(f"no memory for {len(items)}")
        return None


async def _never(_: Any) -> Any:
    await asyncio.Event().wait()


def _text(item: Any) -> str:
    return item if isinstance(item, str) else str(item[0]["text"])


def _found(marks: Sequence[str], items: Sequence[str]) -> str | None:
    return next((item for item in items for mark in marks if mark in item), None)


async def together(runner: Any, *texts: Sequence[str]) -> list[Any]:
    """The results and errors of queries that begin at once."""
    runs: list[Awaitable[Any]] = [runner.run(texts=list(those)) for those in texts]
    return list(await asyncio.gather(*runs, return_exceptions=True))


def failed(result: Any, kind: str, words: str = "") -> bool:
    """Whether a query has ended with an error of a class."""
    return isinstance(result, ModuleError) and result.kind == kind and words in str(result)


def sizes(results: Sequence[Any]) -> list[int | None]:
    """How many vectors each query got; None where it failed."""
    return [None if isinstance(one, Exception) else len(one["vectors"]) for one in results]


async def held(runner: Any, *texts: Sequence[str]) -> list[Any]:
    """Queries whose items all wait when the engine takes its next batch."""
    before = asyncio.ensure_future(runner.run(texts=["first"]))
    await pass_time(0.0005)
    results = await together(runner, *texts)
    await before
    return results
