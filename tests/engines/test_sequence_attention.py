"""Attention sequence by sequence gives what one masked attention over the whole step gives."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engines.test_decode_graphs import plain

pytestmark = pytest.mark.models  # it needs PyTorch

HEADS, KV_HEADS, SIZE = 4, 2, 8
SEQUENCES = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 9)), min_size=1, max_size=5)
"""(New tokens, tokens of its past) of each sequence of a step."""


@pytest.mark.parametrize("packed", [False, True])
@settings(deadline=None)
@given(sequences=SEQUENCES.filter(lambda found: any(new for new, _ in found)))
def test_each_token_sees_its_own_sequence_up_to_itself(packed, sequences):
    """Sequence by sequence, and handed over as the kernel for GPUs takes them."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    from teola.runtime.engines.transformers import packed_attention, sequence_attention

    attention = (packed_attention if packed else sequence_attention).attention
    torch.manual_seed(0)
    new = [count for count, _ in sequences]
    known = [count + past if count else 0 for count, past in sequences]
    query = torch.randn(1, HEADS, sum(new), SIZE)
    keys, values = (torch.randn(1, KV_HEADS, sum(known), SIZE) for _ in range(2))

    def update(key, value, layer, more):
        assert (key, value, layer) == ("new keys", "new values", 3)
        for name in ("cu_seq_lens_k", "max_length_k"):
            more[name] = more[name]["full_attention"]
        return keys, values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.ops.aten, "_flash_attention_forward", plain)
        found, weights = attention(
            SimpleNamespace(layer_idx=3),
            query,
            "new keys",
            "new values",
            None,
            scaling=0.3,
            cache=SimpleNamespace(update=update),
            cu_seq_lens_q=_begins(new),
            cu_seq_lens_k={"full_attention": _begins(known)},
            max_length_q=max(new),
            max_length_k={"full_attention": max(known)},
            is_causal=True,
        )
    mask = torch.block_diag(
        *(
            torch.ones(count, count + past).tril(past) if count else torch.ones(0, 0)
            for count, past in sequences
        )
    )
    expected = scaled_dot_product_attention(
        query, keys, values, attn_mask=mask.bool(), scale=0.3, enable_gqa=True
    )
    assert weights is None
    assert torch.allclose(found, expected.transpose(1, 2), atol=1e-5)


def _begins(lengths):
    import torch

    return torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0)


def _model(**config):
    from transformers import LlamaConfig, MistralConfig, MistralForCausalLM
    from transformers.models.llama import LlamaForCausalLM

    sizes = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
    }
    if "sliding_window" in config:
        return MistralForCausalLM(MistralConfig(**sizes, **config))
    model = LlamaForCausalLM(LlamaConfig(**sizes))
    model.set_attn_implementation(config.get("attention", "sdpa"))
    return model


@pytest.mark.parametrize(
    ("config", "does"),
    [({}, True), ({"attention": "eager"}, False), ({"sliding_window": 8}, False)],
)
def test_only_plain_attention_over_everything_is_replaced(config, does):
    from teola.runtime.engines.transformers.sequence_attention import NAME, attend_by_sequence

    model = _model(**config)
    before = model.config._attn_implementation
    assert attend_by_sequence(model) is does
    assert model.config._attn_implementation == (NAME if does else before)


def test_a_kernel_that_gives_something_else_is_not_used(monkeypatch, caplog):
    """Nor one that cannot be called, and for numbers that it does not take."""
    import torch

    from teola.runtime.engines.transformers import packed_attention

    model = _model().to(torch.bfloat16)
    assert not packed_attention.can_attend_packed(model)  # it is for GPUs
    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", plain)
    assert packed_attention._why_not(model) == ""
    assert "no float32" in packed_attention._why_not(model.to(torch.float32))
    model.to(torch.bfloat16)
    monkeypatch.setattr(
        *(torch.ops.aten, "_flash_attention_forward"),
        lambda *arguments, scale: (plain(*arguments, scale=scale)[0] + 1,),
    )
    assert "off by 1" in packed_attention._why_not(model)

    def missing(*_, **__):
        raise NotImplementedError("no kernel for the backend")

    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", missing)
    assert "no kernel for the backend" in packed_attention._why_not(model)
