"""A short soak: the long one is ``python -m benchmarks.run soak``."""

import pytest

from benchmarks.bad_items import CAUSES
from benchmarks.soak import virtual
from benchmarks.soaking import NAMED, OBJECTS, problems
from benchmarks.troubled import CHANCES

SPARED = {"overloaded", "cancelled by its caller", "its collection was lost"}
"""How a query may end before an engine sees its bad item."""


@pytest.mark.parametrize("seed", [0, 1])
def test_every_query_is_accounted_for(seed):
    """Four virtual minutes at twice what the engines can do, with faults of every kind: each query
    has one outcome, some are done, nothing is left and nothing piles up. A query with a bad item
    fails, its error names the item, and no other query's does."""
    found = virtual(240.0, seed)
    assert problems(found) == []
    assert set(found["faults"]) == {*CHANCES, *CAUSES}
    assert found["outcomes"]["done"] > 0
    assert found["outcomes"]["overloaded"] > 0
    for outcomes in found["bad items"].values():
        assert set(outcomes) <= {"came", NAMED, *SPARED}
    before, _, after = found[OBJECTS]
    assert after < 1.005 * before
