"""How many pages of KV a GPU has room for beside a model's weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from teola.runtime.errors import UnsupportedError

GIB = 1 << 30
SPARE_BYTES = GIB
"""For what is not counted: the context of CUDA, buffers of its libraries, fragments."""
GRAPH_BYTES = GIB
"""For CUDA graphs."""
DEFAULT_SHARE = 0.5
"""Of what is free, where ``gpu_memory_utilization`` does not say: other engines start too."""


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """Bytes of a GPU: all, what is free, and what this process has taken (its weights)."""

    total: int
    free: int
    own: int

    def room(self, utilization: float | None) -> int:
        """Bytes that this engine may take beside its weights: ``utilization`` is the part of the
        whole GPU that is for this engine, weights included, as with vLLM."""
        if utilization is None:
            return int(self.free * DEFAULT_SHARE)
        return min(self.free, int(self.total * utilization) - self.own)


@dataclass(frozen=True, slots=True)
class KVShape:
    """What a token takes: ``token_bytes`` in the cache of all layers, ``read_bytes`` while a layer
    reads it; and each token of a step ``step_bytes``."""

    token_bytes: int
    read_bytes: int
    step_bytes: int

    @classmethod
    def of(cls, config: Any, item_bytes: int) -> KVShape:
        """From a text model's config and the size of a number.

        `read_bytes` and ``step_bytes`` are what transformers counts with, or more: heads repeated
        for every query head, a row of a mask, and (until 5.18) logits of every token.
        """
        heads = int(config.num_attention_heads)
        kv_heads = int(getattr(config, "num_key_value_heads", None) or heads)
        size = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
        head_bytes = size * item_bytes
        return cls(
            token_bytes=2 * kv_heads * head_bytes * int(config.num_hidden_layers),
            read_bytes=(2 * heads + kv_heads) * head_bytes + 8,
            step_bytes=(4 * int(config.hidden_size) + 4 * heads * size) * item_bytes
            + 4 * int(config.vocab_size),
        )


def pages_that_fit(
    memory: GpuMemory,
    shape: KVShape,
    *,
    utilization: float | None,
    page_tokens: int,
    batch_tokens: int,
    most_tokens: int,
    item_bytes: int,
) -> int:
    """Pages for at most ``most_tokens`` tokens, and for no more than there is room.

    Raises:
        UnsupportedError: there is no room for any.
    """
    fixed = (
        SPARE_BYTES + GRAPH_BYTES + batch_tokens * (shape.step_bytes + batch_tokens * item_bytes)
    )
    room = memory.room(utilization)
    token = shape.token_bytes + shape.read_bytes + batch_tokens * item_bytes
    pages = min(most_tokens, (room - fixed) // token) // page_tokens
    if pages > 0:
        return pages
    raise UnsupportedError(
        f"no room for KV on the GPU: of {memory.total / GIB:.1f} GiB this engine's weights take "
        f"{memory.own / GIB:.1f}, {memory.free / GIB:.1f} are free, it may take "
        f"{max(room, 0) / GIB:.1f} of them and needs more than {fixed / GIB:.1f}; give "
        "gpu_memory_utilization (the part of the GPU that is for this engine), fewer batch_tokens, "
        "or kv_pages"
    )


def measure(device: Any) -> GpuMemory:
    """What a CUDA device has now."""
    import torch

    torch.cuda.synchronize(device)
    free, total = torch.cuda.mem_get_info(device)
    return GpuMemory(total=total, free=free, own=torch.cuda.memory_reserved(device))
