"""Python's garbage collector in a process that serves many queries."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

ALLOCATIONS = 50_000
"""New objects between two looks at the newest ones; Python's own figure is 700."""


@contextmanager
def rare_collection() -> Iterator[None]:
    """Look for garbage less often, and not at all among what is there now.

    A query that ends is freed by reference counts, it leaves no cycles. Meanwhile the collector
    walks through the objects of all that run, again and again: with 1,000 concurrent queries that
    is a quarter of the schedulers' time. It is a setting of the whole process, so one for
    applications to make, once their imports are done.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
