"""A short soak: the long one is ``python -m benchmarks.run soak``."""

from collections import Counter

import pytest

from benchmarks.bad_items import CAUSES
from benchmarks.soak import virtual
from benchmarks.soaking import NAMED, OBJECTS, problems
from benchmarks.troubled import CHANCES

SPARED = ("overloaded", "cancelled by its caller")
"""How queries end that may never have met their bad item."""


@pytest.mark.parametrize("seed", [0, 1])
def test_every_query_is_accounted_for(seed):
    """Four virtual minutes at twice what the engines can do, with faults of every kind: each query
    has one outcome, some are done, nothing is left and nothing piles up. A query with a bad item
    fails, its error names the item (unless it failed of something else before), and no other
    query's does."""
    found = virtual(240.0, seed)
    assert problems(found) == []
    assert set(found["faults"]) == {*CHANCES, *CAUSES}
    assert found["outcomes"]["done"] > 0
    assert found["outcomes"]["overloaded"] > 0
    ends = sum((Counter(one) for one in found["bad items"].values()), Counter())
    assert ends[NAMED] > 0.9 * (ends["came"] - sum(ends[one] for one in SPARED))
    before, _, after = found[OBJECTS]
    assert after < 1.005 * before
