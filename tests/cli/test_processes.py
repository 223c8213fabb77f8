"""Whole processes with fake engines: terminals, pipes, signals, and every form of one workflow."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module", autouse=True)
def _interrupts_are_not_ignored():
    """A shell that starts the tests in the background lets them ignore Ctrl-C, and so would every
    process that they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


WORKFLOW = """
teola: 1
name: tiny
inputs:
  question: text
  documents: list<document>
engines:
  llm: {kind: llm, backend: fake}
  embedder: {kind: embedder, backend: fake}
  store: {kind: store, backend: fake}
modules:
  chunks:
    uses: chunk
    inputs: {documents: inputs.documents}
    with: {size: 64, overlap: 8}
  indexed:
    uses: index
    inputs: {chunks: chunks.chunks}
  found:
    uses: search
    inputs: {query: inputs.question, collection: indexed.collection}
    with: {top_k: 2}
  answer:
    uses: synthesize
    inputs: {question: inputs.question, passages: found.passages}
    with: {mode: one_shot}
outputs:
  answer: answer.text
  sources: found.passages
"""
TEOLA = (sys.executable, "-m", "teola.runtime.cli")
QUESTION = ("-i", "question=Why?", "-i", "documents={name: a, text: An image has layers.}")
ENDLESS = ("--set", "engines.llm.latency_ms=600000")


@pytest.fixture
def workflow(tmp_path):
    """A workflow with fake engines, in a file."""
    path = tmp_path / "tiny.yaml"
    path.write_text(WORKFLOW, encoding="utf-8")
    return str(path)


def call(*words):
    return subprocess.run([*TEOLA, *words], capture_output=True, text=True, check=False)


def test_a_workflow_its_plan_and_its_text_form_give_one_answer(workflow, tmp_path):
    """So do both levels."""
    plan, text = str(tmp_path / "tiny.plan.json"), str(tmp_path / "tiny.pgraph")
    assert call("compile", workflow, "-o", plan).returncode == 0
    assert call("compile", workflow, "-o", text).returncode == 0
    runs = [
        call("run", file, *QUESTION, *options)
        for file, *options in ([workflow], [workflow, "-O0"], [plan], [text])
    ]
    assert [run.returncode for run in runs] == [0, 0, 0, 0], runs
    assert len({run.stdout for run in runs}) == 1
    assert runs[0].stdout.strip()
    assert "sources:\n 1. a (score " in runs[0].stderr


@pytest.mark.parametrize("url", ["https://example.org/a.html", "file:///a.html"])
def test_a_url_is_no_document(workflow, url):
    """The message says so, with the URL as it was typed."""
    done = call("run", workflow, "-i", "question=Why?", "-i", f"documents={url}", "-q")
    assert done.returncode == 2
    assert f"{url}: URLs are not read: download the page and name its file\n" in done.stderr


def test_a_folder_with_a_picture_is_searched_without_it(workflow, tmp_path):
    """A warning names it, on standard error and in the JSON object."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "README").write_text("An image has layers.", encoding="utf-8")
    (tmp_path / "docs" / "paper.png").write_bytes(b"PNG")
    words = ("-i", "question=Why?", "-i", f"documents={tmp_path / 'docs'}", "--json")
    done = call("run", workflow, *words)
    left_out = (
        f"left out, neither text, Markdown, HTML, PDF nor Word: {tmp_path / 'docs' / 'paper.png'}"
    )
    written = json.loads(done.stdout)
    assert written["warnings"] == [f"input 'documents': {left_out}"]
    assert done.stderr.count(left_out) == 1
    assert [found["document"] for found in written["outputs"]["sources"]] == ["README"]


def test_json_has_a_timeline_of_every_module(workflow):
    """Each entry names primitive, module, engine and times."""
    written = json.loads(call("run", workflow, *QUESTION, "--json").stdout)
    assert {entry["module"] for entry in written["timeline"]} >= {"indexed", "found", "answer"}
    assert written["usage"]["requests"] == 1


def test_json_has_predicted_beside_measured(workflow):
    """In total, of each module and primitive; what was measured is what the timeline has."""
    written = json.loads(call("run", workflow, *QUESTION, "--json").stdout)
    predicted, timeline = written["predicted"], written["timeline"]
    assert {entry["module"] for entry in timeline} >= set(predicted["modules"]) >= {"answer"}
    for one in (predicted["total"], *predicted["modules"].values()):
        assert one["predicted_ms"] > 0
        assert one["error"] == pytest.approx(one["predicted_ms"] / one["measured_ms"] - 1, abs=0.1)
    ended_ms = 1000 * max(entry["ended_s"] for entry in timeline)
    assert predicted["total"]["measured_ms"] == pytest.approx(ended_ms, abs=0.1)


def test_on_a_terminal_the_answer_follows_the_progress(workflow):
    """Table, answer and sources stand below each other, each whole."""
    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        [*TEOLA, "run", workflow, *QUESTION],
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"},
    )
    os.close(terminal)
    shown = read_all(screen)
    assert process.wait() == 0
    answer = call("run", workflow, *QUESTION, "--quiet").stdout
    at = shown.index(answer)
    assert "✓ found" in shown[:at]
    assert "sources:" in shown[at:]
    assert not re.search("✓|…", shown[at:].partition("sources:")[0])


def read_all(descriptor):
    """Everything a terminal shows until its process ends, without control sequences."""
    read = b""
    while True:
        try:
            piece = os.read(descriptor, 4096)
        except OSError:  # Linux says so when the last writer has gone
            piece = b""
        if not piece:
            os.close(descriptor)
            return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", read.decode()).replace("\r\n", "\n")
        read += piece


@pytest.mark.parametrize(
    ("number", "code", "message"),
    [(signal.SIGINT, 130, "interrupted\n"), (signal.SIGTERM, 143, "terminated\n")],
)
def test_a_signal_ends_a_run_quickly_and_quietly(workflow, number, code, message):
    """The run is cancelled, the engines are closed, and there is no traceback."""
    process = subprocess.Popen(
        [*TEOLA, "run", workflow, *QUESTION, *ENDLESS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = iter(process.stderr.readline, "")
    assert any(line.startswith("found: done") for line in lines)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, "")
    assert err.endswith(message)
    assert "Traceback" not in err


def test_a_closed_pipe_is_no_error(workflow):
    """``teola … | head`` prints no traceback, whichever command it is."""
    for words in (["run", workflow, *QUESTION, "-q"], ["compile", workflow], ["--help"]):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [*TEOLA, *words], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
        )
        os.close(writer)
        assert done.stderr == "", words
        assert done.returncode in (1, 141)


def test_nobody_need_read_the_progress(workflow, tmp_path):
    """``2>&1 >answer.txt | head -1``: the run goes on, and so does an error's exit code."""
    for words, code in ((["run", workflow, *QUESTION], 0), (["run", "missing.yaml"], 2)):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [*TEOLA, *words], stdout=subprocess.PIPE, stderr=writer, text=True, check=False
        )
        os.close(writer)
        assert done.returncode == code
        assert bool(done.stdout) == (code == 0)


def test_a_model_that_cannot_be_fetched_is_told_once(workflow, tmp_path):
    """The message names engine, model and what to do; no module is to blame."""
    settings = "backend: sentence-transformers, model: all-minilm-l6-v2"
    path = Path(workflow)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("embedder, backend: fake", f"embedder, {settings}"), "utf-8")
    nowhere = {"TEOLA_CACHE": str(tmp_path / "cache"), "PIP_INDEX_URL": "http://127.0.0.1:9/"}
    done = subprocess.run(
        [*TEOLA, "run", workflow, *QUESTION],
        env={**os.environ, **nowhere, "PIP_RETRIES": "0", "PIP_FIND_LINKS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    *_, error = done.stderr.splitlines()
    assert error.startswith("error: engine 'embedder': cannot fetch model 'all-minilm-l6-v2'")
    assert "run `teola models fetch all-minilm-l6-v2`" in error
    assert done.stderr.count("cannot fetch") == 1
    assert "module" not in done.stderr


def test_what_cannot_be_written_is_told(workflow):
    """A full disk ends with a message; a closed standard output takes nothing."""
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [*TEOLA, "compile", workflow],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "error: standard output cannot be written: No space left on device\n"
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *TEOLA, "compile", workflow]
    assert subprocess.run(closed, capture_output=True, check=False).returncode == 0


def test_letters_that_a_stream_lacks_are_replaced(workflow):
    """An encoding without them is no reason to fail."""
    done = subprocess.run(
        [*TEOLA, "run", workflow, *QUESTION, "-q"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
