"""Batches: bounded concurrency, errors beside their rows, shared inputs read once."""

import asyncio
import errno
import gc
import json
import os
import tracemalloc
from collections.abc import Sequence

import pytest

from teola.runtime import inputs
from teola.runtime.batch import Batch, BatchError, BatchInputError, Stream, run_batch
from teola.runtime.errors import InputError, ModelError, ModuleError, QueryCancelled
from teola.runtime.simulation.clock import pass_time
from tests.runtime.batches import (
    PLACE,
    PLAN,
    QuickRunner,
    answer_all,
    by_row,
    read_lines,
    write_lines,
)
from tests.runtime.workbench import call, now, plan, reply, virtual

ASKING = f"""
    input q: text
    {call("a", "{{ q }}", "q=%inputs:q")}
    output answer: text = %a.decode:text
"""
INDEXING = """
    input q: text
    input documents: list<document> = []
    input top: int = 2
    %c.chunk = chunk documents=%inputs:documents {by = "characters", size = 100} @c
    %i.embed = embed texts=%c.chunk:chunks {engine = emb} @i
    %i.ingest = ingest chunks=%c.chunk:chunks embeddings=%i.embed:embeddings {engine = store} @i
    %w.wrap = wrap value=%inputs:q @s
    %s.embed = embed texts=%w.wrap:items {engine = emb} @s
    %s.search = search embeddings=%s.embed:embeddings collection=%i.ingest:collection \
        top_k=%inputs:top {engine = store} @s
    %s.flatten = flatten items=%s.search:hits @s
    output found: list<passage> = %s.flatten:items
"""


class Rows(Sequence):
    """Many rows that are made when they are read; ``read`` counts them."""

    def __init__(self, total):
        self.total = total
        self.read = 0

    def __len__(self):
        return self.total

    def __getitem__(self, index):
        if index >= self.total:
            raise IndexError
        self.read = index + 1
        return {"id": f"q{index}", "q": f"What is {index}?"}


@virtual
async def test_five_thousand_rows_run_so_many_at_once(bench, tmp_path):
    """Not one more is read than may run, all are recorded, and time is what the engine takes."""
    rows, ahead = Rows(5000), []
    answers = tmp_path / "a.jsonl"
    async with bench.runner(plan(ASKING, llm={"latency_ms": 100})) as runner:
        with Batch(runner.plan, rows, answers) as batch:
            began = now()
            rows.read = 0

            def note(_):
                ahead.append((rows.read - batch.tally.ended, bench.pool.queries))

            tally = await batch.run(runner, concurrency=50, on_answer=note)
    assert (tally.answered, tally.errors, tally.usage.requests) == (5000, {}, 5000)
    assert max(read for read, _ in ahead) <= 50
    assert max(running for _, running in ahead) <= 50
    one_s = (len(reply("What is 1?")) // 16 + 1) * 0.1
    assert 100 * one_s * 0.5 <= now() - began <= 100 * one_s * 2
    found = by_row(answers)
    assert found.keys() == set(range(1, 5001))
    assert found[18]["outputs"] == {"answer": reply("What is 17?")}
    assert found[18]["id"] == "q17"


def test_results_are_not_kept():
    """Memory stays what it is, however many rows have ended."""
    lines, used = [0], []

    def put(line):
        lines[0] += 1
        if lines[0] in (500, 4500):
            gc.collect()
            used.append(tracemalloc.get_traced_memory()[0])

    rows = [{"question": str(n)} for n in range(5000)]
    runner = QuickRunner()
    runner.asked = Forgetful()
    tracemalloc.start()
    try:
        answer_all(rows, Stream(put), runner)
    finally:
        tracemalloc.stop()
    first, last = used
    assert last - first < 50_000


class Forgetful(list):
    """A list that keeps nothing."""

    def append(self, _):
        pass


def test_a_line_says_what_became_of_its_row(tmp_path):
    """Outputs, or an error with its code and place; in the order in which rows end."""
    questions = write_lines(
        tmp_path / "q.jsonl", {"question": "a", "id": "x"}, {"question": "bad"}, "{", {"q": 1}
    )
    tally = answer_all(questions, tmp_path / "a.jsonl")
    found = by_row(tmp_path / "a.jsonl")
    hashes = {len(part) for line in found.values() for part in line.pop("from").values()}
    assert hashes == {16}
    assert {line.pop("seconds") >= 0 for line in found.values()} == {True}
    usage = {"requests": 1, "prompt_tokens": 10, "completion_tokens": 5, "warm_ups": 0}
    assert found[1] == {"row": 1, "id": "x", "outputs": {"answer": "A"}, "usage": usage}
    assert found[2]["error"] == {
        "code": "item",
        "message": f"{PLACE}: it is bad",
        "where": {
            "workflow": "t",
            "module": "answer",
            "line": 7,
            "primitive": "answer.decode",
            "engine": "llm",
        },
    }
    assert found[3]["error"] == {
        "code": "row",
        "message": f"{questions}:3:2: the row is not JSON: "
        "Expecting property name enclosed in double quotes",
        "where": {"file": str(questions), "line": 3, "column": 2},
    }
    assert found[4]["error"]["code"] == "internal"
    assert found[4]["error"]["message"] == "KeyError: 'question'"
    assert dict(tally.failed) == {"item": 1, "row": 1, "internal": 1}
    assert (tally.total, tally.answered, tally.recorded) == (4, 1, 4)


@virtual
async def test_inputs_of_a_wrong_type_are_that_rows_error(bench, tmp_path):
    """The others are answered."""
    rows = [{"q": 7}, {"question": "a"}, {}, {"q": "b"}]
    async with bench.runner(plan(ASKING)) as runner:
        await run_batch(runner, rows, tmp_path / "a.jsonl")
    found = by_row(tmp_path / "a.jsonl")
    messages = [found[n]["error"]["message"] for n in (1, 2, 3)]
    assert messages[0] == "input 'q' must be text: expected text, got the int 7"
    assert messages[1] == "t has no input 'question' (it has q: text)"
    assert messages[2] == "t needs the input 'q' (text)"
    assert {found[n]["error"]["code"] for n in (1, 2, 3)} == {"input"}
    assert found[4]["outputs"] == {"answer": reply("b")}


@virtual
async def test_shared_documents_are_read_and_indexed_once(bench, tmp_path, monkeypatch):
    """A thousand questions over one folder; a row may bring its own; warnings come once."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("An image has layers.", "utf-8")
    (tmp_path / "docs" / "b.png").write_bytes(b"PNG")
    read = []
    original = inputs.read_documents
    monkeypatch.setattr(inputs, "read_documents", lambda *a: read.append(a) or original(*a))
    rows = [{"q": f"question {n}"} for n in range(1000)]
    own = {"q": "own", "documents": [{"name": "mine", "text": "Mine."}], "top": 1}
    async with bench.runner(plan(INDEXING)) as runner:
        tally = await run_batch(
            runner, [*rows, own], tmp_path / "a.jsonl", shared={"documents": tmp_path / "docs"}
        )
    assert len(read) == 2
    assert tally.answered == 1001
    assert len(tally.warnings) == 1
    assert "b.png" in tally.warnings[0]
    found = by_row(tmp_path / "a.jsonl")
    assert "warnings" not in found[1]
    assert [passage["document"] for passage in found[1]["outputs"]["found"]] == ["a.md"]
    assert [passage["document"] for passage in found[1001]["outputs"]["found"]] == ["mine"]
    stored = [item for call in bench.spy("store").calls for item in call.items]
    assert len([item for item in stored if isinstance(item, tuple)]) == 2


def test_shared_inputs_are_checked_before_anything_runs(tmp_path):
    """Unknown names, wrong types and missing files are the command's mistake, not the rows'."""
    rows = [{"question": "a"}]
    for source, shared, message in (
        (PLAN, {"tonne": "x"}, "did you mean 'tone'"),
        (PLAN, {"tone": 3}, "input 'tone' must be text"),
        (
            plan(INDEXING),
            {"documents": str(tmp_path / "none")},
            "input 'documents': the documents cannot be read",
        ),
    ):
        runner = QuickRunner(source)
        with pytest.raises(InputError, match=message):
            answer_all(rows, tmp_path / "a.jsonl", runner, shared=shared)
        assert runner.asked == []
    assert not (tmp_path / "a.jsonl").exists()


def test_an_input_of_a_row_comes_before_a_shared_one():
    """As an option of one call comes before a default."""
    runner = QuickRunner()
    rows = [{"question": "a"}, {"question": "b", "tone": "own"}]
    answer_all(rows, runner=runner, shared={"tone": "shared"})
    assert [asked["tone"] for asked in runner.asked] == ["shared", "own"]


@virtual
async def test_an_engine_that_cannot_start_ends_the_batch(bench, tmp_path):
    """Every row would fail with it: none is recorded."""

    async def refuse():
        raise ModelError("there are no weights")

    bench.prepared.append(lambda spy: setattr(spy, "start", refuse))
    async with bench.runner(plan(ASKING)) as runner:
        with pytest.raises(ModelError, match="no weights"):
            await run_batch(runner, Rows(100), tmp_path / "a.jsonl")
    assert read_lines(tmp_path / "a.jsonl") == []


@virtual
async def test_an_engine_that_is_given_up_ends_the_batch(bench, tmp_path):
    """What was answered before is kept; nothing is recorded of the others."""
    answers = tmp_path / "a.jsonl"
    async with bench.runner(plan(ASKING, llm={"die_after": 30})) as runner:
        with pytest.raises(ModuleError, match="died"):
            await run_batch(runner, Rows(500), answers, concurrency=4)
    found = by_row(answers)
    assert any("outputs" in line for line in found.values())
    assert len(found) < 500
    bench.spy("llm").alive = False


@pytest.mark.parametrize("written", [0, 7])
def test_a_full_disk_ends_the_batch(tmp_path, monkeypatch, written):
    """No half of a line stays; what was written can be gone on with."""
    answers = tmp_path / "a.jsonl"
    rows = [{"question": str(n)} for n in range(20)]
    original, calls = os.write, []

    def write(descriptor, data):
        calls.append(len(data))
        if len(calls) < 6:
            return original(descriptor, data)
        if len(calls) == 6 and written:
            return original(descriptor, data[:written])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("teola.runtime.batch.journal.os.write", write)
        with pytest.raises(BatchError, match="a.jsonl: cannot be written: No space left"):
            answer_all(rows, answers)
    assert len(by_row(answers)) == 5
    tally = answer_all(rows, answers)
    assert (tally.kept, tally.answered, len(by_row(answers))) == (5, 15, 20)


@virtual
async def test_cancelling_keeps_what_is_finished(bench, tmp_path):
    """Rows that run are cancelled down to the engine and are not recorded."""
    answers = tmp_path / "a.jsonl"
    rows = Rows(40)
    async with bench.runner(plan(ASKING, llm={"latency_ms": 100})) as runner:
        work = asyncio.ensure_future(run_batch(runner, rows, answers, concurrency=10))
        await pass_time(1.2)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        await pass_time(1)
        done = len(by_row(answers))
        assert 10 <= done < 40
        assert bench.pool.queries == 0
        tally = await run_batch(runner, rows, answers, concurrency=10)
    assert (tally.kept, tally.answered) == (done, 40 - done)
    assert by_row(answers).keys() == set(range(1, 41))


@virtual
async def test_a_runner_that_is_closed_ends_the_batch(bench, tmp_path):
    """Its rows are not recorded as failed: they were not tried."""
    runner = bench.runner(plan(ASKING, llm={"latency_ms": 100}))
    await runner.start()
    work = asyncio.ensure_future(run_batch(runner, Rows(40), tmp_path / "a.jsonl", concurrency=10))
    await pass_time(0.15)
    await runner.close()
    with pytest.raises(QueryCancelled):
        await work
    assert read_lines(tmp_path / "a.jsonl") == []


def test_no_rows_at_once_is_refused():
    """It would wait for ever."""
    with pytest.raises(BatchInputError, match="at least 1 row must run at once"):
        answer_all([{"question": "a"}], concurrency=0)


def test_letters_without_utf_8_are_escaped(tmp_path):
    """Half of a surrogate pair is JSON, but no text that a file can hold."""
    answer_all([{"question": "a\ud800"}, {"question": "ä"}], tmp_path / "a.jsonl")
    assert by_row(tmp_path / "a.jsonl")[1]["outputs"] == {"answer": "A\ud800"}
    assert "Ä" in (tmp_path / "a.jsonl").read_text("utf-8")


def test_without_a_file_answers_are_told():
    """Rows and what became of them, one by one."""
    told = []
    rows = [{"question": "a"}, {"question": "bad"}]
    answer_all(rows, on_answer=told.append)
    assert [(answer.row.number, answer.result is None) for answer in told] == [
        (1, False),
        (2, True),
    ]


def test_comments_and_places_in_a_file_are_no_change(tmp_path):
    """The hash of a workflow is that of what it compiles to."""
    text = """
        teola: 1
        name: tiny
        inputs: {question: text}
        engines: {llm: {kind: llm, backend: fake}}
        modules:
          a:
            uses: generate
            inputs: {question: inputs.question}
            with: {prompt: "Say {{ question }}"}
        outputs: {answer: a.text}
    """
    for name, comment in (("one.yaml", ""), ("other.yaml", "# much better\n\n")):
        (tmp_path / name).write_text(comment + text, "utf-8")
    lines = []
    for name in ("one.yaml", "other.yaml"):

        async def ask(file=tmp_path / name):
            from teola.runtime import Runner

            async with Runner(file) as runner:
                await run_batch(runner, [{"question": "a"}], Stream(lines.append))

        asyncio.run(ask())
    one, other = map(json.loads, lines)
    assert one["from"] == other["from"]
    assert one["outputs"] == other["outputs"]
