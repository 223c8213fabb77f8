"""A short soak: the long one is ``python -m benchmarks.run soak``."""

import pytest

from benchmarks.soak import virtual
from teola.runtime.engines.registry import ENGINES


@pytest.mark.parametrize("seed", [0, 1])
def test_every_query_is_accounted_for(monkeypatch, seed):
    """Two virtual minutes at twice what the engines can do, with faults of every kind: each query
    has one outcome, some are done, nothing is left and nothing piles up."""
    for place in [place for place in ENGINES if place[1] == "simulated"]:
        monkeypatch.setitem(ENGINES, place, ENGINES[place])
    found = virtual(120.0, seed)
    assert found["not accounted for"] == 0
    assert found["left over"] == []
    assert found["outcomes"]["done"] > 0
    assert found["outcomes"]["overloaded"] > 0
    assert set(found["faults"]) >= {"raises", "memory", "full"}
    before, after = found["Python objects, after one third / at the end"]
    assert after < 1.5 * before
