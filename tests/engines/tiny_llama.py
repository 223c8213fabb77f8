"""A Llama of random weights, made on the spot."""

from __future__ import annotations

from tests.runtime.test_tokenizer import write_folder


def save_llama(folder, *, tokenizer=True, **settings):
    """A model of two layers with grouped heads, and a tokenizer of bytes; ``settings`` are added to
    its config."""
    import torch
    import transformers

    if tokenizer:
        write_folder(folder)
    torch.manual_seed(11)
    config = transformers.LlamaConfig(
        **{
            "vocab_size": 12_000,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "max_position_embeddings": 2048,
            "initializer_range": 0.3,
            "bos_token_id": 1,
            "eos_token_id": 2,
            **settings,
        }
    )
    transformers.LlamaForCausalLM(config).eval().save_pretrained(folder)
    return folder
