"""Tables of figures in the docs are those of the result files."""

import json

from benchmarks.load_table import rows
from benchmarks.report import RESULTS
from tests.docs.test_pictures import ROOT


def test_the_table_of_loads_is_what_was_measured():
    """Row by row: docs/scheduling.md has those of load.json and no others."""
    measured = json.loads((RESULTS / "load.json").read_text("utf-8"))["figures"]
    lines = (ROOT / "docs" / "scheduling.md").read_text("utf-8").splitlines()
    assert [line for line in lines if " % | " in line] == list(rows(measured))
