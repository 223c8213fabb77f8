"""The seeds of LLM calls: a run that is made again gives the same, its calls differ."""

from __future__ import annotations

from collections.abc import Sequence

from teola.runtime.keys import digest


def call_seed(run_seed: int, primitive: str, path: Sequence[str], own: int | None) -> int:
    """The seed of a call of ``primitive`` in the iterations ``path`` of the regions around it;
    ``own`` is what its module asks for beside the run's. It has 31 bits: every server takes
    that."""
    parts = (str(run_seed), primitive, *path, str(own))
    return int.from_bytes(digest(*(part.encode() for part in parts))[:4]) >> 1
