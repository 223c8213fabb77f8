"""``teola run --batch`` on fake engines: streams, exit codes, messages."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from teola.runtime.batch import Answer, Row, RowError, Tally
from teola.runtime.cli.batch_progress import LiveBatch, PlainBatch
from teola.runtime.cli.pace import Pace, duration
from teola.runtime.events import EngineStatus
from teola.runtime.result import RunResult, Usage
from tests.cli.conftest import Clock
from tests.runtime.batches import by_row, read_lines, write_lines

WORKFLOW = """
teola: 1
name: tiny
inputs:
  question: text
  tone: {type: text, default: plain}
engines:
  llm: {kind: llm, backend: fake}
modules:
  answer:
    uses: generate
    inputs: {question: inputs.question, tone: inputs.tone}
    with: {prompt: "Be {{ tone }}. {{ question }}"}
outputs:
  answer: answer.text
"""


@pytest.fixture
def batch(tmp_path, teola_command, monkeypatch):
    """Call ``teola run --batch`` in a folder with a workflow and three questions."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(WORKFLOW, "utf-8")
    write_lines(tmp_path / "q.jsonl", *({"id": n, "question": f"What is {n}?"} for n in "abc"))

    def call(*words, questions="q.jsonl", out="a.jsonl", stdin=None):
        where = ["--out", out] if out else []
        return teola_command("run", "tiny.yaml", "--batch", questions, *where, *words, stdin=stdin)

    return call


def test_answers_are_in_the_file_and_the_rest_on_standard_error(batch, tmp_path):
    """Standard output stays free; what has been done is summed up."""
    done = batch()
    assert (done.exit_code, done.stdout) == (0, "")
    assert {line["id"] for line in by_row(tmp_path / "a.jsonl").values()} == {"a", "b", "c"}
    *_, rows, cost, _ = done.stderr.split("\n")
    assert rows == "3 rows: 3 answered"
    assert cost.startswith("3 in ")
    assert "rows/s; 3 LLM requests, " in cost


def test_a_batch_that_is_finished_starts_no_engine(batch):
    """And says that it was."""
    batch()
    done = batch()
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "3 rows: 3 answered, 3 of them in an earlier run\n"


def test_rows_that_fail_give_an_exit_code_of_their_own(batch, tmp_path):
    """They are counted by code, and the way to make them again is told."""
    write_lines(tmp_path / "q.jsonl", {"question": "a"}, {"question": 1}, "{", {"question": 2})
    done = batch()
    assert done.exit_code == 3
    assert "4 rows: 1 answered, 3 failed (2 input, 1 row)\n" in done.stderr
    assert done.stderr.endswith("\n--retry-errors makes the failed rows again\n")
    assert batch().exit_code == 3
    again = batch("--retry-errors")
    assert again.stderr.startswith("a.jsonl has 1 of 4 rows: going on with the rest\n")
    assert len(by_row(tmp_path / "a.jsonl")) == 4


def test_an_interrupted_batch_is_gone_on_with(batch, tmp_path):
    """Only what is missing is run."""
    batch()
    lines = (tmp_path / "a.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines[:2])[:-9])
    done = batch()
    assert done.stderr.startswith("a.jsonl has 1 of 3 rows: going on with the rest\n")
    assert "3 rows: 3 answered, 1 of them in an earlier run\n2 in " in done.stderr
    assert (tmp_path / "a.jsonl").read_bytes().startswith(lines[0])
    assert len(by_row(tmp_path / "a.jsonl")) == 3


def test_standard_input_and_output_serve_as_files(batch):
    """A pipe from here to there; nothing else is on standard output."""
    rows = '\ufeff{"question": "x"}\r\n\r\n{"question": "y"}'
    done = batch("--quiet", questions="-", out="-", stdin=rows)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["row"] for line in lines} == {1, 3}
    assert (done.exit_code, done.stderr) == (0, "")


def test_inputs_of_the_command_line_are_those_of_all_rows(batch, tmp_path):
    """Their types are checked first; a row's own come before them."""
    done = batch("-i", "tonne=rude")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "did you mean 'tone'" in done.stderr
    assert batch().exit_code == 0
    plain = by_row(tmp_path / "a.jsonl")
    assert batch("-i", "tone=rude", out="b.jsonl").exit_code == 0
    rude = by_row(tmp_path / "b.jsonl")
    assert all(plain[n]["outputs"] != rude[n]["outputs"] for n in plain)
    refused = batch("-i", "tone=rude")
    assert refused.exit_code == 2
    assert "error: a.jsonl: the inputs that all rows share, or their documents, " in refused.stderr
    assert batch("-i", "tone=rude", "--accept-changes").exit_code == 0


def test_labels_beside_questions_are_left_out_if_that_is_wanted(batch, tmp_path):
    """Else they are unknown inputs: a name may be misspelt."""
    write_lines(tmp_path / "q.jsonl", {"question": "a", "label": "b"})
    assert batch().exit_code == 3
    assert "no input 'label'" in by_row(tmp_path / "a.jsonl")[1]["error"]["message"]
    assert batch("--ignore-extra").exit_code == 0


def test_json_is_the_summary(batch):
    """One object on standard output."""
    written = json.loads(batch("--json", "-q").stdout)
    assert written.pop("seconds") >= 0
    assert written.pop("rows_per_second") > 0
    assert written.pop("usage")["requests"] == 3
    assert written == {"rows": 3, "answered": 3, "failed": {}, "before": 0, "truncated": 0}


def test_a_trace_has_a_track_for_each_row(batch, tmp_path):
    """By its id; what engines did for all of them stands above."""
    done = batch("-q", "--trace", "run.json")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    events = json.loads((tmp_path / "run.json").read_text("utf-8"))["traceEvents"]
    names = [one["args"]["name"] for one in events if one["name"] == "process_name"]
    assert set(names) == {"engine llm (fake)"} | {f'tiny row "{id}"' for id in "abc"}
    assert len(names) == 4
    assert sum(one["name"] == "answer.decode" for one in events) == 2 * 3


def test_a_failed_row_is_in_the_trace(batch, tmp_path):
    """With its error, though it has no result."""
    llm = "engines.llm={kind: llm, backend: fake, fail_items: ['b?']}"
    assert batch("-q", "--trace", "run.json", "--set", llm).exit_code == 3
    events = json.loads((tmp_path / "run.json").read_text("utf-8"))["traceEvents"]
    (failed,) = [one for one in events if "error" in one.get("args", {})]
    (name,) = [
        one["args"]["name"]
        for one in events
        if one["pid"] == failed["pid"] and one["name"] == "process_name"
    ]
    assert name == 'tiny row "b"'


def test_a_timeline_shows_the_slowest_row(batch):
    """With how busy engines were in the whole time; before the account, which is the last word."""
    llm = "engines.llm={kind: llm, backend: fake, per_token_ms: 1}"
    write_lines(Path("q.jsonl"), *({"question": "?" * size} for size in (1, 200, 2)))
    done = batch("--timeline", "--set", llm, "--concurrency", "1")
    assert done.exit_code == 0
    lines = done.stderr.split("\n")
    (title,) = [line for line in lines if line.startswith("Timeline of ")]
    assert title.startswith("Timeline of row 2, the slowest of 3 answered: ")
    (busy,) = [line for line in lines if line.startswith("Busy while all rows ran: llm ")]
    assert lines.index(title) < lines.index(busy) < lines.index("3 rows: 3 answered")


def test_a_batch_without_an_answer_has_no_timeline(batch):
    """There is nothing to draw."""
    llm = "engines.llm={kind: llm, backend: fake, fail_items: ['']}"
    done = batch("--timeline", "--set", llm)
    assert done.exit_code == 3
    assert "Timeline" not in done.stderr


def test_a_file_without_rows_is_done(batch, tmp_path):
    """There is nothing to do, and nothing wrong."""
    write_lines(tmp_path / "q.jsonl", "", "  ")
    done = batch()
    assert (done.exit_code, done.stderr) == (0, "0 rows: 0 answered\n")


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        ([], {"out": None}, "--batch needs --out FILE"),
        ([], {"out": "q.jsonl"}, "--out q.jsonl: these are the questions"),
        ([], {"out": "tiny.yaml"}, "tiny.yaml:1: no line of a batch's answers"),
        ([], {"questions": "none.jsonl"}, "none.jsonl: cannot be read: No such file"),
        ([], {"questions": "."}, ".: cannot be read: Is a directory"),
        (["--trace", "q.jsonl"], {}, "--trace q.jsonl: these are the questions"),
        (
            ["--trace", "tiny.yaml"],
            {"out": "tiny.yaml"},
            "--trace tiny.yaml: these are the answers",
        ),
        (["--trace", "none/run.json"], {}, "there is no folder none"),
        (["--json"], {"out": "-"}, "--json writes the summary of a batch to standard output"),
        (["--retry-errors"], {"out": "-"}, "give --out FILE"),
        (["-i", "tone=@-"], {"questions": "-"}, "both read standard input"),
        (["--seed", "3"], {}, "--seed is for one run"),
    ],
)
def test_what_cannot_be_done_is_said_first(batch, tmp_path, words, options, message):
    """Exit code 2, nothing has run, nothing is changed."""
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    done = batch(*words, **options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_options_of_a_batch_need_one(batch, teola_command):
    """They are no options of a single run."""
    done = teola_command("run", "tiny.yaml", "-i", "question=Why?", "--out", "a.jsonl")
    assert done.exit_code == 2
    assert "are options of --batch" in done.stderr
    assert batch("--concurrency", "0").exit_code == 2


class Shown:
    """A batch's progress on a console that is a string, with a clock that a test moves."""

    def __init__(self, kind, total, **options):
        self.clock = Clock()
        self.tally = Tally(total)
        self.text = io.StringIO()
        self.console = Console(file=self.text, width=80, color_system=None, **options)
        self.progress = kind(self.tally, self.console, self.clock)

    def end(self, rows, seconds, error=False):
        """So many rows end, one after each so many seconds."""
        wrong = RowError("item", "bad", {})
        for _ in range(rows):
            self.clock.now += seconds
            row = Row(1, "")
            result = RunResult({}, "r", usage=Usage())
            self.tally.add(Answer(row, 1.0, error=wrong) if error else Answer(row, 1.0, result))
            self.progress.row()


def test_a_line_every_ten_seconds():
    """Count, share, errors, rate and time left; engines as in a single run."""
    shown = Shown(PlainBatch, 2000)
    shown.progress.engine(EngineStatus("llm", "loading"))
    shown.clock.now += 60
    shown.progress.engine(EngineStatus("llm", "ready"))
    shown.end(1, 0.0, error=True)
    shown.end(100, 0.25)
    assert shown.text.getvalue().split("\n") == [
        "engine llm: loading",
        "engine llm: ready in 60.0 s",
        "rows 1/2,000 (0%), 1 error",
        "rows 41/2,000 (2%), 1 error, 4.1 rows/s, 7 min 58 s left",
        "rows 81/2,000 (4%), 1 error, 4.05 rows/s, 7 min 54 s left",
        "",
    ]


def test_a_bar_shows_where_a_batch_is():
    """One line that fits the terminal."""
    shown = Shown(LiveBatch, 400, force_terminal=True)
    shown.end(100, 0.5)
    paper = Console(file=io.StringIO(), width=80, color_system=None)
    paper.print(shown.progress.render())
    line = paper.file.getvalue().rstrip("\n")
    assert line.startswith("rows 100/400 ━━━━")
    assert line.rstrip().endswith("25% 2 rows/s · 2 min 30 s left")
    assert len(line) <= 80


def test_the_rate_is_that_of_the_last_half_minute():
    """What was fast once does not promise an early end; what stalls shows."""
    clock = Clock()
    pace = Pace(clock)
    assert pace.rate() is None
    for seconds, rows in ((0.01, 1000), (1.0, 60)):
        for _ in range(rows):
            clock.now += seconds
            pace.add()
    assert pace.rate() == pytest.approx(1.0, rel=0.1)
    clock.now += 15
    assert pace.rate() == pytest.approx(0.5, rel=0.1)
    clock.now += 60
    assert pace.rate() is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (42, "42 s"), (59.7, "1 min 0 s"), (320, "5 min 20 s"), (4320, "1 h 12 min")],
)
def test_durations_are_short(seconds, text):
    """Two units at most."""
    assert duration(seconds) == text


def test_lines_of_a_batch_are_json(batch, tmp_path):
    """Each is one object with row, outputs, usage, seconds and origin."""
    batch()
    for line in read_lines(tmp_path / "a.jsonl"):
        assert list(line) == ["row", "id", "outputs", "usage", "seconds", "from"]
