"""``teola viz``: every format by its ending, until a pass, with what passes changed."""

import json
import re
from pathlib import Path

import pytest

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("d.txt", b"naive_rag   (step | what | waits for"),
        ("d.dot", b'digraph "naive_rag"'),
        ("d.svg", b"<?xml"),
        ("d.png", PNG),
        ("d.html", b"<!doctype html>"),
    ],
)
def test_the_ending_is_the_format(teola_command, tmp_path, name, begins):
    """Text, DOT, SVG, PNG and a page."""
    done = teola_command("viz", "naive_rag", "-o", tmp_path / name)
    assert (done.exit_code, done.stderr) == (0, f"wrote {tmp_path / name}\n")
    assert (tmp_path / name).read_bytes().startswith(begins)


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_graphviz_is_asked_for_where_it_is_needed(teola_command, tmp_path, monkeypatch, ending):
    """The message says what to install, and which formats need nothing; no file is left."""
    monkeypatch.setenv("PATH", "")
    done = teola_command("viz", "naive_rag", "-o", tmp_path / f"d.{ending}")
    assert done.exit_code == 2
    assert "'dot', which is not installed: install the package graphviz" in done.stderr
    assert "draw text, DOT or HTML instead" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_page_needs_no_graphviz(teola_command, tmp_path, monkeypatch):
    """Nothing is run."""
    monkeypatch.setenv("PATH", "")
    assert teola_command("viz", "advanced_rag", "-o", tmp_path / "d.html").exit_code == 0


def test_an_unknown_ending_says_which_there_are(teola_command, tmp_path):
    """As other messages do."""
    done = teola_command("viz", "naive_rag", "-o", tmp_path / "d.pdf")
    assert done.exit_code == 2
    assert "ends in '.pdf'; it can end in .html, .htm, .txt, .dot" in done.stderr


def test_until_a_pass(teola_command):
    """What stands after it: no streams yet after prune-order."""
    drawn = {
        until: teola_command("viz", "naive_rag", "--level", "pgraph", *until).stdout
        for until in ((), ("--until", "prune-order"), ("--until", "decompose-stages"))
    }
    assert [text.count("~") for text in drawn.values()] == [5, 1, 5]
    assert [text.count("partial_prefill") for text in drawn.values()] == [4, 0, 0]


def test_until_names_a_pass_that_runs(teola_command):
    """Of this level."""
    done = teola_command("viz", "naive_rag", "-O1", "--until", "split-prefill")
    assert done.exit_code == 2
    assert "it does not run here; those that run: prune-order, deduplicate" in done.stderr


def test_changes_of_all_passes(teola_command):
    """New is +, changed !, gone -; a heading says so."""
    text = teola_command("viz", "naive_rag", "--level", "pgraph", "--changes").stdout
    assert "; + new; ! changed; - gone)" in text.splitlines()[0]
    assert "1 ! chunks.chunk (groups of 1)" in text
    assert "question, -after indexed.ingest" in text
    assert re.search(r"1 \+ answer\.leaves\.partial_prefill .* \+question", text)
    assert "+warmed by answer.leaves.partial_prefill" in text


def test_changes_of_one_pass(teola_command):
    """With --until only those of that pass."""
    words = ("viz", "naive_rag", "--level", "pgraph", "--changes", "--until", "decompose-stages")
    text = teola_command(*words).stdout
    assert "; + new; ! changed)" in text.splitlines()[0]
    assert "indexed.ingest (groups of" in text


def test_a_page_has_all_levels(teola_command, tmp_path):
    """What a picture is told to show is refused."""
    for words in (("--changes",), ("--level", "pgraph")):
        done = teola_command("viz", "naive_rag", *words, "-o", tmp_path / "d.html")
        assert (done.exit_code, "a page has every level and all changes" in done.stderr) == (
            2,
            True,
        )


@pytest.mark.parametrize(
    ("words", "label"),
    [
        ((), "-O2"),
        (("--disable", "split-prefill"), "-O2 --disable split-prefill"),
        (("-p", ""), "-O0"),
        (("--until", "prune-order"), "-O2 --until prune-order"),
    ],
)
def test_a_page_says_which_passes_ran(teola_command, tmp_path, words, label):
    """Beside the number of primitives, and over every picture of what came out."""
    teola_command("viz", "naive_rag", *words, "-o", tmp_path / "d.html")
    page = (tmp_path / "d.html").read_text("utf-8")
    assert re.findall(r"primitives \((.*?)\)", page) == [label]
    assert set(re.findall(r"<h2>After: (.*?),", page)) <= {label}


def test_the_tasks_of_one_query(teola_command):
    """Unrolled, the critical path starred."""
    text = teola_command("viz", "naive_rag", "--level", "egraph").stdout
    assert "* on the critical path" in text.splitlines()[0]
    assert "answer.leaves[2]/answer.leaves.prefill" in text


def test_sizes_are_those_that_were_given(teola_command, tmp_path):
    """In the picture of the tasks and on the page; elsewhere nothing would come of them."""
    words = ("viz", "naive_rag", "--assume", "documents=3")
    text = teola_command(*words, "--level", "egraph").stdout
    assert "chunks.chunk#2 " in text
    assert "chunks.chunk#3 " not in text
    assert teola_command(*words, "-o", tmp_path / "d.html").exit_code == 0
    assert "chunks.chunk#3" not in (tmp_path / "d.html").read_text("utf-8")
    done = teola_command(*words)
    assert (done.exit_code, "draw --level egraph or .html" in done.stderr) == (2, True)
    done = teola_command("viz", "naive_rag", "--level", "egraph", "--assume", "document=3")
    assert (done.exit_code, "did you mean 'documents'" in done.stderr) == (2, True)


def test_sizes_are_those_of_a_run(teola_command, tmp_path):
    """As many tasks as the run had; what is typed comes before it."""
    golden = Path(__file__).parents[1] / "golden" / "explain"
    made_with = ("--profile", golden / "profile.json", "--disable", "split-prefill")
    words = ("viz", golden / "rag.yaml", "--run", golden / "run.json", *made_with)
    text = teola_command(*words, "--level", "egraph").stdout
    documents = len(re.findall(r" chunks\.chunk#\d+ ", text))
    assert documents == next(
        entry["items"]
        for entry in json.loads((golden / "run.json").read_text("utf-8"))["timeline"]
        if entry["primitive"] == "chunks.chunk"
    )
    text = teola_command(*words, "--level", "egraph", "--assume", "documents=2").stdout
    assert len(re.findall(r" chunks\.chunk#\d+ ", text)) == 2 != documents
    until = teola_command(*words, "--level", "egraph", "--until", "prune-order")
    assert until.exit_code == 0, until.stderr
    done = teola_command(*words)
    assert (done.exit_code, "--run says how one query" in done.stderr) == (2, True)
    done = teola_command(*words, "-O1", "-o", "d.html")
    assert (done.exit_code, "a run of another plan: it was made with -O2" in done.stderr) == (2, 1)
    done = teola_command("viz", "naive_rag", "--run", tmp_path / "none.json", "-o", "d.html")
    assert (done.exit_code, "none.json: cannot be read" in done.stderr) == (2, True)


def test_a_plan_cannot_tell_what_changed(teola_command, tmp_path):
    """It has only what came out; that can be drawn."""
    plan = tmp_path / "n.plan.json"
    assert teola_command("compile", "naive_rag", "-o", plan).exit_code == 0
    done = teola_command("viz", plan, "--changes")
    assert (done.exit_code, "draw its workflow" in done.stderr) == (2, True)
    for words in ((), ("--level", "pgraph"), ("-o", tmp_path / "n.html")):
        assert teola_command("viz", plan, *words).exit_code == 0
