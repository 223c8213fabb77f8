"""Rows of a batch: what is read from lines of JSON, and what is said of lines that are none."""

from contextlib import closing

import pytest

from teola.runtime.batch import BatchInputError
from teola.runtime.batch.questions import open_questions
from teola.runtime.batch.row import Columns, read_row

COLUMNS = Columns(frozenset({"question", "a"}))


def rows(path, content, columns=COLUMNS):
    path.write_bytes(content)
    with closing(open_questions(path, columns)) as questions:
        return list(questions)


def test_rows_are_numbered_by_their_lines(tmp_path):
    """A byte order mark, blank lines and carriage returns are no part of rows."""
    content = b'\xef\xbb\xbf{"question": "a"}\r\n\r\n  \n{"question": "b", "id": "x"}\n{"id": 7}'
    found = rows(tmp_path / "q.jsonl", content)
    assert [(row.number, row.id, row.inputs) for row in found] == [
        (1, None, {"question": "a"}),
        (4, "x", {"question": "b"}),
        (5, 7, {}),
    ]
    assert [row.key for row in found] == ["row 1", '"x"', "7"]


@pytest.mark.parametrize(
    ("line", "message", "column"),
    [
        (b'{"question" "b"}', "is not JSON: Expecting ':' delimiter", 13),
        (b'{"question": "\xff"}', "is not UTF-8 text", 15),
        (b"\xff\xfe{\x00", "is not UTF-8 text", 1),
        (b'{"question": NaN}', "is not JSON: NaN is no number of JSON", None),
        (b'{"a": 1, "a": 2}', "is not JSON: 'a' stands twice in one object", None),
        (b"[" * 100_000, "is not JSON that can be read: it is nested too deeply", None),
        (b'["a"]', 'is no object of inputs but ["a"]', None),
        (b'{"id": 1.5}', "has an id that is neither text nor a whole number: 1.5", None),
        (b'{"id": true}', "has an id that is neither text nor a whole number: true", None),
    ],
)
def test_what_is_wrong_with_a_line_is_said(line, message, column):
    """It becomes the row's problem, with its place where that is known; reading goes on."""
    problem = read_row(line, 3, COLUMNS).problem
    assert (problem.message, problem.column) == (message, column)


def test_a_hash_stands_for_content():
    """The order of keys and the spacing do not count; every value does, the id too."""
    one = read_row(b'{"a": 1, "id": "x"}', 1, COLUMNS)
    assert one.hash == read_row(b'{"id":"x","a":1}', 9, COLUMNS).hash
    others = (b'{"a": 2, "id": "x"}', b'{"a": 1, "id": "y"}', b'{"a": "1", "id": "x"}', b"{")
    assert len({one.hash, *(read_row(line, 1, COLUMNS).hash for line in others)}) == 5


def test_an_input_called_id_is_an_input(tmp_path):
    """Then rows are known by their numbers."""
    (row,) = rows(tmp_path / "q.jsonl", b'{"id": "x"}\n', Columns(frozenset({"id"})))
    assert (row.id, row.inputs, row.key) == (None, {"id": "x"}, "row 1")


def test_what_is_no_input_can_be_left_out(tmp_path):
    """A label beside a question does not reach the run, nor is its change one of the row."""
    columns = Columns(COLUMNS.inputs, ignore_extra=True)
    one, other = rows(
        tmp_path / "q.jsonl",
        b'{"id": 1, "question": "a", "label": "x"}\n{"label": "y", "question": "a", "id": 1}\n',
        columns,
    )
    assert (one.id, one.inputs) == (1, {"question": "a"})
    assert one.hash == other.hash


def test_a_null_id_is_none():
    """As if it were not there."""
    assert read_row(b'{"id": null, "a": 1}', 2, COLUMNS).key == "row 2"


def test_rows_are_read_when_they_are_wanted(tmp_path):
    """A large file is never in memory, and can be gone through again."""
    path = tmp_path / "q.jsonl"
    path.write_bytes(b'{"question": "a"}\n' * 3 + b"{broken")
    with closing(open_questions(path, COLUMNS)) as questions:
        assert next(iter(questions)).problem is None
        assert [row.number for row in questions] == [1, 2, 3, 4]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    """With the reason."""
    with pytest.raises(BatchInputError, match="none.jsonl: cannot be read: No such file"):
        open_questions(tmp_path / "none.jsonl", COLUMNS)
