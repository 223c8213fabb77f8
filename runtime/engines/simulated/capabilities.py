"""What an LLM would say of itself for which a simulated one stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teola.compiler.engine_settings import GRAMMARS, SAMPLING
from teola.runtime.engines.kv_budget import PAGE_TOKENS, KVBudget
from teola.runtime.engines.protocol import Capabilities

KV_TOKENS, MAX_REQUESTS = 1 << 16, 64
"""Where its settings do not say."""
VLLM_REQUESTS, VLLM_BLOCK = 256, 16
"""vLLM's own, on a GPU."""


def capabilities(settings: Mapping[str, Any]) -> Capabilities:
    """The engine that settings are of: vLLM orders what waits in it and shares prefixes while they
    are computed; of a server's prefixes nothing is known, unless it is to be warmed up."""
    kv_tokens, requests, block = _room(settings)
    on_vllm, on_server = (settings.get("backend") == name for name in ("vllm", "openai"))
    return Capabilities(
        context=int(settings.get("context_tokens") or settings.get("max_model_len") or 0),
        kv_tokens=kv_tokens,
        max_requests=requests,
        prefix_cache=not on_server or bool(settings.get("warm_ups")),
        block_tokens=block,
        shares_in_flight=on_vllm,
        continues=True,
        priority=on_vllm,
        sampling=SAMPLING,
        grammars=GRAMMARS,
        adapters=frozenset(settings.get("adapters") or ()),
    )


def _room(settings: Mapping[str, Any]) -> tuple[int, int, int]:
    """Tokens of KV, requests at once, and tokens of a block."""
    if "kv_pages" in settings:
        pages = KVBudget.of(settings)
        return pages.kv_tokens, pages.max_requests, pages.page_tokens
    kv_tokens = int(settings.get("kv_tokens") or KV_TOKENS)
    if settings.get("backend") == "vllm":
        requests = int(settings.get("max_num_seqs") or VLLM_REQUESTS)
        return kv_tokens, requests, int(settings.get("block_size") or VLLM_BLOCK)
    return kv_tokens, int(settings.get("max_requests") or MAX_REQUESTS), PAGE_TOKENS
