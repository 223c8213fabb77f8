"""The suite that every engine passes (tests/engines), on engines on a GPU, in float32: a run of its
own for each kind, so that one engine is on the GPU at a time."""

import importlib.util
import json
import subprocess
import sys

import pytest

LIMIT_S = 240
CUT = {"truncate": True}
UNFIT = "not is_said_to_be_kept_is_not_computed_again and not of_what_a_grammar_allows"
"""A model this small computes a prompt in the time of one launch (benchmarks/gpu shows what a
prefix saves); and hundreds of its tokens end an answer, more than are told."""


def run_suite(root, engine, *files, but=UNFIT):
    """Run tests/engines against one engine more, and only that."""
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *("--engine", json.dumps(engine), "-k", f"{engine['backend']}-given and {but}"),
        *(f"tests/engines/{file}" for file in files),
    ]
    done = subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    print(done.stdout[-6000:], done.stderr[-2000:])
    assert done.returncode == 0, f"{engine['kind']} on {engine['backend']}: see what is printed"
    assert " passed" in done.stdout


def settings(kind, backend, folder, device, **more):
    dtype = {"dtype": "float32"}
    return {
        "kind": kind,
        "backend": backend,
        "path": str(folder),
        "device": device,
        **dtype,
        **more,
    }


def test_transformers(root, llama, device):
    """With too little room for KV on the other engine: its room, not the context, is the limit."""
    engine = settings("llm", "transformers", llama, device, kv_pages=1024, other={"kv_pages": 64})
    run_suite(root, engine, "test_llms.py")


def test_sentence_transformers(root, embedder, device):
    engine = settings("embedder", "sentence-transformers", embedder, device, other=CUT)
    run_suite(root, engine, "test_items.py")


def test_cross_encoder(root, cross_encoder, device):
    engine = settings("reranker", "cross-encoder", cross_encoder, device, other=CUT)
    run_suite(root, engine, "test_items.py")


def test_maxsim(root, embedder, device):
    engine = settings("reranker", "maxsim", embedder, device, other=CUT)
    run_suite(root, engine, "test_items.py")


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
def test_vllm(root, llama, cuda):
    more = {"max_model_len": 2048, "max_num_seqs": 8, "gpu_memory_utilization": 0.3}
    run_suite(root, settings("llm", "vllm", llama, cuda, **more), "test_llms.py")
