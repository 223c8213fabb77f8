"""The garbage collector's settings are put back, however the work ended."""

import gc

import pytest

from teola.runtime.collector import ALLOCATIONS, rare_collection


def test_settings_last_as_long_as_the_work():
    """Also where the work fails."""
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    with rare_collection():
        assert gc.get_threshold()[0] == ALLOCATIONS
        assert gc.get_freeze_count() > frozen
    assert gc.get_threshold() == before
    with pytest.raises(ZeroDivisionError), rare_collection():
        raise ZeroDivisionError
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
