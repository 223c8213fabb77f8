"""What every test of the runtime must leave behind: a clean pool."""

import pytest


@pytest.fixture(autouse=True)
def _idle_pools_are_clean(caplog):
    """Whenever a pool becomes idle it looks for what was left; what it finds fails the test (one
    that wants this to happen reads the log and clears it)."""
    yield
    found = [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.name == "teola.runtime.pool" and "not clean" in record.getMessage()
    ]
    assert found == [], found
