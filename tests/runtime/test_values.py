"""Cells, content keys, shapes of decoded text, and list operations."""

import json
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from teola.runtime.errors import RunError
from teola.runtime.keys import digest, of_input, of_json, of_port
from teola.runtime.operations import CPU, SCANS
from teola.runtime.operations.lists import identity
from teola.runtime.shapes import LinesShape, TextShape
from teola.runtime.shapes.lines import clean_line
from teola.runtime.values import Cell, Source, constant

words = st.text(max_size=6)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


def test_the_ports_of_a_run_have_keys_of_their_own():
    """Made of the run's; a cell that is no port has its own, and what has none has none."""
    run = digest(b"a run")
    assert Cell(run, port="one").key == of_port(run, "one") != Cell(run, port="two").key
    assert Cell(run).key == run
    assert Cell(None, port="one").key is None


@given(st.lists(st.lists(st.integers(), max_size=3), max_size=4))
def test_a_list_cell_grows_and_its_value_is_its_items(parts):
    """Whoever listens hears of every growth and of the end."""
    cell, heard = Cell(is_list=True), []
    cell.on_growth += (lambda: heard.append(list(cell.items)),)
    for part in parts:
        cell.extend(part)
    cell.end()
    whole = [item for part in parts for item in part]
    assert cell.value == whole
    assert heard[-1] == whole
    assert all(whole[: len(state)] == state for state in heard)


@given(st.lists(words, max_size=5), st.integers(0, 5), st.booleans())
def test_a_text_is_passed_on_whole(parts, late, again):
    """Whenever another begins to take it: text so far and what comes, not what was forgotten."""
    first, second, deltas = Cell(), Cell(), []
    if again:
        first.pass_text(second)
        first.add_text("a first attempt")
        assert not first.text_read
        first.forget_text()
        late = -1
    second.on_text += (deltas.append,)
    for number, part in enumerate(parts):
        if number == late:
            first.pass_text(second)
        first.add_text(part)
    if late >= len(parts):
        first.pass_text(second)
    second.end("".join(parts))
    assert second.value == "".join(deltas) == "".join(parts)


def test_a_value_is_dropped_when_its_last_reader_is_done():
    """Unless it is pinned."""
    for pinned in (False, True):
        cell = Cell()
        cell.pinned = pinned
        cell.readers = 2
        cell.end("text")
        cell.release()
        assert cell.value == "text"
        cell.release()
        assert cell.dropped is not pinned
        assert cell.value == ("text" if pinned else None)


def test_a_field_that_is_absent_has_its_default_or_is_an_error():
    """The error names the fields there are."""
    cell = constant({"a": {"b": 1}})
    assert Source(cell, ("a", "b")).get() == 1
    assert Source(cell, ("a", "c"), default=(None,)).get() is None
    with pytest.raises(RunError, match="no field 'c' .it has: b"):
        Source(cell, ("a", "c")).get()
    with pytest.raises(RunError, match="no field 'x'"):
        Source(cell, ("a", "b", "x")).get()


@given(plain, plain)
def test_equal_content_has_equal_keys(one, other):
    """And other content another: by what it is as JSON."""
    assert of_json(one) == of_json(json.loads(json.dumps(one)))
    if json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True):
        assert of_json(one) != of_json(other)


@given(st.lists(st.binary(max_size=3), max_size=4), st.lists(st.binary(max_size=3), max_size=4))
def test_parts_of_a_key_do_not_run_together(one, other):
    """(ab, c) is not (a, bc)."""
    assert (digest(*one) == digest(*other)) == (one == other)


def test_what_has_no_content_has_no_key():
    """A handle or an array is never shared by content."""
    assert of_input(object()) is None
    assert of_input({"a": object()}) is None


def lines_of(text, **options):
    """Items and counted text of a whole text, in one piece."""
    shape = LinesShape(options.pop("count", None), **options)
    taken, items = shape.push(text)
    return taken, items + shape.finish(truncated=False)


@pytest.mark.parametrize(
    ("line", "item"),
    [
        ("- one", "one"),
        ("* one", "one"),
        ("• one", "one"),
        ("1. one", "one"),
        ("12) one", "one"),
        ("(3) one", "one"),
        ("  2.  one  ", "one"),
        ("# one", "one"),
        ("one - two", "one - two"),
        ("-5 degrees", "-5 degrees"),
        ("3.5 percent", "3.5 percent"),
        ("10:30 is the time", "10:30 is the time"),
        ("1990 was a year", "1990 was a year"),
        ("*bold* words", "*bold* words"),
        ("2x2", "2x2"),
    ],
)
def test_list_marks_are_dropped_and_nothing_else(line, item):
    """A mark is a dash, star, dot or number in front of an item, not a part of it."""
    assert clean_line(line) == item


@pytest.mark.parametrize("text", ["", "\n\n", "  \n\t\n", "-\n*\n1.\n", "- \n"])
def test_lines_without_an_item_are_dropped(text):
    """Blank lines, and list marks alone."""
    assert lines_of(text)[1] == []


def test_repetitions_are_dropped():
    """Of the lines, and of what is excluded from the start."""
    assert lines_of("- a\n2. a\nb\na\nc", exclude=["1. b"])[1] == ["a", "c"]


@given(
    pieces=st.lists(st.text("ab\n-1. ", max_size=5), max_size=8),
    count=st.none() | st.integers(0, 4),
)
def test_lines_do_not_depend_on_the_pieces(pieces, count):
    """Token by token or all at once: the same items, and the same text counts."""
    text = "".join(pieces)
    whole = lines_of(text, count=count)
    shape, taken, items = LinesShape(count), "", []
    for piece in pieces:
        if shape.full:
            break
        more, found = shape.push(piece)
        taken += more
        items += found
    assert (taken, items + shape.finish(truncated=False)) == whole
    assert len(whole[1]) <= (len(whole[1]) if count is None else count)


def test_nothing_after_the_last_item_counts():
    """Decoding stops once `count` items are complete."""
    shape = LinesShape(2)
    assert shape.push("one\ntwo\nthree\n") == ("one\ntwo\n", ["one", "two"])
    assert shape.full


def test_an_item_that_was_cut_off_is_dropped():
    """The token limit may end a line in its middle: that is no item."""
    shape = LinesShape(3)
    assert shape.push("one\ntw")[1] == ["one"]
    assert shape.finish(truncated=True) == []
    assert LinesShape(3).push("one\ntwo")[1] == ["one"]


def test_text_is_what_was_written():
    """The raw text, whatever is in it."""
    shape = TextShape()
    assert shape.push("- a\n") == ("- a\n", [])
    assert not shape.full
    assert shape.finish(truncated=True) == []


lists = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=8)


def scanned(name, config, fixed, pieces):
    """What a scan gives, piece by piece."""
    scan = SCANS[name](config, fixed, ["items"])
    out = []
    for piece in pieces:
        out += scan.feed("items", piece)
    return out + scan.end("items")


SCAN_CONFIGS = [
    ("distinct", {}, {}),
    ("take", {"start": 1, "count": 2}, {}),
    ("take", {}, {"count": 3}),
    ("take", {"start": 2}, {}),
    ("windows", {"size": 1, "keep_empty": True}, {}),
    ("windows", {"size": 3}, {}),
]


@pytest.mark.parametrize(("name", "config", "fixed"), SCAN_CONFIGS)
@given(items=lists, cuts=st.sets(st.integers(0, 8)))
def test_a_scan_is_a_prefix_of_itself(name, config, fixed, items, cuts):
    """However its input is cut: the same output; and of a longer input a longer one."""
    at = [0, *sorted(cut for cut in cuts if cut <= len(items)), len(items)]
    pieces = [items[low:high] for low, high in pairwise(at)]
    whole = scanned(name, config, fixed, [items])
    assert scanned(name, config, fixed, pieces) == whole
    scan = SCANS[name](config, fixed, ["items"])
    decided = scan.feed("items", items)
    assert whole[: len(decided)] == decided


@given(lists, lists, lists, st.permutations([0, 1, 2]))
def test_concat_does_not_depend_on_arrival(one, two, three, order):
    """Its inputs one after another as they are written, whatever comes first."""
    scan = SCANS["concat"]({}, {}, ["a", "b", "c"])
    out = []
    for number in order:
        name = "abc"[number]
        for item in (one, two, three)[number]:
            out += scan.feed(name, [item])
        out += scan.end(name)
    assert out == one + two + three


def compute(name, config=None, **inputs):
    """The outputs of an operation on the CPU."""
    return CPU[name].compute(inputs, config or {}, None)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers()), max_size=8), st.integers(-1, 9))
def test_top_orders_by_score_then_index(pairs, count):
    """Ties go to the earlier item; ranks count from 1."""
    items = [{"id": str(n), "score": score} for n, (score, _) in enumerate(pairs)]
    best = compute("top", items=items, count=count)["items"]
    order = sorted(range(len(items)), key=lambda n: (-items[n]["score"], n))[: max(0, count)]
    assert [item["id"] for item in best] == [str(n) for n in order]
    assert [item["rank"] for item in best] == list(range(1, len(best) + 1))


def test_top_leaves_out_what_is_below_the_least_score():
    """`min_score` itself is enough."""
    items = [{"id": str(score), "score": score} for score in (0.1, 0.5, 0.9)]
    best = compute("top", {"min_score": 0.5}, items=items, count=9)["items"]
    assert [item["id"] for item in best] == ["0.9", "0.5"]


@given(st.lists(st.lists(st.integers(), max_size=3), max_size=4))
def test_flatten_joins_in_order(parts):
    """And is a map: of two lists the joined results."""
    assert compute("flatten", items=parts)["items"] == [x for part in parts for x in part]


@given(
    st.dictionaries(words, plain, max_size=3),
    st.dictionaries(words, plain, max_size=3),
    st.sampled_from(["one", "two"]),
)
def test_chunks_are_the_same_by_id(one, other, id_):
    """Whatever score or rank they have; other ids are other chunks."""
    assert identity({**one, "id": id_}) == identity({**other, "id": id_})
    assert identity({**one, "id": "three"}) != identity({**other, "id": id_})


@given(words, words)
def test_texts_are_the_same_by_their_characters(one, other):
    """Equal strings."""
    assume(one != other)
    assert identity(one) == identity(str(one))
    assert identity(one) != identity(other)


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ("", []),
        ("as [2] says, and [1, 3]", [2, 1, 3]),
        ("[1] and [1] again", [1]),
        ("[0] [4] [99] [x] [1.5]", []),
        ("[3,1]", [3, 1]),
    ],
)
def test_cited_gives_what_is_mentioned(text, cited):
    """In order of first mention; numbers that name no passage are nothing."""
    passages = [{"id": str(n)} for n in (1, 2, 3)]
    found = compute("cited", text=text, passages=passages)["passages"]
    assert [item["id"] for item in found] == [str(n) for n in cited]
