"""Attention of packed sequences one by one, where continuous batching would mask a whole step.

transformers packs the tokens of a step into one row. PyTorch's plain attention then computes every
token of the step against every key of every sequence in it, and masks what belongs to others: work
that grows with the square of the step. Here each sequence meets its own keys only, a prompt's
later half is not computed for its earlier one, and no mask is made or held. It is for CPUs, and for
GPUs where `packed_attention` is not to be had.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from teola.runtime.engines.transformers.versions import FULL, PLAIN, update_cache

NAME = "sequence_by_sequence"


def attends_plainly(model: Any) -> bool:
    """Whether PyTorch's own attention is what a model uses, and every layer sees everything."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or [FULL])
    if config._attn_implementation not in PLAIN or kinds != {FULL}:  # noqa: SLF001 - it has no public name
        return False
    return getattr(config, "sliding_window", None) is None


def attend_by_sequence(model: Any) -> bool:
    """Let a model attend sequence by sequence; before its loop starts, after the loop was made
    (which knows its own implementations only).

    Returns:
        Whether it does: only where it `attends_plainly`.
    """
    if not attends_plainly(model):
        return False
    AttentionInterface.register(NAME, attention)
    model.set_attn_implementation(NAME)
    return True


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
    """One layer's attention over a step: ``(1, tokens, heads, head size)``, and no weights.

    ``query`` is ``(1, heads, tokens, head size)``; ``key`` and ``value`` are those of the same new
    tokens, and the cache gives each sequence's old ones before them. ``cu_seq_lens_q`` says where
    each sequence's new tokens begin, ``cu_seq_lens_k`` (by layer kind) where its keys do.
    """
    packed["cu_seq_lens_k"] = cu_seq_lens_k
    key, value, begins, _ = update_cache(cache, key, value, module.layer_idx, packed)
    found = attend(query, key, value, cu_seq_lens_q.tolist(), begins.tolist(), scaling)
    return found.transpose(1, 2).contiguous(), None


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    queries: Sequence[int],
    keys: Sequence[int],
    scaling: float | None,
) -> torch.Tensor:
    """``(1, heads, tokens, head size)`` for queries of this shape and keys and values of theirs;
    the sequences begin at ``queries`` and ``keys``."""
    found = torch.empty_like(query)
    for number, (begin, end) in enumerate(pairwise(queries)):
        if begin == end:
            continue
        first, last = keys[number], keys[number + 1]
        found[:, :, begin:end] = _one(
            query[:, :, begin:end], key[:, :, first:last], value[:, :, first:last], scaling
        )
    return found


def _one(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None
) -> torch.Tensor:
    """One sequence's: its new tokens are the last of its keys."""
    new, known = query.shape[2], key.shape[2]
    mask = None
    if 1 < new < known:
        mask = torch.ones(new, known, dtype=torch.bool, device=query.device).tril(known - new)
    return scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=new == known and new > 1,
        scale=scaling,
        enable_gqa=True,
    )
