"""``teola run --timeline`` and ``--trace``, on fake engines."""

import json
import sys

import pytest

from teola.runtime.observing import otlp

FAKES = [
    word
    for kind in ("llm", "embedder", "store")
    for word in ("--set", f"engines.{kind}={{kind: {kind}, backend: fake}}")
]
RUN = ("run", "naive_rag", "-i", "question=Why?", "-q", *FAKES)


def test_a_timeline_follows_the_answer(teola_command):
    """On standard error, with what was predicted; standard output has the answer alone."""
    plain, drawn = teola_command(*RUN), teola_command(*RUN, "--timeline")
    assert (plain.exit_code, drawn.exit_code) == (0, 0)
    assert drawn.stdout == plain.stdout
    assert plain.stderr == ""
    assert drawn.stderr.startswith("\nTimeline: ")
    lines = drawn.stderr.split("\n")
    (head,) = [line for line in lines if line.startswith("seconds")]
    assert head.split()[-3:] == ["ended", "at", "predicted"]
    assert {"engines", "llm"} <= {line.split()[0] for line in lines if line.strip()}
    assert "█ works" in drawn.stderr
    assert max(map(len, lines)) <= 80


def test_a_timeline_goes_with_json(teola_command):
    """The object stays whole."""
    done = teola_command(*RUN, "--timeline", "--json")
    assert json.loads(done.stdout)["outputs"]["answer"]
    assert "Timeline: " in done.stderr


def test_a_trace_is_written(teola_command, tmp_path):
    """In a file that trace viewers open."""
    path = tmp_path / "run.json"
    done = teola_command(*RUN, "--trace", path)
    assert (done.exit_code, done.stderr) == (0, "")
    events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    assert {"X", "M", "C", "s", "f"} <= {event["ph"] for event in events}
    assert any(event["name"] == "naive_rag" for event in events)


def test_a_failed_run_leaves_a_trace(teola_command, tmp_path):
    """It is most wanted then."""
    path = tmp_path / "run.json"
    words = ("--trace", path, "--set", "engines.llm={kind: llm, backend: fake, fail_items: ['']}")
    done = teola_command(*RUN, *words)
    assert done.exit_code == 1
    events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    assert any("error" in event.get("args", {}) for event in events)


@pytest.mark.parametrize("name", ["missing/run.json", "."])
def test_a_trace_that_cannot_be_written_is_refused_before_the_run(teola_command, tmp_path, name):
    """Not after an hour."""
    done = teola_command(*RUN, "--trace", tmp_path / name)
    assert done.exit_code == 2
    assert "--trace" in done.stderr
    assert done.stdout == ""


def test_a_missing_exporter_is_a_warning(teola_command, monkeypatch):
    """A collector may be named for all programs of a machine: the run does not fail for it."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    assert otlp.wanted()
    done = teola_command(*RUN)
    assert done.exit_code == 0
    assert "warning: no spans are sent" in done.stderr
    assert "teola[telemetry]" in done.stderr
