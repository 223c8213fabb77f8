"""A task's rank: what policies know of it."""

from __future__ import annotations

from typing import NamedTuple


class Rank(NamedTuple):
    """How a task stands when it is queued.

    ``query`` numbers the queries of a process in order of arrival, ``arrived_ms`` is when that was;
    ``depth`` counts the primitives on the longest path to the output (Algorithm 2);
    ``left_ms`` is the estimated engine time that the whole query still needs, ``item_ms`` that of
    one item of this task, and ``path_ms`` that on the longest path from this task to the output.
    From ``knee`` items on, a larger batch hardly saves anything (0: the engine batches by itself).
    """

    query: int = 0
    arrived_ms: float = 0.0
    depth: int = 0
    left_ms: float = 0.0
    path_ms: float = 0.0
    item_ms: float = 0.0
    knee: int = 0


UNRANKED = Rank()
