"""A batch that is gone on with: no row is lost, none is doubled, nothing is mixed in silence."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.runtime.batch import BatchInputError, Policy
from teola.runtime.batch.journal import Journal
from teola.runtime.errors import InputError
from tests.runtime.batches import (
    QuickRunner,
    answer_all,
    by_row,
    read_lines,
    write_lines,
)
from tests.runtime.workbench import plan

ROWS = [
    {"question": "ä"},
    {"question": "bad", "id": "b"},
    {"question": 'quo"te\n', "id": 3},
    '{"question": ',
    {"question": "e", "id": "é"},
    {"question": "too bad"},
]
RETRY = Policy(retry_errors=True)
ACCEPT = Policy(accept_changes=True)


@pytest.fixture
def files(tmp_path):
    """Questions, and where their answers go."""
    return write_lines(tmp_path / "q.jsonl", *ROWS), tmp_path / "a.jsonl"


cuts = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(["cut", "zeros", "answers"]), st.booleans()),
    min_size=1,
    max_size=4,
)


@given(cuts)
def test_a_file_cut_anywhere_is_completed(cuts):
    """However often, at whichever byte, and with zeros after it: each row is there exactly once,
    and a line that was whole is neither lost nor made again."""
    with tempfile.TemporaryDirectory() as folder:
        questions = write_lines(Path(folder) / "q.jsonl", *ROWS)
        answers = Path(folder) / "a.jsonl"
        answer_all(questions, answers)
        complete = {n: "error" in line for n, line in by_row(answers).items()}
        assert len(complete) == len(ROWS)
        for share, kind, retry in cuts:
            content = answers.read_bytes()
            left = content[: round(share * len(content))]
            whole = left[: left.rfind(b"\n") + 1].splitlines()
            answers.write_bytes(left + b"\0" * 5 * (kind == "zeros" and left != content))
            runner = QuickRunner()
            answer_all(questions, answers, runner, policy=RETRY if retry else None)
            found = by_row(answers)
            assert {n: "error" in line for n, line in found.items()} == complete
            kept = [line for line in whole if not retry or b'"outputs"' in line]
            assert answers.read_bytes().splitlines()[: len(kept)] == kept


def test_every_byte_is_a_place_to_be_killed_at(files):
    """All cuts of its beginning and its end."""
    questions, answers = files
    answer_all(questions, answers)
    content = answers.read_bytes()
    for end in (*range(12), *range(len(content) - 150, len(content))):
        answers.write_bytes(content[:end])
        answer_all(questions, answers)
        assert by_row(answers).keys() == {1, 2, 3, 4, 5, 6}, end


def test_a_finished_batch_asks_nothing(files):
    """Errors are kept, too."""
    questions, answers = files
    answer_all(questions, answers)
    before = answers.read_bytes()
    runner = QuickRunner()
    tally = answer_all(questions, answers, runner)
    assert runner.asked == []
    assert (tally.kept, dict(tally.kept_failed), tally.ended) == (3, {"item": 2, "row": 1}, 0)
    assert answers.read_bytes() == before


def test_errors_are_made_again_if_that_is_wanted(files):
    """Their old lines are gone."""
    questions, answers = files
    answer_all(questions, answers)
    runner = QuickRunner()
    tally = answer_all(questions, answers, runner, policy=RETRY)
    assert sorted(str(asked["question"]) for asked in runner.asked) == ["bad", "too bad"]
    assert (tally.kept, tally.kept_failed, dict(tally.failed)) == (3, {}, {"item": 2, "row": 1})
    assert len(by_row(answers)) == 6


def test_rows_that_failed_and_were_mended_are_made_again(files):
    """An error is kept only while nothing it came from has changed."""
    questions, answers = files
    answer_all(questions, answers)
    mended = [*ROWS]
    mended[1], mended[3] = {"question": "good", "id": "b"}, {"question": "d", "id": "new"}
    write_lines(questions, *mended)
    tally = answer_all(questions, answers)
    assert (tally.kept, tally.answered, dict(tally.kept_failed)) == (3, 2, {"item": 1})
    assert by_row(answers)[4]["outputs"] == {"answer": "D"}


def test_errors_of_another_workflow_are_made_again(files):
    """A first try that failed everywhere needs no option once the workflow is mended."""
    questions, answers = files
    write_lines(questions, {"question": "bad"}, {"question": "worse, bad"})
    answer_all(questions, answers)
    other = plan("""
        input question: text
        %w.wrap = wrap value=2 @w
        output answer: text = %inputs:question
        output out: list<int> = %w.wrap:items
    """)
    assert answer_all(questions, answers, QuickRunner(other)).failed.total() == 2
    assert len(by_row(answers)) == 2


def test_new_rows_are_added(files):
    """Rows may be appended; those with an id may move."""
    questions, answers = files
    write_lines(questions, {"question": "a", "id": 1}, {"question": "b", "id": 2})
    answer_all(questions, answers)
    write_lines(
        questions, {"question": "c"}, {"question": "b", "id": 2}, {"id": 1, "question": "a"}
    )
    runner = QuickRunner()
    answer_all(questions, answers, runner)
    assert [asked["question"] for asked in runner.asked] == ["c"]


def changed_row(questions):
    write_lines(questions, {"question": "other"}, *ROWS[1:])
    return {}


def fewer_rows(questions):
    write_lines(questions, *ROWS[:2])
    return {}


def other_inputs(_):
    return {"shared": {"tone": "rude"}}


def other_workflow(_):
    source = plan("""
        input question: text
        %w.wrap = wrap value=2 @w
        output answer: text = %inputs:question
        output out: list<int> = %w.wrap:items
    """)
    return {"runner": QuickRunner(source)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed_row, "rows of .*q.jsonl have changed since their answers \\(line "),
        (fewer_rows, "it has answers of rows that .*q.jsonl has not \\(lines "),
        (other_inputs, "the inputs that all rows share, or their documents, have changed"),
        (other_workflow, "it has answers of another workflow, or of other settings"),
    ],
)
def test_answers_to_other_questions_are_refused(files, change, message):
    """The file stays as it is; accepting the changes keeps its answers."""
    questions, answers = files
    answer_all(questions, answers)
    before = answers.read_bytes()
    options = change(questions)
    with pytest.raises(BatchInputError, match=message):
        answer_all(questions, answers, **options)
    assert answers.read_bytes() == before
    tally = answer_all(questions, answers, **options, policy=ACCEPT)
    assert len([line for line in read_lines(answers) if "outputs" in line]) == 3
    assert tally.kept == (1 if change is fewer_rows else 3)


def test_a_line_that_is_removed_is_made_again(files):
    """The file of answers is all that is known of a batch."""
    questions, answers = files
    answer_all(questions, answers)
    rows = [line for line in answers.read_bytes().splitlines(True) if b'"row": 5' not in line]
    answers.write_bytes(b"".join(rows))
    runner = QuickRunner()
    answer_all(questions, answers, runner)
    assert [asked["question"] for asked in runner.asked] == ["e"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"teola: 1\n", "a.jsonl:1: no line of a batch's answers: Expecting value"),
        (b"no line break", "a.jsonl:1: no line of a batch's answers"),
        (b'{"question": "a"}\n', "a.jsonl:1: .*: it has no 'row'"),
        (b'{"row": 1, "outputs": {}}\n', "it does not say what it is 'from'"),
        (b'{"row": 1, "from": {}}\n', "it has neither 'outputs' nor an 'error'"),
        (b'{"row": 1, "outputs": {}, "id": []}\n', "its 'id' is neither"),
        (b"\x00" * 9 + b"x", "no line of a batch's answers"),
    ],
)
def test_a_foreign_file_is_left_alone(files, content, message):
    """What does not look like ours is neither cut nor added to."""
    questions, answers = files
    answers.write_bytes(content)
    with pytest.raises(BatchInputError, match=message):
        answer_all(questions, answers)
    assert answers.read_bytes() == content


def test_a_row_with_two_answers_is_refused(files):
    """Two files were put together: nobody can tell which line is right."""
    questions, answers = files
    answer_all(questions, answers)
    answers.write_bytes(answers.read_bytes() * 2)
    with pytest.raises(BatchInputError, match=r"lines \d and \d+ are answers of one row"):
        answer_all(questions, answers)


def test_a_last_line_without_its_end_is_kept(files):
    """An editor may have taken the line break."""
    questions, answers = files
    answer_all(questions, answers)
    answers.write_bytes(answers.read_bytes().rstrip(b"\n"))
    runner = QuickRunner()
    answer_all(questions, answers, runner)
    assert runner.asked == []
    assert len(by_row(answers)) == 6


def test_two_rows_of_one_id_are_refused(files):
    """Before anything runs, with both places; 1 and "1" are two ids."""
    questions, answers = files
    write_lines(questions, {"id": "1"}, {"id": 1}, "", {"id": 1, "question": "again"})
    with pytest.raises(BatchInputError, match="q.jsonl: rows 2 and 4 have one id, 1: give each"):
        answer_all(questions, answers)
    assert not answers.exists()


def test_one_process_writes_a_file(files):
    """The second is refused, also after the first has replaced the file; then it is free."""
    questions, answers = files
    answer_all(questions, answers)
    first = Journal(answers)
    for _ in range(2):
        with pytest.raises(BatchInputError, match="a.jsonl: another process is writing it"):
            answer_all(questions, answers)
        first.drop({1}.__contains__)
    first.close()
    answer_all(questions, answers)
    assert len(by_row(answers)) == 6


def test_a_rewritten_file_keeps_its_place_and_rights(files, tmp_path):
    """A link stays a link; what a killed rewriting left is no harm."""
    questions, answers = files
    (tmp_path / "there").mkdir()
    there = tmp_path / "there" / "real.jsonl"
    answers.symlink_to(there)
    answer_all(questions, answers)
    there.chmod(0o640)
    (tmp_path / "there" / ".real.jsonl.new").write_text("half a li", "utf-8")
    answer_all(questions, answers, policy=RETRY)
    assert answers.is_symlink()
    assert there.stat().st_mode & 0o777 == 0o640
    assert len(by_row(answers)) == 6
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["real.jsonl"]


def test_where_no_answers_can_stand_is_said(files, tmp_path):
    """A folder, and a file in a folder that is not there."""
    questions, _ = files
    with pytest.raises(InputError, match="cannot hold answers: it is no file"):
        answer_all(questions, tmp_path)
    with pytest.raises(InputError, match="cannot be written: No such file or directory"):
        answer_all(questions, tmp_path / "none" / "a.jsonl")
