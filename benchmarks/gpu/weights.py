"""Folders of models with weights made on the spot, of the shapes that matter for speed.

The language model says one long text over and over: which token follows depends on the last one
alone, and is as sure in bfloat16 as in float32, so that every side of a comparison has answers of
the same text and length. Each layer computes all the same; what it adds is small. Numbers come from
one block of random ones, again and again: 16 GB in seconds, on a CPU.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file

from benchmarks.gpu.tokenizers import EOS, Vocabulary, save_byte_level, save_word_pieces

BLOCK = 1_000_003
"""A prime: rows of a matrix begin at different places of it."""
SMALL = 0.05
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a model."""

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    positions: int


LLAMA_8B = Shape(128_256, 4096, 14336, 32, 32, 8, 8192)
LLAMA_TINY = Shape(12_032, 256, 512, 2, 4, 2, 4224)
BERT_LARGE = Shape(8192, 1024, 4096, 24, 16, 16, 512)
"""bge-large and its reranker."""
BERT_TINY = Shape(8192, 32, 64, 2, 2, 2, 512)


def save_llama(folder: Path, shape: Shape, dtype: torch.dtype = torch.bfloat16) -> Path:
    """A Llama with its tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = save_byte_level(folder, shape.vocabulary)
    (folder / "chat_template.jinja").write_text(CHATML, encoding="utf-8")
    config = transformers.LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.positions,
        rope_theta=500_000.0,
        bos_token_id=EOS,
        eos_token_id=EOS,
        tie_word_embeddings=False,
        dtype=dtype,
    )
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    block = _block(dtype)
    special = {"lm_head.weight": lambda size: _head(size, block, vocabulary)}
    _save(folder, model, config, block, special)
    return folder


def save_bert(folder: Path, shape: Shape, *, scores: bool = False) -> Path:
    """A BERT that embeds texts, in sentence-transformers' layout, or that scores pairs of them."""
    folder.mkdir(parents=True, exist_ok=True)
    save_word_pieces(folder, shape.vocabulary, shape.positions)
    config = transformers.BertConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        max_position_embeddings=shape.positions,
        num_labels=1,
        dtype=torch.bfloat16,
    )
    of_class = transformers.BertForSequenceClassification if scores else transformers.BertModel
    with torch.device("meta"):
        model = of_class(config)
    _save(folder, model, config, _block(torch.bfloat16), {})
    if not scores:
        _describe_embedder(folder, shape)
    return folder


def _describe_embedder(folder: Path, shape: Shape) -> None:
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for at, (path, kind) in enumerate(kinds.items())
    ]
    pooling = {"word_embedding_dimension": shape.hidden, "pooling_mode_mean_tokens": True}
    files = {
        "modules.json": modules,
        "sentence_bert_config.json": {"max_seq_length": shape.positions, "do_lower_case": False},
        "1_Pooling/config.json": pooling,
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")


Special = dict[str, Callable[[torch.Size], torch.Tensor]]


def _save(folder: Path, model: Any, config: Any, block: torch.Tensor, special: Special) -> None:
    """A file for each layer, and their index."""
    places: dict[str, str] = {}
    shards = _by_layer(model.state_dict())
    for number, (_, names) in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        tensors = {
            name: special[name](size) if name in special else _tensor(name, size, block)
            for name, size in names
        }
        save_file(tensors, str(folder / file), metadata={"format": "pt"})
        places |= dict.fromkeys(tensors, file)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)


def _by_layer(state: dict[str, Any]) -> list[tuple[str, list[tuple[str, torch.Size]]]]:
    found: dict[str, list[tuple[str, torch.Size]]] = {}
    for name, tensor in state.items():
        if tensor.is_floating_point():
            number = next((part for part in name.split(".") if part.isdigit()), name)
            found.setdefault(number, []).append((name, tensor.shape))
    return list(found.items())


def _block(dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(BLOCK, generator=torch.Generator().manual_seed(0)).to(dtype)


def _noise(size: torch.Size, block: torch.Tensor) -> torch.Tensor:
    count = size.numel()
    many: torch.Tensor = block.repeat(count // BLOCK + 1)
    return many[:count].reshape(size)


def _tensor(name: str, size: torch.Size, block: torch.Tensor) -> torch.Tensor:
    """Numbers that keep the size of what goes through a layer, and add little to it."""
    if len(size) == 1:
        return torch.full(size, 0.0 if name.endswith("bias") else 1.0, dtype=block.dtype)
    if "embed" in name:
        return _noise(size, block)
    last = name.endswith(("o_proj.weight", "down_proj.weight"))
    scale: float = float(size[1]) ** -0.5 * (SMALL if last else 1.0)
    return _noise(size, block) * scale


def _head(size: torch.Size, block: torch.Tensor, vocabulary: Vocabulary) -> torch.Tensor:
    """Rows that are alike to the embeddings of the tokens that theirs follows."""
    embeddings = _noise(size, block)
    head = torch.zeros(size, dtype=torch.float32)
    before, after = _followed(vocabulary, size[0])
    head.index_add_(0, after, embeddings[before].float())
    return head.to(block.dtype)


def _followed(vocabulary: Vocabulary, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    pairs = list(_pairs(vocabulary, count))
    return torch.tensor([one for one, _ in pairs]), torch.tensor([other for _, other in pairs])


def _pairs(vocabulary: Vocabulary, count: int) -> Iterator[tuple[int, int]]:
    for token in range(min(count, vocabulary.known)):
        yield token, vocabulary.after(token)
