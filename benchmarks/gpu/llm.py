"""One LLM engine on a GPU by itself: tokens a second, and the first token after a warm-up.

Of a Llama-3-8B: tokens decoded a second by requests at once, with CUDA graphs and without; prompt
tokens computed a second; the first token of a prompt whose beginning was warmed up, against a cold
one. On transformers, and on vLLM where that is installed.
"""

from __future__ import annotations

import asyncio
import importlib.util
import random
import statistics
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.gpu.bench import Bench
from teola.compiler.engines import canonical
from teola.runtime.engines import find_entry
from teola.runtime.engines.protocol import Generate, TokenEvent
from teola.runtime.hosts import connect

AT_ONCE = (1, 8, 32, 64)
ANSWER, PROMPT = 128, 128
PROMPTS, LONG = 16, 2000
WARMED = (256, 1000, 2000, 4000)
LATE = 64
"""Tokens at the end of a prompt that are known last."""
REPEATS = 3


class Client:
    """A started engine, and when the tokens of its requests came."""

    def __init__(self, config: dict[str, Any]) -> None:
        settings = dict(canonical(config))
        self.handle = connect(find_entry("llm", str(settings["backend"])), settings)
        self.handle.listen(self._hear)
        self._random = random.Random(0)  # noqa: S311 - no secret
        self._first: dict[str, float] = {}
        self._over: dict[str, asyncio.Event] = {}
        self._count = 0

    def _hear(self, events: Sequence[TokenEvent]) -> None:
        now = time.perf_counter()
        for event in events:
            self._first.setdefault(event.id, now)
            if event.failure is not None:
                raise SystemExit(f"a request failed: {event.failure.message}")
            if event.finish_reason is not None:
                self._over[event.id].set()

    def prompt(self, count: int) -> tuple[int, ...]:
        """Tokens that no prompt had before."""
        return tuple(self._random.randrange(100, 8000) for _ in range(count))

    async def run(
        self, prompts: Sequence[Sequence[int]], tokens: int, *, warm: bool = False
    ) -> tuple[float, float]:
        """Seconds to the last first token, and to the end of all."""
        requests = []
        for prompt in prompts:
            self._count += 1
            one = Generate(f"r{self._count}", tuple(prompt), tokens, ignore_eos=True, warm=warm)
            self._over[one.id] = asyncio.Event()
            requests.append(one)
        begin = time.perf_counter()
        await self.handle.submit(requests)
        for one in requests:
            await self._over[one.id].wait()
        end = time.perf_counter()
        return max(self._first[one.id] for one in requests) - begin, end - begin


def main(bench: Bench) -> None:
    """Measure."""
    sides = {"transformers": bench.llm(), "transformers, no graphs": bench.llm(enforce_eager=True)}
    if importlib.util.find_spec("vllm") is not None and not bench.dry:
        more = {"max_model_len": 8192, "gpu_memory_utilization": 0.75}
        sides["vllm"] = bench.engine("llm", "vllm", **more)
    found = {}
    for name, config in sides.items():
        found[name] = asyncio.run(measure(bench, config, whole="graphs" not in name))
        print(f"  {name}: {found[name]}", flush=True)
    bench.save("llm", found)


async def measure(bench: Bench, config: dict[str, Any], *, whole: bool) -> dict[str, Any]:
    """All figures of one engine; without ``whole`` only what decodes."""
    client = Client(config)
    begin = time.perf_counter()
    capabilities = await client.handle.start()
    found: dict[str, Any] = {
        "seconds to start": round(time.perf_counter() - begin, 1),
        "details": capabilities.details,
        "room for KV, tokens": capabilities.kv_tokens,
    }
    try:
        found["tokens decoded a second, by requests at once"] = await decoded(bench, client)
        if whole:
            found["prompt tokens a second"] = await prefilled(bench, client)
            found["first token, ms, by prompt tokens"] = await first_tokens(bench, client)
        found["state"] = await client.handle.control("describe", {})
    finally:
        await client.handle.close()
    return found


async def decoded(bench: Bench, client: Client) -> dict[str, float]:
    """Between the last first token and the end; the first run of each only warms up."""
    found = {}
    answer = 8 if bench.dry else ANSWER
    for count in (1, 2) if bench.dry else AT_ONCE:
        rates = []
        for _ in range(3):
            prompts = [client.prompt(PROMPT) for _ in range(count)]
            first, end = await client.run(prompts, answer)
            rates.append(count * (answer - 1) / (end - first))
        found[str(count)] = round(statistics.median(rates[1:]), 1)
    return found


async def prefilled(bench: Bench, client: Client) -> float:
    """Of prompts that come at once and get one token."""
    count, size = (2, 40) if bench.dry else (PROMPTS, LONG)
    times = []
    for _ in range(3):
        _, end = await client.run([client.prompt(size) for _ in range(count)], 1)
        times.append(count * size / end)
    return round(statistics.median(times[1:]), 1)


async def first_tokens(bench: Bench, client: Client) -> dict[str, dict[str, float]]:
    """Medians, cold and warmed in turn."""
    found = {}
    for size in (80, 160) if bench.dry else WARMED:
        cold, warmed, warming = [], [], []
        for _ in range(1 if bench.dry else REPEATS):
            cold.append((await client.run([client.prompt(size)], 1))[0])
            prompt = client.prompt(size)
            warming.append((await client.run([prompt[:-LATE]], 1, warm=True))[1])
            warmed.append((await client.run([prompt], 1))[0])
        rows = {"cold": cold, "warm-up": warming, "warmed": warmed}
        found[str(size)] = {
            name: round(1000 * statistics.median(row), 2) for name, row in rows.items()
        }
    return found
