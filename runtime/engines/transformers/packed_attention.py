"""Attention of all sequences of a step in one call of PyTorch's flash attention, on a GPU.

The kernel comes with PyTorch (no package of its own to install) and knows where sequences begin:
no mask, no work across sequences, grouped heads as they are. It is for bfloat16 and float16.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from transformers import AttentionInterface

from teola.runtime.engines.transformers import sequence_attention
from teola.runtime.engines.transformers.versions import longest_query, update_cache

logger = logging.getLogger(__name__)
NAME = "packed_sequences"
"""Not "flash": the library would take that for the package of this name."""
DTYPES = (torch.bfloat16, torch.float16)
LARGEST_HEAD = 256
PROBE = ((5, 5), (1, 9), (3, 70), (0, 0))
"""(New tokens, all tokens) of the sequences that it is tried with; the last is padding."""
TOLERANCE = 5e-2


def can_attend_packed(model: Any) -> bool:
    """Whether the kernel can stand in for a model's attention: not where it is missing, or gives
    something else (logged)."""
    if model.device.type != "cuda" or not sequence_attention.attends_plainly(model):
        return False
    why = _why_not(model)
    if why:
        logger.warning("attention goes sequence by sequence on %s: %s", model.device, why)
    return not why


def attend_packed(model: Any) -> None:
    """Let a model that can attend with the kernel; when `attend_by_sequence` is called."""
    AttentionInterface.register(NAME, attention)
    model.set_attn_implementation(NAME)


def attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    cache: Any,
    cu_seq_lens_q: torch.Tensor,
    cu_seq_lens_k: Any,
    **packed: Any,
) -> tuple[torch.Tensor, None]:
    """What `sequence_attention.attention` does."""
    packed["cu_seq_lens_k"] = cu_seq_lens_k
    step = update_cache(cache, key, value, module.layer_idx, packed)
    found = attend(
        *(_by_token(one) for one in (query, step.key, step.value)),
        begins=(cu_seq_lens_q, step.begins),
        longest=(longest_query(packed), step.longest),
        scaling=scaling,
    )
    return found.unsqueeze(0), None


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    begins: tuple[torch.Tensor, torch.Tensor],
    longest: tuple[int, int],
    scaling: float | None,
) -> torch.Tensor:
    """``(tokens, heads, head size)`` for queries of this shape and keys and values of theirs; a
    sequence's queries are the last of its keys. ``begins`` and ``longest`` are the queries' and the
    keys'."""
    # The public `varlen_attn` changed its arguments between 2.10 and 2.13; what it calls did not.
    forward = torch.ops.aten._flash_attention_forward  # noqa: SLF001 - as above
    first, second = (one.to(torch.int32) for one in begins)
    found: torch.Tensor = forward(
        query, key, value, first, second, *longest, 0.0, True, False, scale=scaling
    )[0]
    return found


def _by_token(heads: torch.Tensor) -> torch.Tensor:
    """``(tokens, heads, head size)`` of ``(1, heads, tokens, head size)``."""
    return heads.squeeze(0).transpose(0, 1).contiguous()


def _by_head(tokens: torch.Tensor) -> torch.Tensor:
    """``(1, heads, tokens, head size)`` of ``(tokens, heads, head size)``."""
    return tokens.transpose(0, 1).unsqueeze(0)


def _why_not(model: Any) -> str:
    """Why the kernel cannot be used for a model; "" where it can."""
    if model.dtype not in DTYPES:
        return f"PyTorch's flash attention has no {str(model.dtype).removeprefix('torch.')}"
    config = model.config.get_text_config()
    heads = int(config.num_attention_heads)
    size = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    if size > LARGEST_HEAD:
        return f"PyTorch's flash attention takes heads of at most {LARGEST_HEAD}, these have {size}"
    kv_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    try:
        off = _difference(heads, kv_heads, size, model.dtype, model.device)
    except (AttributeError, NotImplementedError, RuntimeError) as error:
        return f"PyTorch's flash attention cannot be used: {error}"
    return f"PyTorch's flash attention is off by {off:.2g}" if not off < TOLERANCE else ""


def _difference(
    heads: int, kv_heads: int, size: int, dtype: torch.dtype, device: torch.device
) -> float:
    """How far the kernel is from plain attention, sequence by sequence."""
    counts = [torch.tensor([0, *column], dtype=torch.int32) for column in zip(*PROBE, strict=True)]
    queries, keys = (one.cumsum(0).to(device, torch.int32) for one in counts)
    generator = torch.Generator().manual_seed(0)
    shapes = ((int(queries[-1]), heads), *[(int(keys[-1]), kv_heads)] * 2)
    query, key, value = (
        torch.randn(*shape, size, generator=generator).to(device, dtype) for shape in shapes
    )
    longest = (max(new for new, _ in PROBE), max(known for _, known in PROBE))
    found = attend(query, key, value, begins=(queries, keys), longest=longest, scaling=None)
    expected = sequence_attention.attend(
        _by_head(query), _by_head(key), _by_head(value), queries.tolist(), keys.tolist(), None
    )
    return float((found.unsqueeze(0) - expected.transpose(1, 2)).abs().max())
