"""vLLM through Teola against vLLM's own offline throughput (`LLM.generate`), on the same prompts.

Target (fifth issue): at least 97 % of it. One query a prompt, all at once, streamed and made text;
vLLM alone gets tokens and gives text at the end. Both have their engine core in processes of its
own and the same weights, numbers, lengths and room. The sides take turns in going first; no prompt
is used twice by a side. Needs vLLM: run it with the Python of `make test-vllm`'s environment.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.prefill import WORDS
from benchmarks.report import save, spread
from benchmarks.vllm_server import vllm_version
from teola.compiler.api import compile_workflow
from teola.compiler.plan import Plan
from teola.runtime import Runner
from teola.runtime.collector import rare_collection
from teola.runtime.engines.tokenizer import load_tokenizer
from teola.runtime.engines.vllm.arguments import arguments, environment
from teola.runtime.engines.vllm.installed import require_vllm
from teola.runtime.hosts.environment import child_environment
from teola.runtime.models import ensure

PROMPTS, PROMPT_WORDS, ANSWER = 48, 60, 32
ROUNDS = 4
CONFIG = {
    "kind": "llm",
    "backend": "vllm",
    "model": "smollm2-135m-instruct",
    "max_model_len": 512,
    "max_num_seqs": 16,
    "max_num_batched_tokens": 2048,  # vLLM's own default depends on who asks
}
WORKFLOW = {
    "teola": 1,
    "name": "offline",
    "inputs": {"text": "text"},
    "engines": {"llm": CONFIG},
    "modules": {
        "answer": {
            "uses": "generate",
            "inputs": {"text": "inputs.text"},
            "with": {
                "prompt": "{{ text }}",
                "sampling": {"max_tokens": ANSWER, "ignore_eos": True},
            },
        }
    },
    "outputs": {"answer": "answer.text"},
    "defaults": {"timeout": "10m"},
}


class Done(NamedTuple):
    """What a side has made of all prompts."""

    seconds: float
    prompt_tokens: int
    tokens: int

    @property
    def rate(self) -> float:
        """Tokens a second, those of the prompts included, as vLLM's own benchmark counts."""
        return (self.prompt_tokens + self.tokens) / self.seconds


def alone(dtype: str, on_cpu: bool, connection: Connection) -> None:
    """A process of vLLM's user: answers prompts that come in with how long they took."""
    os.environ.update({**child_environment(CONFIG, offline=True), **environment(CONFIG)})
    from vllm import LLM, SamplingParams

    engine = LLM(**{**arguments(ensure(CONFIG), CONFIG, dtype, cpu=on_cpu), **OWN_DEFAULTS})
    how = SamplingParams(max_tokens=ANSWER, temperature=0, ignore_eos=True)
    while (prompts := connection.recv()) is not None:
        start = time.perf_counter()
        made = engine.generate([{"prompt_token_ids": one} for one in prompts], how, use_tqdm=False)
        seconds = time.perf_counter() - start
        counts = [len(one.outputs[0].token_ids) for one in made]
        connection.send(Done(seconds, sum(map(len, prompts)), sum(counts)))
    engine.llm_engine.engine_core.shutdown()


OWN_DEFAULTS = {"disable_log_stats": True}
"""What Teola asks of vLLM for itself, as vLLM's own user has it."""


async def through_teola(runner: Runner, texts: Sequence[str]) -> Done:
    """One query a text."""
    with rare_collection():
        start = time.perf_counter()
        results = await asyncio.gather(*(runner.run(text=text) for text in texts))
        seconds = time.perf_counter() - start
    usages = [result.usage for result in results]
    return Done(
        seconds,
        sum(usage.prompt_tokens for usage in usages),
        sum(usage.completion_tokens for usage in usages),
    )


async def by_itself(connection: Connection, prompts: Sequence[Sequence[int]]) -> Done:
    """The same prompts, to the process of vLLM's user."""
    connection.send(prompts)
    done: Done = await asyncio.to_thread(connection.recv)
    return done


async def measure(plan: Plan, connection: Connection) -> dict[str, Any]:
    """Both sides, one after the other, the first time to warm them up."""
    encode = load_tokenizer(CONFIG).encode_chat
    draw = random.Random(5)  # noqa: S311 - prompts, no secrets
    sides: dict[str, list[Done]] = {"Teola": [], "vLLM": []}
    async with Runner(plan) as runner:
        for number in range(ROUNDS + 1):
            texts = [" ".join(draw.choices(WORDS, k=PROMPT_WORDS)) for _ in range(PROMPTS)]
            prompts = [encode([{"role": "user", "content": text}]) for text in texts]
            if number % 2:
                theirs = await by_itself(connection, prompts)
                ours = await through_teola(runner, texts)
            else:
                ours = await through_teola(runner, texts)
                theirs = await by_itself(connection, prompts)
            if ours[1:] != theirs[1:]:
                raise SystemExit(f"not the same tokens: {ours} and {theirs}")
            if number:
                sides["Teola"].append(ours)
                sides["vLLM"].append(theirs)
            print(f"  {ours.rate:.0f} against {theirs.rate:.0f} tokens a second", flush=True)
    return figures(sides)


def figures(sides: dict[str, list[Done]]) -> dict[str, Any]:
    """What is reported."""
    pairs = zip(sides["Teola"], sides["vLLM"], strict=True)
    made = sides["Teola"][0]
    return {
        "part of vLLM's own throughput (target 0.97)": spread([a.rate / b.rate for a, b in pairs]),
        **{
            f"tokens a second, {name}": spread([one.rate for one in done], 1)
            for name, done in sides.items()
        },
        "prompts": PROMPTS,
        "tokens of all prompts": made.prompt_tokens,
        "tokens of all answers": made.tokens,
    }


def numbers() -> tuple[str, bool]:
    """The dtype of both sides, and whether they compute on the CPU."""
    import torch

    from teola.runtime.engines.torch_settings import best_dtype

    on_cpu = not torch.cuda.is_available()
    return ("bfloat16" if not on_cpu else str(best_dtype("cpu")).removeprefix("torch.")), on_cpu


def main() -> None:
    """Measure."""
    require_vllm()
    dtype, on_cpu = numbers()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=alone, args=(dtype, on_cpu, theirs)
    )
    process.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "offline.yaml")
            file.write_text(json.dumps(WORKFLOW), encoding="utf-8")
            plan = compile_workflow(file, sets=[f"engines.llm.dtype={dtype}"])
            found = asyncio.run(measure(plan, ours))
        ours.send(None)
        process.join()
    finally:
        process.terminate()
    save("vllm_offline", {**found, "dtype": dtype, "vLLM": vllm_version()})


if __name__ == "__main__":
    main()
