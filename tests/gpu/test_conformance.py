"""The suite that every engine passes (tests/engines), on engines on a GPU, in float32: a run of its
own for each kind, so that one engine is on the GPU at a time."""

import importlib.util
import json
import subprocess
import sys

import pytest

LIMIT_S = 240
CUT = {"truncate": True}
UNFIT = " and not of_what_a_grammar_allows"
"""Of the small Llama hundreds of tokens end an answer, more than are told."""


def run_suite(root, engine, *files, but=""):
    """Run tests/engines against one engine more, and only that."""
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *("--engine", json.dumps(engine), "-k", f"{engine['backend']}-given{but}"),
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


ROOM = {"kv_pages": 1024, "other": {"kv_pages": 64}}
"""Too little for KV on the other engine: its room, not the context, is the limit."""


def test_transformers(root, smollm, device):
    engine = settings("llm", "transformers", smollm, device, meaning=True, **ROOM)
    run_suite(root, engine, "test_llms.py")


def test_transformers_on_random_weights(root, llama, device):
    engine = settings("llm", "transformers", llama, device, **ROOM)
    run_suite(root, engine, "test_llms.py", but=UNFIT)


def test_sentence_transformers(root, embedder, device):
    engine = settings("embedder", "sentence-transformers", embedder, device, other=CUT)
    run_suite(root, engine, "test_items.py")


def test_cross_encoder(root, cross_encoder, device):
    engine = settings("reranker", "cross-encoder", cross_encoder, device, other=CUT)
    run_suite(root, engine, "test_items.py")


def test_maxsim(root, embedder, device):
    engine = settings("reranker", "maxsim", embedder, device, other=CUT)
    run_suite(root, engine, "test_items.py")


WITH_VLLM = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"
)
PART = {"max_model_len": 2048, "max_num_seqs": 8, "gpu_memory_utilization": 0.3}


@WITH_VLLM
def test_vllm(root, smollm, cuda):
    engine = settings("llm", "vllm", smollm, cuda, meaning=True, **PART)
    run_suite(root, engine, "test_llms.py")


@WITH_VLLM
def test_vllm_on_random_weights(root, llama, cuda):
    run_suite(root, settings("llm", "vllm", llama, cuda, **PART), "test_llms.py", but=UNFIT)
