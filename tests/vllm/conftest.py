"""Engines on real vLLM, each started once for the whole session; numbers are float32."""

import asyncio
from contextlib import ExitStack

import pytest

from tests.engines.clients import LLMClient, started
from tests.vllm.folders import cross_encoder_folder, llama_folder, lora_folder

CALL_S = 600
"""A start takes three processes that import PyTorch one after the other."""
LLM = {"kind": "llm", "backend": "vllm", "dtype": "float32", "kv_cache_gib": 0.25}
SMOLLM = {**LLM, "model": "smollm2-135m-instruct", "max_model_len": 1024}
MINILM = {"model": "all-minilm-l6-v2", "dtype": "float32"}


@pytest.fixture(scope="session")
def on_loop():
    """Run a coroutine, bounded, on the one event loop that the session's engines live on."""
    with asyncio.Runner() as runner:
        yield lambda coroutine: runner.run(asyncio.wait_for(coroutine, CALL_S))


@pytest.fixture(scope="session")
def llm(on_loop):
    """SmolLM2."""
    with started(LLMClient, SMOLLM, on_loop) as one:
        yield one


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    """A folder with a tiny Llama of random weights."""
    return llama_folder(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def start(on_loop):
    """Start engines of configs; they end with the module."""
    with ExitStack() as ends:
        yield lambda client, config: ends.enter_context(started(client, config, on_loop))


@pytest.fixture(scope="module")
def tiny(llama):
    """The config of an engine on the tiny Llama."""
    return {**LLM, "path": str(llama), "model": "local", "max_model_len": 256}


@pytest.fixture(scope="session")
def lora(tmp_path_factory, llama):
    """A folder with a LoRA adapter for the tiny Llama."""
    return lora_folder(tmp_path_factory.mktemp("lora") / "adapter", llama)


@pytest.fixture(scope="session")
def other_lora(tmp_path_factory, llama):
    """A folder with another one."""
    return lora_folder(tmp_path_factory.mktemp("lora") / "other", llama, seed=2)


@pytest.fixture(scope="session")
def cross_encoder(tmp_path_factory):
    """A folder with a tiny cross-encoder of random weights."""
    return cross_encoder_folder(tmp_path_factory.mktemp("cross-encoder"))
