"""A plan has the same bytes, whichever process compiles it."""

import os
import subprocess
import sys

from tests.properties.campaign import drawn

COMPILE = """
import sys
from pathlib import Path
from teola.compiler.api import compilation
from teola.compiler.passes.pipeline import parse_pipeline

for file in sorted(Path(sys.argv[1]).glob("*.yaml")):
    passes = parse_pipeline(file.with_suffix(".passes").read_text())
    profile = file.with_suffix(".json")
    print(compilation(file).plan.to_json())
    print(compilation(file, passes=passes, profile=profile).plan.to_json())
"""


def test_a_plan_has_the_same_bytes_in_every_process(tmp_path):
    """Whatever order the hashes of a process give to its sets: generated workflows, at the usual
    level and with any passes."""
    for number, case in enumerate(drawn(1)):
        file = tmp_path / f"{number}.yaml"
        file.write_text(case.text(scheduled=True), encoding="utf-8")
        file.with_suffix(".passes").write_text(case.passes, encoding="utf-8")
        file.with_suffix(".json").write_text(case.profile(), encoding="utf-8")
    command = [sys.executable, "-c", COMPILE, str(tmp_path)]
    one, two = (
        subprocess.run(
            command, check=True, capture_output=True, env=os.environ | {"PYTHONHASHSEED": hashes}
        ).stdout
        for hashes in ("1", "2")
    )
    assert one.count(b"\n") > 100
    assert one == two
