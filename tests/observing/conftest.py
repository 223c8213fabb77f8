"""Perfetto's own trace processor, for traces to be opened in."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(sys.prefix) / "share" / "trace-processor"
MISSING = "{} is missing: run `make test` once, or leave these tests out with -m 'not perfetto'"


@pytest.fixture(scope="session")
def ask_perfetto(tmp_path_factory):
    """Open a trace in Perfetto's trace processor and put SQL queries to it: rows as dicts."""
    node = shutil.which("node")
    if node is None:
        pytest.fail(MISSING.format("Node"))
    if not FOLDER.is_dir():
        pytest.fail(MISSING.format(FOLDER))
    trace = tmp_path_factory.mktemp("trace") / "trace.json"
    program = Path(__file__).with_name("trace_processor.mjs")

    def ask(text, *queries):
        trace.write_text(text, encoding="utf-8")
        done = subprocess.run(
            [node, str(program), str(FOLDER), str(trace)],
            check=False,
            input=json.dumps(queries),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return ask
