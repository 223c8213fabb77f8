"""Room for KV on a GPU: counted here, without one."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.runtime.engines.kv_budget import KVBudget
from teola.runtime.engines.transformers.gpu_memory import (
    GIB,
    GpuMemory,
    KVShape,
    pages_that_fit,
)
from teola.runtime.errors import UnsupportedError

LLAMA_8B = SimpleNamespace(
    num_attention_heads=32,
    num_key_value_heads=8,
    hidden_size=4096,
    num_hidden_layers=32,
    vocab_size=128_256,
)
H100 = GpuMemory(total=80 * GIB, free=62 * GIB, own=16 * GIB)


def pages(memory, utilization=None, most_tokens=64 * 8192, batch_tokens=2048):
    return pages_that_fit(
        memory,
        KVShape.of(LLAMA_8B, item_bytes=2),
        utilization=utilization,
        page_tokens=16,
        batch_tokens=batch_tokens,
        most_tokens=most_tokens,
        item_bytes=2,
    )


def test_a_token_of_llama_takes_128_kib():
    assert KVShape.of(LLAMA_8B, item_bytes=2).token_bytes == 128 << 10


def test_half_of_what_is_free_is_taken_by_default_and_no_more_than_requests_can_fill():
    assert 150_000 < pages(H100) * 16 < 31 * GIB // (128 << 10)
    assert pages(H100, most_tokens=64 * 1024) == 64 * 1024 // 16


def test_engines_share_a_gpu_by_the_part_that_each_may_take():
    """A second engine that starts finds less free, and stays within its own part."""
    assert H100.room(0.4) == 16 * GIB
    assert GpuMemory(80 * GIB, 40 * GIB, 16 * GIB).room(0.4) == 16 * GIB
    assert H100.room(0.1) < 0
    assert GpuMemory(80 * GIB, 3 * GIB, 16 * GIB).room(0.9) == 3 * GIB


@given(
    free=st.integers(0, 80),
    own=st.integers(0, 40),
    utilization=st.none() | st.floats(0.01, 1),
    batch_tokens=st.sampled_from([256, 2048, 8192]),
)
def test_the_cache_and_what_reads_it_stay_within_the_room(free, own, utilization, batch_tokens):
    memory = GpuMemory(80 * GIB, free * GIB, own * GIB)
    try:
        found = pages(memory, utilization, 1 << 30, batch_tokens) * 16
    except UnsupportedError:
        return
    shape = KVShape.of(LLAMA_8B, item_bytes=2)
    mask = 2 * batch_tokens * (found + batch_tokens)
    taken = found * (shape.token_bytes + shape.read_bytes) + batch_tokens * shape.step_bytes + mask
    assert taken + GIB <= memory.room(utilization) <= memory.free


def test_an_explicit_number_of_pages_is_not_asked_for():
    def fitting(_):
        pytest.fail("the settings say")

    budget = KVBudget.on_gpu({"kv_pages": 512}, fitting)
    assert (budget.pages, budget.batch_tokens, budget.max_requests) == (512, 2048, 64)
    assert KVBudget.on_gpu({"batch_tokens": 99}, lambda empty: empty.batch_tokens).pages == 99
    with pytest.raises(UnsupportedError, match="kv_pages: 3"):
        KVBudget.on_gpu({"kv_pages": 3}, fitting)


def test_where_there_is_no_room_the_message_says_what_to_change():
    with pytest.raises(UnsupportedError, match=r"80.0 GiB .* 16.0, 62.0 are free.*gpu_memory_ut"):
        pages(H100, utilization=0.2)
