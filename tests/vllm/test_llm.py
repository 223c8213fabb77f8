"""What only vLLM tells of its language models; `tests/engines` holds them to what all do."""

import asyncio

import pytest

from teola.runtime.engines.protocol import Grammar
from teola.runtime.engines.tokenizer import load_tokenizer

pytestmark = pytest.mark.vllm

QUESTIONS = ("What is the capital of France?", "Name three colours.", "Is water wet?")


@pytest.fixture(scope="session")
def prompts(llm):
    tokenizer = load_tokenizer(llm.config)
    return [tokenizer.encode_chat([{"role": "user", "content": one}]) for one in QUESTIONS]


def long_prompt(seed):
    """500 tokens like nobody else's."""
    return [1000 + (seed * 977 + place * 31) % 9000 for place in range(500)]


def test_answers_are_those_of_transformers(llm, prompts):
    """The weights, the numbers and the end are the same."""
    import torch
    from transformers import AutoModelForCausalLM

    from teola.runtime.models import ensure

    folder = ensure(llm.config)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for prompt in prompts[:2]:
        (answer,) = llm.generate((prompt, 24, {}))
        tokens = torch.tensor([prompt])
        made = model.generate(
            tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=24, do_sample=False
        )
        expected = made[0, len(prompt) :].tolist()
        assert answer.tokens == [one for one in expected if one != load_tokenizer(llm.config).eos]


def test_a_warm_up_makes_the_prompt_cached(llm):
    """Whole blocks of it, as the call itself tells; the answer is that of a cold one."""
    prompt, block = long_prompt(1), llm.capabilities.block_tokens
    (cold,) = llm.generate((prompt[1:], 8, {"ignore_eos": True}))
    before = llm.run(llm.handle.control("describe", {}))
    (warm_up,) = llm.generate((prompt[:400], 1, {"warm": True}))
    assert [(event.tokens, event.finish_reason) for event in warm_up.events] == [((), "length")]
    (warmed,) = llm.generate((prompt, 8, {"ignore_eos": True}))
    assert cold.events[0].cached == 0
    assert warmed.events[0].cached == 400 // block * block
    assert all(event.cached is None for event in warmed.events[1:])
    after = llm.run(llm.handle.control("describe", {}))
    assert after["prefix_hit_tokens"] - before["prefix_hit_tokens"] == 400 // block * block
    (again,) = llm.generate((prompt, 8, {"ignore_eos": True}))
    assert again.tokens == warmed.tokens


def test_a_prefix_is_shared_while_it_is_computed(llm):
    """What two requests of one step begin with is computed once."""
    prompt, block = long_prompt(2), llm.capabilities.block_tokens
    first, second = llm.generate((prompt, 2, {}), ([*prompt, 7, 8, 9], 2, {}))
    assert first.events[0].cached == 0
    assert second.events[0].cached == 500 // block * block


def test_an_aborted_request_gives_its_kv_back(llm, prompts):
    """As vLLM's own metric tells; nothing is heard of it."""
    stopped = llm.request(prompts[0], 500, ignore_eos=True)

    async def scene():
        await llm.handle.submit([stopped])
        while len(llm.answers[stopped.id].events) < 3:
            await asyncio.sleep(0)
        busy = await llm.handle.control("describe", {})
        await llm.handle.abort([stopped.id, "nobody's"])
        heard = len(llm.answers[stopped.id].events)
        await llm.finish([llm.request(prompts[1], 4)])
        return busy, heard, await llm.handle.control("describe", {})

    busy, heard, idle = llm.run(scene())
    assert (busy["running"], idle["running"]) == (1, 0)
    assert busy["kv_used_ratio"] > 0
    assert idle["kv_used_ratio"] == 0
    assert len(llm.answers[stopped.id].events) == heard


def test_a_schema_that_is_none_fails_its_request_only(llm, prompts):
    bad, fine = llm.generate(
        (prompts[0], 8, {"grammar": Grammar(json_schema='{"type": "nothing"}')}),
        (prompts[0], 8, {}),
    )
    assert bad.failure.kind == "item"
    assert fine.failure is None
