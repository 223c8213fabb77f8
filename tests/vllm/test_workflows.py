"""Workflows whose engines run on real vLLM."""

import asyncio
import json
import subprocess
import sys
from types import SimpleNamespace
from unittest.mock import ANY

import pytest

from benchmarks.vllm_server import served
from teola.runtime import EnginePool, Runner
from teola.runtime.models import ensure
from teola.runtime.observing.prometheus import PrometheusMetrics

pytestmark = pytest.mark.vllm

SETTINGS = {"dtype": "float32", "kv_cache_gib": "0.5", "max_model_len": "4096"}
MODEL = "smollm2-135m-instruct"
QUESTION = "Can other connections keep reading while one is writing?"
LLM = {"kind": "llm", "backend": "vllm", "dtype": "float32", "kv_cache_gib": 0.25}
SHORT = {"max_tokens": 8}
HELD, WAITED = "teola_engine_kv_used_ratio", "teola_engine_queue_seconds_sum"


def two_models(folder):
    """A workflow of two models, one of them in a folder."""
    large = {**LLM, "model": MODEL, "max_model_len": 512, "max_num_seqs": 1}
    small = {**LLM, "path": str(folder), "max_model_len": 256}
    ask = {"llm": "small", "prompt": "{{ question }}", "sampling": SHORT}
    answer = {"llm": "large", "prompt": "{{ draft }}", "sampling": SHORT}
    return {
        "teola": 1,
        "name": "two_models",
        "inputs": {"question": "text"},
        "engines": {"large": large, "small": small},
        "modules": {
            "draft": {"uses": "generate", "inputs": {"question": "inputs.question"}, "with": ask},
            "answer": {"uses": "generate", "inputs": {"draft": "draft.text"}, "with": answer},
        },
        "outputs": {"answer": "answer.text"},
    }


def asked(root, trace, settings):
    """What `teola-run workflows/advanced_rag.yaml` says with an LLM of other settings, and the
    tokens of prompts that its trace shows as found in the cache."""
    sets = ["--set", "defaults.timeout=10m"]
    for name, value in settings.items():
        sets += ["--set", f"engines.llm.{name}={value}"]
    given = ["-i", "documents=workflows/data/sqlite/faq.md"]
    command = [sys.executable, "-m", "teola.runtime.cli", "run", "workflows/advanced_rag.yaml"]
    done = subprocess.run(
        [*command, "-i", f"question={QUESTION}", *given, *sets, "--trace", str(trace), "--json"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    hits = sum(event.get("args", {}).get("cached_tokens", 0) for event in events)
    return json.loads(done.stdout)["outputs"]["answer"], hits


def test_advanced_rag_answers_and_its_trace_shows_prefix_hits(root, tmp_path):
    """With the LLM on vLLM; and on vLLM's own server, started by itself, it answers the same."""
    answer, hits = asked(root, tmp_path / "own.json", {"backend": "vllm", **SETTINGS})
    assert answer
    assert hits > 0
    folder = ensure({"kind": "llm", "model": MODEL})
    options = ("--dtype", "float32", "--max-model-len", "4096", "--enforce-eager")
    room = ("--kv-cache-memory-bytes", str(1 << 29))
    with served(folder, "served", *options, *room) as url:
        there = {"backend": "openai", "base_url": url, "model": "served", "path": folder}
        assert asked(root, tmp_path / "server.json", {**there, "warm_ups": "true"}) == (answer, ANY)


def value(metrics, name, engine):
    """What a scrape gives for an engine."""
    labels = {"engine": engine}
    return metrics.registry.get_sample_value(name, labels) or metrics.registry.get_sample_value(
        name, {**labels, "replica": "1"}
    )


class Told:
    """Hears that something has happened."""

    def __init__(self):
        self.heard = asyncio.Event()

    def see(self, _):
        self.heard.set()

    async def more(self):
        await self.heard.wait()
        self.heard.clear()


@pytest.fixture(scope="module")
def two(tmp_path_factory, llama):
    """A query on two models, and then more than these run at once until they have done so for a
    while: its result, and what vLLM told of the KV then, and after all were cancelled."""
    workflow = tmp_path_factory.mktemp("workflow") / "two_models.yaml"
    workflow.write_text(json.dumps(two_models(llama)), encoding="utf-8")

    async def main():
        async with EnginePool() as pool, Runner(workflow, pool=pool) as runner:
            result = await runner.run(question=QUESTION)
            metrics = pool.observe(PrometheusMetrics(pool))
            ask = (runner.run(question=f"{one}. {QUESTION}") for one in range(200))
            running = [asyncio.ensure_future(one) for one in ask]
            told = pool.observe(Told())
            while not ((held := value(metrics, HELD, "large")) and value(metrics, WAITED, "large")):
                await told.more()
            for one in running:
                one.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            while value(metrics, HELD, "large"):
                await told.more()
            return SimpleNamespace(result=result, metrics=metrics, held=held)

    return asyncio.run(asyncio.wait_for(main(), 400))


def test_one_workflow_uses_two_models(two):
    """Each in an engine of its own, on one machine."""
    assert two.result["answer"]
    calls = {entry.engine: entry for entry in two.result.timeline if entry.engine}
    assert set(calls) == {"small", "large"}


def test_what_vllm_counts_are_metrics(two):
    """The KV in use, which those who are cancelled give back; what calls wait in vLLM; tokens of
    prompts, and those of them that were cached."""
    assert 0 < two.held < 1
    assert value(two.metrics, HELD, "large") == 0
    assert value(two.metrics, WAITED, "large") > 0
    asked = value(two.metrics, "teola_engine_prefix_query_tokens_total", "large")
    assert 0 <= value(two.metrics, "teola_engine_prefix_hit_tokens_total", "large") < asked
    assert value(two.metrics, "teola_engine_preemptions_total", "large") == 0
