"""First token after an early warm-up against cold, for each LLM backend, prompts of 256 to 4,000
tokens; and what is computed early in vain under load.

The beginning of a prompt is known at once, its last LATE_TOKENS (passages) when a search ends. That
search is held back until the LLM has done what it can; time counts from then to the first token.
``openai`` is vLLM's own server, started here. Warm and cold alternate; no prompt begins like
another. Under load queries come at LOAD of what the backend can do, each searches for SEARCH_MS,
and the caller of one in four leaves meanwhile; tokens that were computed early and that no call
found in the cache are wasted. Needs vLLM: run it with the Python of `make test-vllm`'s environment.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from benchmarks.prefill import WORDS
from benchmarks.report import save, spread
from benchmarks.vllm_server import served, vllm_version
from teola.compiler.api import compile_workflow
from teola.compiler.plan import Plan
from teola.runtime import EnginePool, Runner
from teola.runtime.engines.protocol import Request
from teola.runtime.engines.torch_settings import best_dtype
from teola.runtime.engines.vllm.installed import require_vllm
from teola.runtime.hosts import EngineHandle
from teola.runtime.models import ensure
from teola.runtime.observing.observations import CallEnded, Observation

RUNS = {256: 3, 1000: 2, 2000: 1, 4000: 1}
"""Tokens of a prompt -> how often each side is measured."""
LATE_TOKENS = 60
QUERIES, LOAD, SEARCH_MS, GIVEN_UP = 16, 0.9, 300, 4
MODEL = "smollm2-135m-instruct"
LONGEST = 4352
WORKFLOW = {
    "teola": 1,
    "name": "early",
    "inputs": {"background": "text", "question": "text", "documents": "list<document>"},
    "engines": {
        "llm": {"kind": "llm", "model": MODEL},
        "embedder": {"kind": "embedder", "backend": "fake"},
        "store": {"kind": "store", "backend": "fake"},
    },
    "modules": {
        "chunks": {
            "uses": "chunk",
            "inputs": {"documents": "inputs.documents"},
            "with": {"size": 256},
        },
        "indexed": {"uses": "index", "inputs": {"chunks": "chunks.chunks"}},
        "found": {
            "uses": "search",
            "inputs": {"query": "inputs.question", "collection": "indexed.collection"},
            "with": {"top_k": 1},
        },
        "answer": {
            "uses": "generate",
            "inputs": {"background": "inputs.background", "passages": "found.passages"},
            "with": {
                "prompt": "{{ background }}\n{% for one in passages %}{{ one }}{% endfor %}",
                "sampling": {"max_tokens": 2, "ignore_eos": True},
            },
        },
    },
    "outputs": {"answer": "answer.text"},
    "defaults": {"timeout": "10m"},
}
DOCUMENTS = [{"name": "page", "text": "A table of rows, an index of keys, a page of bytes. " * 2}]

_draw = random.Random(7)  # noqa: S311 - prompts, no secrets


def background(tokens: int) -> str:
    """So many tokens, about, that no other prompt begins with: these words are one each."""
    return " ".join(_draw.choices(WORDS, k=tokens))


class Gate:
    """What stands before a store: searches wait until it is open."""

    def __init__(self) -> None:
        self.asked, self.open = asyncio.Event(), asyncio.Event()
        self.open.set()

    def shut(self) -> None:
        """Hold back the searches that come."""
        self.asked, self.open = asyncio.Event(), asyncio.Event()

    def wrap(self, handle: EngineHandle, config: Mapping[str, Any]) -> EngineHandle:
        """The store behind the gate; other engines as they are."""
        return cast(EngineHandle, _Gated(handle, self)) if config["kind"] == "store" else handle


class _Gated:
    def __init__(self, handle: EngineHandle, gate: Gate) -> None:
        self._handle, self._gate = handle, gate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)

    async def run(self, batch: Sequence[Request]) -> Any:
        if any(request.operation == "search" for request in batch):
            self._gate.asked.set()
            await self._gate.open.wait()
        return await self._handle.run(batch)


class Watch:
    """An observer of a pool: the tokens of warm-ups, what calls found in the cache, and when the
    last call's first token came, on the loop's clock."""

    def __init__(self) -> None:
        self.early = self.found = 0
        self.first_token_s: float | None = None
        self.warmed = asyncio.Event()

    def see(self, event: Observation) -> None:
        """An LLM has done something."""
        if isinstance(event, CallEnded) and event.warm:
            self.early += event.prompt_tokens
            self.warmed.set()
        elif isinstance(event, CallEnded):
            self.found += event.cached_tokens
            self.first_token_s = event.first_token_s


@dataclass
class Bench:
    """A started backend: plans that warm up or do not, their engines, what is seen of them."""

    plans: Mapping[str, Plan]
    pool: EnginePool
    gate: Gate

    async def first_token(self, side: str, tokens: int) -> float:
        """Seconds from what is late of a prompt to the first token."""
        self.gate.shut()
        watch = self.pool.observe(Watch())
        early = background(tokens - LATE_TOKENS)
        async with Runner(self.plans[side], pool=self.pool, share=False) as runner:
            opening = asyncio.create_task(self._open(watch.warmed if side == "warm" else None))
            await runner.run(background=early, question="where?", documents=DOCUMENTS)
            opened_s = await opening
        self.pool.observers.remove(watch)
        if watch.first_token_s is None:
            raise SystemExit("the model gave no token")
        return watch.first_token_s - opened_s

    async def _open(self, warmed: asyncio.Event | None) -> float:
        """Open the gate when the LLM has done what it can, and what is late is asked for."""
        await self.gate.asked.wait()
        if warmed is not None:
            await warmed.wait()
        self.gate.open.set()
        return asyncio.get_running_loop().time()

    async def load(self, seconds_each: float) -> dict[str, Any]:
        """Queries at LOAD of the capacity; one in GIVEN_UP leaves while it searches."""
        (llm,) = (one for one in self.pool.engines.values() if one.kind == "llm")
        before = asdict(llm.calls.warm_ups.counts)
        watch = self.pool.observe(Watch())
        async with Runner(self.plans["under load"], pool=self.pool, share=False) as runner:
            jobs = []
            for number in range(QUERIES):
                jobs.append(asyncio.create_task(self._query(runner, number)))
                await asyncio.sleep(_draw.expovariate(LOAD / seconds_each))
            await asyncio.gather(*jobs)
        self.pool.observers.remove(watch)
        after = asdict(llm.calls.warm_ups.counts)
        return {
            "queries": QUERIES,
            "given up": -(-QUERIES // GIVEN_UP),
            "warm-ups": {name: after[name] - before[name] for name in after if name != "tokens"},
            "tokens computed early": watch.early,
            "of these found by a call": watch.found,
            "part wasted": round(1 - watch.found / watch.early, 3) if watch.early else 0.0,
        }

    async def _query(self, runner: Runner, number: int) -> None:
        inputs = {"background": background(256 - LATE_TOKENS), "question": "where?"}
        run = runner.run(documents=DOCUMENTS, **inputs)
        if number % GIVEN_UP:
            await run
            return
        try:
            await asyncio.wait_for(run, SEARCH_MS / 2000)
        except TimeoutError:
            return


def compiled(engine: str) -> dict[str, Plan]:
    """The sides, on an LLM."""
    late = [engine, f"engines.store.latency_ms={SEARCH_MS}"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "early.yaml")
        file.write_text(json.dumps(WORKFLOW), encoding="utf-8")
        return {
            "warm": compile_workflow(file, sets=[engine]),
            "cold": compile_workflow(file, sets=[engine], disable=["split-prefill"]),
            "under load": compile_workflow(file, sets=late),
        }


@asynccontextmanager
async def started(engine: Mapping[str, Any]) -> AsyncIterator[Bench]:
    """A backend that has answered once."""
    gate = Gate()
    async with EnginePool(wrap=gate.wrap) as pool:
        bench = Bench(compiled(f"engines.llm={json.dumps(engine)}"), pool, gate)
        for side in ("warm", "cold"):
            await bench.first_token(side, 200)
        yield bench


async def measure(engine: Mapping[str, Any]) -> dict[str, Any]:
    """All lengths, and the load."""
    found: dict[str, Any] = {}
    each = 0.0
    async with started(engine) as bench:
        for tokens, runs in RUNS.items():
            times: dict[str, list[float]] = {"warm": [], "cold": []}
            for _ in range(runs):
                for side, values in times.items():
                    values.append(await bench.first_token(side, tokens))
            each = each or statistics.median(times["cold"])
            medians = {side: statistics.median(values) for side, values in times.items()}
            found[f"{tokens} tokens"] = {
                **{f"seconds, {side}": spread(values) for side, values in times.items()},
                "cold / warm": round(medians["cold"] / medians["warm"], 1),
            }
            print(f"    {tokens} tokens: {medians}", flush=True)
        found["under load"] = await bench.load(each)
    return found


@contextmanager
def server(dtype: str) -> Iterator[dict[str, Any]]:
    """The settings of an engine on vLLM's own server."""
    folder = ensure({"model": MODEL})
    numbers = ("--dtype", dtype, "--max-model-len", str(LONGEST), "--block-size", "32")
    with served(folder, MODEL, *numbers, "--enforce-eager", "--kv-cache-memory-bytes", "1G") as url:
        yield {
            "kind": "llm",
            "backend": "openai",
            "model": MODEL,
            "base_url": url,
            "path": str(folder),
            "warm_ups": True,
        }


def main() -> None:
    """Measure."""
    require_vllm()
    dtype = str(best_dtype("cpu")).removeprefix("torch.")
    common = {"kind": "llm", "model": MODEL, "dtype": dtype}
    backends: dict[str, AbstractContextManager[dict[str, Any]]] = {
        "transformers": nullcontext({**common, "backend": "transformers"}),
        "vllm": nullcontext({**common, "backend": "vllm", "max_model_len": LONGEST}),
        "openai (vLLM's server)": server(dtype),
    }
    found: dict[str, Any] = {
        "dtype": dtype,
        "late tokens, about": LATE_TOKENS,
        "vLLM": vllm_version(),
    }
    for name, settings in backends.items():
        print(f"  {name}:", flush=True)
        with settings as engine:
            found[name] = asyncio.run(measure(engine))
    save("early_prefill", found)


if __name__ == "__main__":
    main()
