"""Where transformers 5.17, 5.18 and 5.19 differ in their continuous batching."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from inspect import signature
from typing import TYPE_CHECKING, Any, NamedTuple

import transformers
from transformers.generation.continuous_batching.cache import PagedAttentionCache

if TYPE_CHECKING:
    import torch

FULL = "full_attention"
PLAIN = ("sdpa", "paged|sdpa")
"""PyTorch's own attention: its name since 5.19, and before."""
NAMED: Mapping[str, str] = {"page_size": "block_size"}
"""Settings that had another name (5.17)."""
KNOWN = frozenset(one.name for one in fields(transformers.ContinuousBatchingConfig))
UPDATES_PACKED = "kwargs" in signature(PagedAttentionCache.update).parameters


def batching_config(**settings: Any) -> Any:
    """The library's settings: those under an older name get it, those it has not yet are left out
    (``auto_switch_to_flash``: see `keep_plain_attention`)."""
    named = {
        name if name in KNOWN else NAMED.get(name, name): value for name, value in settings.items()
    }
    return transformers.ContinuousBatchingConfig(
        **{name: value for name, value in named.items() if name in KNOWN}
    )


def keep_plain_attention(model: Any) -> None:
    """Before 5.19 nothing else keeps the library from fetching kernels: only an implementation
    that is paged already is left alone."""
    if "auto_switch_to_flash" not in KNOWN and model.config._attn_implementation == "sdpa":  # noqa: SLF001 - it has no public name
        model.set_attn_implementation("paged|sdpa")


class Step(NamedTuple):
    """Keys and values of all sequences of a step, ``(1, heads, tokens, head size)``, where each
    sequence's begin, and how long the longest is."""

    key: torch.Tensor
    value: torch.Tensor
    begins: torch.Tensor
    longest: int


def update_cache(
    cache: Any, key: torch.Tensor, value: torch.Tensor, layer: int, packed: dict[str, Any]
) -> Step:
    """Write a layer's new keys and values, and read what its sequences have."""
    if UPDATES_PACKED:
        key, value = cache.update(key, value, layer, packed)
        return Step(key, value, packed["cu_seq_lens_k"], packed.get("max_length_k", 0))
    key, value = cache.update(key, value, layer, packed["read_index"], packed["write_index"])
    begins, longest = packed["cu_seq_lens_k"], packed.get("max_seqlen_k", 0)
    return Step(
        key.transpose(0, 1).unsqueeze(0),
        value.transpose(0, 1).unsqueeze(0),
        begins[FULL] if isinstance(begins, dict) else begins,
        longest[FULL] if isinstance(longest, dict) else longest,
    )


def longest_query(packed: Mapping[str, Any]) -> int:
    """New tokens of the sequence of a step that has most."""
    name = "max_length_q" if "max_length_q" in packed else "max_seqlen_q"
    return int(packed[name])
