"""Workflows whose engines run on real vLLM."""

import asyncio
import json
import subprocess
import sys

import pytest

from teola.runtime import Runner

pytestmark = pytest.mark.vllm

SETTINGS = {"dtype": "float32", "kv_cache_gib": "0.5", "max_model_len": "4096"}
QUESTION = "Can other connections keep reading while one is writing?"
LLM = {"kind": "llm", "backend": "vllm", "dtype": "float32", "kv_cache_gib": 0.25}
SHORT = {"max_tokens": 8}


def two_models(folder):
    """A workflow of two models, one of them in a folder."""
    large = {**LLM, "model": "smollm2-135m-instruct", "max_model_len": 512}
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


def test_advanced_rag_answers_and_its_trace_shows_prefix_hits(root, tmp_path):
    """`teola-run workflows/advanced_rag.yaml` with the LLM on vLLM."""
    sets = ["--set", "engines.llm.backend=vllm", "--set", "defaults.timeout=10m"]
    for name, value in SETTINGS.items():
        sets += ["--set", f"engines.llm.{name}={value}"]
    given = ["-i", "documents=workflows/data/sqlite/faq.md"]
    trace = tmp_path / "run.json"
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
    assert json.loads(done.stdout)["outputs"]["answer"]
    events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    hits = [
        event["args"]["cached_tokens"]
        for event in events
        if "cached_tokens" in event.get("args", {})
    ]
    assert sum(hits) > 0


def test_one_workflow_uses_two_models(tmp_path, llama):
    """Each in an engine of its own, on one machine."""
    workflow = tmp_path / "two_models.yaml"
    workflow.write_text(json.dumps(two_models(llama)), encoding="utf-8")

    async def main():
        async with Runner(workflow) as runner:
            return await runner.run(question=QUESTION)

    assert isinstance(asyncio.run(main())["answer"], str)
