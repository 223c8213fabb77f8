"""Folders of tiny models with random weights, made on the spot."""

import json
import shutil
from pathlib import Path

from teola.runtime.models import ensure

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}


def _with_tokenizer(folder: Path, model: str) -> Path:
    """The folder with the tokenizer of a known model."""
    source = ensure({"model": model})
    for name in TOKENIZER:
        if (source / name).is_file():
            shutil.copy(source / name, folder / name)
    return folder


def _vocabulary(folder: Path) -> int:
    import tokenizers

    return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()


def llama_folder(folder: Path) -> Path:
    """A Llama of two layers, with SmolLM2's tokenizer."""
    import torch
    import transformers

    _with_tokenizer(folder, "smollm2-135m-instruct")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=_vocabulary(folder),
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=512,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=2,
        **SIZES,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def lora_folder(folder: Path, base: Path, seed: int = 1) -> Path:
    """An adapter that changes what the Llama of `llama_folder` says; each seed another one."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    folder.mkdir()
    hidden = SIZES["hidden_size"]
    name = "base_model.model.model.layers.{}.self_attn.{}_proj.lora_{}.weight"
    tensors = {}
    for layer in range(SIZES["num_hidden_layers"]):
        for one, width in (("q", 64), ("v", 32)):
            tensors[name.format(layer, one, "A")] = torch.randn(8, hidden)
            tensors[name.format(layer, one, "B")] = torch.randn(width, 8)
    save_file(tensors, str(folder / "adapter_model.safetensors"))
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(base),
        "r": 8,
        "lora_alpha": 16,
        "target_modules": ["q_proj", "v_proj"],
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def cross_encoder_folder(folder: Path) -> Path:
    """A BERT of two layers with one label, with MiniLM's tokenizer."""
    import torch
    import transformers

    _with_tokenizer(folder, "all-minilm-l6-v2")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=_vocabulary(folder),
        num_attention_heads=2,
        max_position_embeddings=128,
        num_labels=1,
        initializer_range=0.3,
        **SIZES,
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    return folder
