"""What tests of the runtime share: graphs on fake engines, spies on the engines, exact clocks."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from teola.compiler.graph.text import parse_graph
from teola.compiler.graph.verify import verify
from teola.compiler.plan import Plan
from teola.compiler.source import Source
from teola.runtime import EnginePool, Runner
from teola.runtime.engines.fakes.llm import answer
from teola.runtime.engines.protocol import Emit, Failure, Generate, Request, TokenEvent
from teola.runtime.engines.tokenizer import ByteTokenizer
from teola.runtime.events import Event, RunFinished
from teola.runtime.hosts import EngineDied, EngineHandle
from teola.runtime.result import RunResult
from teola.runtime.simulation.clock import pass_time, run_virtually

LIMIT_S = 1_000_000
"""No test lasts longer, in virtual seconds."""

KINDS = {"llm": "llm", "emb": "embedder", "rr": "reranker", "store": "store"}
"""The names that graphs of tests give their engines -> the kinds."""

SEARCH = """
    input chunks: list<chunk>
    input texts: list<text>
    %i.embed = embed texts=%inputs:texts {engine = emb} @i
    %i.ingest = ingest chunks=%inputs:chunks embeddings=%i.embed:embeddings {engine = store} @i
    %s.search = search embeddings=%i.embed:embeddings collection=%i.ingest:collection top_k=2 \
        {engine = store} @s
    output hits: list<list<passage>> = %s.search:hits
"""
"""Index some chunks, and search for each of their texts."""


def graph_text(body: str, **engines: Mapping[str, Any]) -> str:
    """A graph in text form; ``engines`` are settings of the fakes by name (llm, emb, rr, store)."""
    lines = ["graph t"]
    for name, kind in KINDS.items():
        settings = {"kind": kind, "backend": "fake", **engines.get(name, {})}
        lines.append(f"engine {name} = {json.dumps(settings)}")
    return "\n".join(lines) + "\n" + inspect.cleandoc(body) + "\n"


def plan(body: str, *, deadline_s: float | None = None, **engines: Mapping[str, Any]) -> Plan:
    """A plan of a graph in text form, verified."""
    graph = parse_graph(Source("t.pgraph", graph_text(body, **engines)))
    verify(graph)
    return Plan(graph, "-O1", deadline_s=deadline_s)


def call(
    name: str, prompt: str, inputs: str, *, sampling: str = "", decode: str = "", module: str = ""
) -> str:
    """The two lines of an LLM call ``name``; ``decode`` are further words of its decode."""
    message = f'[{{"role": "user", "template": "{prompt}"}}]'
    settings = f'{{"max_tokens": 64{sampling}}}'
    mark = module or name.partition(".")[0]
    return (
        f"%{name}.prefill = prefill {inputs} {{engine = llm, messages = {message}, "
        f"sampling = {settings}}} @{mark}\n"
        f"%{name}.decode = decode state=%{name}.prefill:state {decode or '{engine = llm}'} @{mark}"
    )


def reply(prompt: str, max_tokens: int = 64) -> str:
    """What the fake LLM answers to a prompt of one user message."""
    tokenizer = ByteTokenizer()
    tokens = tokenizer.encode_chat([{"role": "user", "content": prompt}])
    return tokenizer.decode(answer(tokens, max_tokens))


@dataclass(frozen=True, slots=True)
class Call:
    """A call that reached an engine: when, which operation, and how many items each request had."""

    at_s: float
    operation: str
    sizes: tuple[int, ...]
    items: tuple[Any, ...]


class Spy:
    """An engine's handle that notes every call. ``before_run``, ``before_submit``, ``on_control``
    are awaited first and may raise, ``on_events`` may change what the engine tells."""

    def __init__(self, handle: EngineHandle, config: Mapping[str, Any], bench: Bench) -> None:
        self.handle = handle
        self.kind = str(config["kind"])
        self.bench = bench
        self.calls: list[Call] = []
        self.commands: list[tuple[str, Mapping[str, Any]]] = []
        self.submitted: list[Generate] = []
        self.submitted_at: list[float] = []
        self.aborted: list[str] = []
        self.starts = 0
        self.alive = False
        self.start_s = 0.0
        self.before_run: Callable[[Sequence[Request]], Awaitable[Any]] | None = None
        self.on_events: Callable[[Sequence[TokenEvent]], Sequence[TokenEvent]] | None = None
        self.on_control: Callable[[str], Awaitable[Any]] | None = None
        bench.prepare(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.handle, name)

    def listen(self, emit: Emit) -> None:
        def hear(events: Sequence[TokenEvent]) -> None:
            changed = self.on_events(events) if self.on_events is not None else events
            for failed in (event for event in changed if event.failure is not None):
                self.handle._engine._running.pop(failed.id, None)
            if changed:
                emit(changed)

        self.handle.listen(hear)

    def spoil(
        self, *numbers: int, after: int = 0, kind: str = "item", message: str = "spoilt"
    ) -> None:
        """Let the LLM calls of these numbers (from 0) fail, each after so many events."""
        seen: dict[str, int] = {}

        def change(events: Sequence[TokenEvent]) -> Sequence[TokenEvent]:
            chosen = {self.submitted[n].id for n in numbers if n < len(self.submitted)}
            told = []
            for event in events:
                seen[event.id] = seen.get(event.id, 0) + 1
                spoilt = event.id in chosen and seen[event.id] > after
                failure = Failure(kind, message)
                told.append(TokenEvent(event.id, (), failure=failure) if spoilt else event)
            return told

        self.on_events = change

    async def start(self) -> Any:
        self.starts += 1
        if self.start_s:
            await pass_time(self.start_s)
        capabilities = await self.handle.start()
        self.alive = True
        return capabilities

    async def restart(self) -> Any:
        self.starts += 1
        if self.start_s:
            await pass_time(self.start_s)
        capabilities = await self.handle.restart()
        self.alive = True
        return capabilities

    async def run(self, batch: Sequence[Request]) -> Sequence[Sequence[Any] | Failure]:
        sizes = tuple(len(request.items) for request in batch)
        items = tuple(item for request in batch for item in request.items)
        self.calls.append(Call(now(), batch[0].operation, sizes, items))
        if self.before_run is not None:
            changed = await self.before_run(batch)
            if changed is not None:
                return changed
        return await self.handle.run(batch)

    async def control(self, command: str, arguments: Mapping[str, Any]) -> Any:
        self.commands.append((command, arguments))
        if self.on_control is not None:
            await self.on_control(command)
        return await self.handle.control(command, arguments)

    async def submit(self, requests: Sequence[Generate]) -> None:
        self.submitted += requests
        self.submitted_at += [now()] * len(requests)
        await self.handle.submit(requests)

    async def abort(self, ids: Sequence[str]) -> None:
        self.aborted += ids
        await self.handle.abort(ids)

    async def close(self) -> None:
        self.alive = False
        await self.handle.close()

    def die(self, message: str = "the plug was pulled") -> None:
        """End the engine as a crash would."""
        self.alive = False
        self.handle._note_death(EngineDied(message))

    def items(self, operation: str) -> list[Any]:
        """All items of an operation that reached the engine, in order."""
        return [item for call in self.calls if call.operation == operation for item in call.items]


@dataclass
class Bench:
    """A pool of fakes with spies on them; ``prepared`` changes a spy before its engine starts."""

    retained_bytes: int = 1 << 30
    max_queries: int | None = None
    prepared: list[Callable[[Spy], None]] = field(default_factory=list)
    spies: list[Spy] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pool = EnginePool(
            retained_bytes=self.retained_bytes, max_queries=self.max_queries, wrap=self._wrap
        )

    def _wrap(self, handle: EngineHandle, config: Mapping[str, Any]) -> Any:
        spy = Spy(handle, config, self)
        self.spies.append(spy)
        return spy

    def prepare(self, spy: Spy) -> None:
        """Let a test change a new spy."""
        for change in self.prepared:
            change(spy)

    def runner(self, source: Any, **options: Any) -> Runner:
        """A runner on this pool."""
        return Runner(source, pool=self.pool, **options)

    async def run(self, source: Any, *, share: bool = True, **inputs: Any) -> RunResult:
        """Run one query."""
        async with self.runner(source, share=share) as runner:
            return await runner.run(**inputs)

    async def events(self, source: Any, **inputs: Any) -> list[tuple[float, Event]]:
        """Every event of one query with the time it came, the first at 0."""
        began = now()
        async with self.runner(source) as runner:
            return [(now() - began, event) async for event in runner.stream(**inputs)]

    def spy(self, kind: str) -> Spy:
        """The spy on the only engine of a kind."""
        (found,) = [spy for spy in self.spies if spy.kind == kind]
        return found

    async def stored(self) -> dict[str, Any]:
        """What the store says of itself."""
        described: dict[str, Any] = await self.spy("store").handle.control("describe", {})
        return described

    async def settle(self) -> None:
        """Let everything that is under way come to its end."""
        await pass_time(1)


def now() -> float:
    """The loop's time."""
    return asyncio.get_running_loop().time()


def virtual(
    test: Callable[..., Awaitable[None]] | None = None, **options: Any
) -> Callable[..., Any]:
    """Run a test ``async def test(bench, …)`` under the virtual clock with a bench of its own.

    When it ends nothing may be left: no task in a queue, no call in an engine, no run, no task of
    the loop.
    """
    if test is None:
        return functools.partial(virtual, **options)

    @functools.wraps(test)
    def run(*arguments: Any, **fixtures: Any) -> None:
        run_virtually(_bounded(test, Bench(**options), arguments, fixtures))

    signature = inspect.signature(test)
    rest = [value for name, value in signature.parameters.items() if name != "bench"]
    run.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]  # pytest reads it
    del run.__wrapped__  # type: ignore[attr-defined]  # pytest must not see 'bench'
    return run


async def _bounded(
    test: Callable[..., Awaitable[None]],
    bench: Bench,
    arguments: Sequence[Any],
    fixtures: Mapping[str, Any],
) -> None:
    async with asyncio.timeout(LIMIT_S), bench.pool:
        await test(*arguments, bench=bench, **fixtures)
        await bench.settle()
        await assert_idle(bench)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, left


async def assert_idle(bench: Bench) -> None:
    """Nothing is left of any query, in the pool or in an engine."""
    problems = await bench.pool.inspect()
    assert problems == [], problems


def result_of(events: Sequence[tuple[float, Event]]) -> RunResult:
    """The result that a stream of events ends with."""
    _, last = events[-1]
    assert isinstance(last, RunFinished)
    return last.result
