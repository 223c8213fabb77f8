"""transformers on a GPU: bfloat16, flash attention, CUDA graphs, room for KV."""

import pytest

from teola.runtime.engines.protocol import Grammar, Sampling
from teola.runtime.errors import TeolaError

LENGTHS = (3, 40, 200, 700)


def said_after(vocabulary, prompt, count):
    """What the model that says one text says after a prompt."""
    tokens = [prompt[-1]]
    for _ in range(count):
        tokens.append(vocabulary.after(tokens[-1]))
    return tokens[1:]


def prompt(size, start):
    return [100 + (start * 37 + place * 7) % 7000 for place in range(size)]


@pytest.fixture(scope="module")
def vocabulary(saying):
    import json

    from benchmarks.gpu.tokenizers import SAID, Vocabulary

    whole = json.loads((saying / "tokenizer.json").read_text(encoding="utf-8"))
    return Vocabulary(len(whole["model"]["vocab"]) - SAID)


@pytest.fixture(scope="module")
def config(saying, device):
    dtype = "float32" if device == "cpu" else "auto"
    return {
        "kind": "llm", "backend": "transformers", "path": str(saying),
        "device": device, "dtype": dtype, "kv_pages": 1024,
    }  # fmt: skip


@pytest.fixture(scope="module")
def llm(start, config):
    return start(config)


def test_the_numbers_are_bfloat16_and_steps_that_decode_are_recorded(llm, cuda):
    details = llm.capabilities.details
    assert details["dtype"] == "bfloat16"
    assert (details["attention"], details["cuda_graphs"]) == ("flash", True)
    llm.generate((prompt(50, 1), 24, {"ignore_eos": True}))
    assert llm.control("describe")["cuda_graphs"] > 0


def test_answers_are_those_of_the_text_alone_together_and_after_a_warm_up(llm, vocabulary):
    """In bfloat16 too: each row of a step is its own request's, whatever is recorded."""
    prompts = [prompt(size, start) for start, size in enumerate(LENGTHS * 3)]
    expected = [said_after(vocabulary, one, 20) for one in prompts]
    asked = [(one, 20, {"ignore_eos": True}) for one in prompts]
    assert [one.tokens for one in llm.generate(*asked)] == expected
    assert [llm.generate(one)[0].tokens for one in asked] == expected
    llm.generate((prompts[3][:600], 1, {"warm": True}))
    assert llm.generate(asked[3])[0].tokens == expected[3]


def test_what_one_request_wants_is_its_own_in_a_recorded_step(llm, vocabulary):
    """A drawn token, a shaped one and greedy ones in the same steps; the model is very sure."""
    greedy = [(prompt(9, start), 16, {"ignore_eos": True}) for start in range(3)]
    drawn = (prompt(9, 5), 16, {"ignore_eos": True, "sampling": Sampling(temperature=90.0, seed=1)})
    alone = llm.generate(drawn)[0].tokens
    together = [one.tokens for one in llm.generate(*greedy, drawn)]
    assert together[:3] == [said_after(vocabulary, one[0], 16) for one in greedy]
    assert together[3] != said_after(vocabulary, drawn[0], 16)
    assert len(set(alone)) > 8
    if "choices" in llm.capabilities.grammars:
        shaped = {"grammar": Grammar(choices=("yes", "no")), "ignore_eos": False}
        found = llm.generate(*greedy, (prompt(9, 6), 8, shaped))
        assert [one.tokens for one in found[:3]] == together[:3]
        assert found[3].finish_reason == "stop"


def test_without_graphs_the_answers_are_the_same(start, config, llm, vocabulary):
    eager = start({**config, "enforce_eager": True})
    assert eager.capabilities.details["cuda_graphs"] is False
    asked = (prompt(300, 3), 20, {"ignore_eos": True})
    assert eager.generate(asked)[0].tokens == llm.generate(asked)[0].tokens


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_kernel_gives_what_plain_attention_gives(cuda, dtype, llama, on_loop):
    """On a model whose answers depend on every token: no logit is off by more than rounding."""
    import torch
    import transformers

    from teola.runtime.engines.transformers import packed_attention

    model = transformers.AutoModelForCausalLM.from_pretrained(llama, dtype=getattr(torch, dtype))
    model.to(cuda).eval()
    why = packed_attention._why_not(model)
    assert why == ("" if dtype == "bfloat16" else "PyTorch's flash attention has no float32")


def test_room_is_what_the_gpu_has_or_what_the_settings_say(start, config, cuda):
    """Two engines on one GPU; the part that each may take bounds its room."""
    counted = {**config, "kv_pages": None}
    half = start({**counted, "gpu_memory_utilization": 0.05})
    other = start({**counted, "gpu_memory_utilization": 0.05})
    for one in (half, other):
        assert one.capabilities.kv_tokens > 16_000
        assert one.generate((prompt(9, 1), 4, {"ignore_eos": True}))[0].failure is None
    with pytest.raises(TeolaError, match="no room for KV"):
        start({**counted, "gpu_memory_utilization": 0.001})


def test_a_gpu_that_is_not_there_is_refused(start, config, cuda):
    with pytest.raises(TeolaError, match="no CUDA device: .*cuda:64"):
        start({**config, "device": "cuda:64"})
