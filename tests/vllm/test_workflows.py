"""Workflows whose engines run on real vLLM."""

import asyncio
import json
import subprocess
import sys
from unittest.mock import ANY

import pytest

from benchmarks.vllm_server import served
from teola.runtime import Runner
from teola.runtime.models import ensure

pytestmark = pytest.mark.vllm

SETTINGS = {"dtype": "float32", "kv_cache_gib": "0.5", "max_model_len": "4096"}
MODEL = "smollm2-135m-instruct"
QUESTION = "Can other connections keep reading while one is writing?"
LLM = {"kind": "llm", "backend": "vllm", "dtype": "float32", "kv_cache_gib": 0.25}
SHORT = {"max_tokens": 8}


def two_models(folder):
    """A workflow of two models, one of them in a folder."""
    large = {**LLM, "model": MODEL, "max_model_len": 512}
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


def test_one_workflow_uses_two_models(tmp_path, llama):
    """Each in an engine of its own, on one machine."""
    workflow = tmp_path / "two_models.yaml"
    workflow.write_text(json.dumps(two_models(llama)), encoding="utf-8")

    async def main():
        async with Runner(workflow) as runner:
            return await runner.run(question=QUESTION)

    result = asyncio.run(main())
    assert result["answer"]
    calls = {entry.engine: entry for entry in result.timeline if entry.engine}
    assert set(calls) == {"small", "large"}
