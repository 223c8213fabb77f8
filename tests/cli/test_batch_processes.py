"""Batches in processes of their own: killed, interrupted, two at a time, with nobody reading."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.cli.test_batch import WORKFLOW
from tests.cli.test_processes import TEOLA, call
from tests.runtime.batches import by_row, read_lines, write_lines

SLOW = ("--set", "engines.llm.latency_ms=20")
ENDLESS = ("--set", "engines.llm.latency_ms=600000")

TELLING = """
import asyncio, sys
from teola.runtime import Runner
from teola.runtime.batch import run_batch

async def main():
    async with Runner("tiny.yaml", sets=["engines.llm.latency_ms=20"]) as runner:
        await run_batch(
            runner, "q.jsonl", "a.jsonl", concurrency=8,
            on_answer=lambda answer: print(answer.row.number, flush=True),
        )

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with a workflow; a shell in the background may have switched Ctrl-C off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(WORKFLOW, "utf-8")
    yield tmp_path
    signal.signal(signal.SIGINT, before)


def command(*words):
    return ["run", "tiny.yaml", "--batch", "q.jsonl", "--out", "a.jsonl", *words]


def start(*words):
    return subprocess.Popen(
        [*TEOLA, *command(*words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(process, beginning):
    """Read standard error up to a line."""
    lines = iter(process.stderr.readline, "")
    assert any(line.startswith(beginning) for line in lines)


def test_a_batch_killed_in_its_middle_is_completed(folder):
    """kill -9, twice, at no moment in particular: what has been told is recorded, and in the end
    each row is there once, made by the program or by the command."""
    rows = [{"id": f"q{n}", "question": f"What is {n}?"} for n in range(1, 121)]
    write_lines(folder / "q.jsonl", *rows)
    told = set()
    for count in (13, 29):
        process = subprocess.Popen([sys.executable, "-c", TELLING], stdout=subprocess.PIPE)
        told |= {int(process.stdout.readline()) for _ in range(count)}
        process.kill()
        process.communicate(timeout=30)
        assert process.returncode == -signal.SIGKILL
        text = (folder / "a.jsonl").read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        assert told <= {json.loads(line)["row"] for line in whole.splitlines()}
    done = call(*command(*SLOW))
    assert done.returncode == 0, done.stderr
    assert (folder / "a.jsonl").read_bytes().startswith(whole)
    found = by_row(folder / "a.jsonl")
    assert {number: line["id"] for number, line in found.items()} == {
        number: f"q{number}" for number in range(1, 121)
    }
    before = whole.count(b"\n")
    assert before >= len(told)
    assert f"120 rows: 120 answered, {before} of them in an earlier run\n" in done.stderr


@pytest.mark.parametrize(
    ("number", "code", "last"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_ends_a_batch_cleanly(folder, number, code, last):
    """Rows that run are cancelled, ended ones are kept, and how to go on is told."""
    write_lines(folder / "q.jsonl", {"question": 1}, *({"question": f"{n}"} for n in range(9)))
    process = start(*ENDLESS)
    wait_for(process, "engine llm: ready")
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, "")
    stopped = "stopped: a.jsonl has 1 of 10 rows; the same command goes on from there"
    assert err.splitlines()[-2:] == [stopped, last]
    assert [line["row"] for line in read_lines(folder / "a.jsonl")] == [1]


def test_a_second_process_is_refused(folder):
    """While the first runs, and not after it was killed."""
    write_lines(folder / "q.jsonl", {"question": "a"})
    first = start(*ENDLESS)
    wait_for(first, "engine llm: ready")
    second = call(*command(*ENDLESS))
    assert second.returncode == 2
    assert second.stderr == (
        "error: a.jsonl: another process is writing it: wait for its end, or give another file\n"
    )
    first.kill()
    first.communicate(timeout=30)
    assert call(*command()).returncode == 0


def test_nobody_need_read_the_progress(folder):
    """A batch goes on without its terminal; answers that nobody reads end it."""
    write_lines(folder / "q.jsonl", *({"question": f"{n}"} for n in range(50)))
    for out, code in (("a.jsonl", 0), ("-", 141)):
        reader, writer = os.pipe()
        os.close(reader)
        words = ["run", "tiny.yaml", "--batch", "q.jsonl", "--out", out]
        closed = {"stdout": writer} if out == "-" else {"stderr": writer}
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | closed
        done = subprocess.run([*TEOLA, *words], **streams, text=True, check=False)
        os.close(writer)
        assert done.returncode == code
        assert "Traceback" not in (done.stderr or "")
    assert len(by_row(folder / "a.jsonl")) == 50
