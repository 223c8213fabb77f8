"""A run as its user sees it: progress, the answer while it grows, and how they keep apart."""

import pytest

from teola.runtime.cli.live import fitting
from teola.runtime.cli.state import Row
from teola.runtime.events import (
    EngineStatus,
    ItemAdded,
    ModuleFinished,
    ModuleProgress,
    ModuleStarted,
    OutputReady,
    TextDelta,
)


def test_plain_progress_has_a_line_for_what_ended(screen):
    """Logs get the states of engines and the ends of modules, once each."""
    s = screen(terminal=False)
    s.feed(EngineStatus("llm", "fetching", 0.1, "smollm2"), EngineStatus("llm", "fetching", 0.2))
    s.clock.now += 4
    s.feed(EngineStatus("llm", "ready"), EngineStatus("llm", "ready"))
    s.feed(ModuleStarted("best", 4.0), ModuleProgress("best", 10, 48))
    s.clock.now += 10
    s.feed(ModuleProgress("best", 20, 48), ModuleProgress("best", 48, 48))
    s.feed(ModuleFinished("best", 14.0, 10.5), ModuleFinished("answer", 15.0, 1.0, "shared"))
    assert s.err.getvalue().split("\n") == [
        "engine llm: fetching 10%: smollm2",
        "engine llm: ready in 4.0 s",
        "best: 20/48 after 10 s",
        "best: done in 10.5 s (48/48)",
        "answer: done in 1.0 s (shared)",
        "",
    ]


def test_a_long_download_is_heard_of_now_and_then(screen):
    """Without a terminal a fraction is worth a line every ten seconds."""
    s = screen(terminal=False)
    for share in range(100):
        s.feed(EngineStatus("llm", "fetching", share / 100))
        s.clock.now += 1
    assert len(s.err.getvalue().split("\n")) - 1 == 10


def test_the_live_table_shows_engines_and_modules(screen):
    """Waiting, running and ended modules differ; a download has a bar."""
    s = screen(terminal=True)
    with s.display:
        s.feed(EngineStatus("llm", "fetching", 0.5, "smollm2"), EngineStatus("store", "ready"))
        s.feed(ModuleStarted("best", 0.0), ModuleProgress("best", 12, 48))
        s.clock.now += 3
        assert [line[1:] for line in s.table()] == [
            " llm    fetching smollm2 ━━━━━━━━━━━━             50%    3.0 s",
            " store  ready                                            0.0 s",
            "",
            " best   12/48                                            3.0 s",
            " answer",
        ]
        s.feed(ModuleFinished("best", 3.0, 3.0))
    assert [line[:1] for line in s.table()] == ["…", "", "·"]


def test_on_a_narrow_terminal_the_words_give_way(screen):
    """Marks, names and seconds stay readable."""
    s = screen(terminal=True)
    s.console.width = 36
    s.feed(EngineStatus("llm", "loading", None, "a model with a long name"))
    assert s.table()[0] == "… llm    loading a model w…    0.0 s"


def test_the_table_stops_where_the_answer_begins(screen):
    """On one terminal nothing is drawn while the answer grows."""
    s = screen(terminal=True)
    with s.display:
        s.feed(ModuleStarted("answer", 0.0), TextDelta("answer", "It is "))
        drawn = s.err.getvalue()
        s.feed(ModuleProgress("best", 1, 2), TextDelta("answer", "built."))
        assert s.err.getvalue() == drawn
        s.feed(OutputReady("answer", "It is built."), ModuleStarted("best", 1.0))
        assert s.err.getvalue() != drawn
    assert s.out == "It is built.\n"


def test_other_outputs_do_not_stream(screen):
    """Only the main output is written while it grows."""
    s = screen(terminal=True)
    s.feed(TextDelta("summary", "no"), ItemAdded("sources", 0, {}))
    assert s.out == ""


def test_list_items_come_one_by_one(screen):
    """Each item has its line, and none comes twice."""
    s = screen(terminal=True, kind="list<text>")
    s.feed(ItemAdded("answer", 0, "a"), ItemAdded("answer", 1, "b"))
    assert s.out == "a\nb\n"
    s.feed(OutputReady("answer", ["a", "b", "c"]))
    assert s.out == "a\nb\nc\n"


def test_the_rest_of_an_answer_is_added(screen):
    """What had not been streamed when the run ended is written then."""
    s = screen(terminal=True)
    s.feed(TextDelta("answer", "It is "))
    s.display.finish("It is built.")
    s.display.finish("It is built.")
    assert s.out == "It is built.\n"


def test_a_growing_answer_has_no_control_characters(screen):
    """What a model writes cannot drive the terminal."""
    s = screen(terminal=True)
    s.feed(TextDelta("answer", "a\x1b[2Jb"), OutputReady("answer", "a\x1b[2Jb"))
    assert s.out == "a[2Jb\n"


def test_a_file_gets_the_answer_whole(screen):
    """Without a terminal nothing is written before the end, and then everything as it is."""
    s = screen(terminal=False)
    s.feed(TextDelta("answer", "a\x1bb"), OutputReady("answer", "a\x1bb"))
    assert s.out == ""
    s.display.finish("a\x1bb")
    assert s.out == "a\x1bb\n"


def test_a_broken_answer_is_never_presented_as_whole(screen):
    """Its line ends, and the reader is told."""
    s = screen(terminal=True)

    def break_off():
        with s.display:
            s.feed(TextDelta("answer", "It is "))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert s.out == "It is \n"
    assert "the answer above is not complete" in s.err.getvalue()


def test_a_table_that_does_not_fit_keeps_what_runs():
    """Running modules stay in sight, the others are counted."""
    phases = ["done"] * 5 + ["running"] * 2 + ["waiting"] * 5
    rows = [Row(f"m{number}", phase) for number, phase in enumerate(phases)]
    visible, rest = fitting(rows, 4)
    assert [row.name for row in visible] == ["m3", "m4", "m5", "m6"]
    assert rest == "and 3 done, 5 waiting"
    assert fitting(rows, 12) == (rows, "")
