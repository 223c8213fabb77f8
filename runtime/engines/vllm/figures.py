"""What vLLM counts, as figures of the engine."""

from __future__ import annotations

from collections.abc import Mapping

from teola.runtime.engines.protocol import Figure

FIGURES: Mapping[str, tuple[str, Figure]] = {
    "kv_used_ratio": ("vllm:kv_cache_usage_perc", Figure("Part of the KV that calls hold now")),
    "preemptions": (
        "vllm:num_preemptions",
        Figure("Times that a call was set back for want of KV", total=True),
    ),
    "prefix_query_tokens": (
        "vllm:prefix_cache_queries",
        Figure("Prompt tokens looked for in the prefix cache, those of warm-ups too", total=True),
    ),
    "prefix_hit_tokens": ("vllm:prefix_cache_hits", Figure("Of these, found there", total=True)),
}
"""Name -> the metric of vLLM's, and what it says."""


def figures(values: Mapping[str, float]) -> dict[str, float]:
    """The figures in vLLM's metrics; one that this version of it does not have is none."""
    return {name: values[metric] for name, (metric, _) in FIGURES.items() if metric in values}
