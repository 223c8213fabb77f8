"""The longest text a model of embeddings takes."""

from __future__ import annotations

from collections.abc import Mapping

from teola.runtime.engines.protocol import Failure


def too_long(what: str, count: int, limit: int) -> Failure:
    """The failure of an item with ``count`` tokens where ``limit`` is the most."""
    return Failure(
        "item",
        f"{what} has {count} tokens, special tokens included, and the model's limit is {limit}: "
        "make it shorter, or set `truncate: true` on the engine",
    )


def similar_lengths(lengths: Mapping[int, int], size: int) -> list[list[int]]:
    """Positions of ``lengths`` in batches of at most ``size``, similar lengths together."""
    order = sorted(lengths, key=lengths.__getitem__)
    return [order[start : start + size] for start in range(0, len(order), size)]
