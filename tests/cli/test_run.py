"""``teola run``: streams, exit codes and messages, on a scripted runner."""

import asyncio
import json

import pytest

from teola.runtime.cli import execution
from teola.runtime.errors import InputError, ModuleError, Place
from teola.runtime.events import EngineStatus, ModuleFinished, ModuleStarted, TextDelta, Warned

PASSAGES = [
    {"id": "a", "document": "images.md", "text": "An image has layers.", "score": 0.8312},
    {"id": "b", "document": "registry.html", "text": "A registry keeps images.", "score": 0.5},
]
OUTPUTS = [("answer", "text"), ("sources", "list<passage>")]


def test_the_answer_is_on_standard_output_and_the_rest_on_standard_error(
    teola_command, scripted, finished
):
    """A pipe gets the main output alone."""
    scripted(
        [
            EngineStatus("llm", "ready"),
            ModuleStarted("answer", 0.0),
            TextDelta("answer", "Layers."),
            ModuleFinished("answer", 1.0, 1.0),
            finished(answer="Layers.", sources=PASSAGES),
        ],
        *OUTPUTS,
    )
    done = teola_command("run", "rag.yaml", "-i", "question=Why?")
    assert done.exit_code == 0
    assert done.stdout == "Layers.\n"
    assert done.stderr.split("\n")[:-2] == [
        "engine llm: ready in 0.0 s",
        "answer: done in 1.0 s",
        "",
        "sources:",
        " 1. images.md (score 0.831)",
        "    An image has layers.",
        " 2. registry.html (score 0.500)",
        "    A registry keeps images.",
        "",
    ]
    assert done.stderr.endswith("; 2 LLM requests, 812 tokens in, 40 out\n")


def test_quiet_is_the_answer_alone(teola_command, scripted, finished):
    """No progress, no other outputs, no line about the run."""
    scripted([EngineStatus("llm", "ready"), finished(answer="A.", sources=PASSAGES)], *OUTPUTS)
    done = teola_command("run", "rag.yaml", "-i", "question=Why?", "--quiet")
    assert (done.stdout, done.stderr) == ("A.\n", "")


def test_json_is_one_object(teola_command, scripted, finished):
    """It has the outputs, the run's id, the timeline and the usage."""
    scripted([TextDelta("answer", "A."), finished(answer="A.", sources=PASSAGES)], *OUTPUTS)
    done = teola_command("run", "rag.yaml", "-i", "question=Why?", "--json")
    written = json.loads(done.stdout)
    assert written["outputs"] == {"answer": "A.", "sources": PASSAGES}
    assert written["run_id"] == "run-7f3a"
    assert written["timeline"] == []
    assert written["usage"] == {
        "requests": 2,
        "prompt_tokens": 812,
        "completion_tokens": 40,
        "warm_ups": 0,
    }
    assert "sources:" not in done.stderr


@pytest.mark.parametrize("options", [[], ["--quiet"], ["--json"]])
def test_warnings_are_on_standard_error_once(teola_command, scripted, finished, options):
    """Whatever else is shown, and even where lines are long."""
    message = "input 'documents': left out, neither text, Markdown nor HTML: " + "a.pdf, " * 20
    scripted([Warned(message), finished(answer="A.")])
    done = teola_command("run", "rag.yaml", "-i", "question=Why?", *options)
    assert done.exit_code == 0
    assert done.stderr.count(f"warning: {message}\n") == 1


def test_inputs_and_options_reach_the_runner(teola_command, scripted, finished):
    """Values arrive with their types."""
    runner = scripted([finished(answer="A.")])
    words = ("-i", "question=Why?", "-i", "documents=a.md", "-i", "documents=@b", "--no-share")
    assert teola_command("run", "rag.yaml", *words).exit_code == 0
    assert runner.inputs == {"question": "Why?", "documents": ["a.md", "b"]}
    assert runner.share is False


@pytest.mark.parametrize(("words", "seed"), [((), 0), (("--seed", "7"), 7)])
def test_a_run_has_a_seed(teola_command, scripted, finished, words, seed):
    """What is drawn is drawn with it; runs without one are alike."""
    runner = scripted([finished(answer="A.")])
    assert teola_command("run", "rag.yaml", "-i", "question=Why?", *words).exit_code == 0
    assert runner.seed == seed


def test_a_failed_run_writes_no_answer(teola_command, scripted):
    """The error names module, line, engine and cause; the exit code is 1."""
    place = Place("rag", "answer", 33, "answer.decode", "llm")
    scripted([TextDelta("answer", "half an ans"), ModuleError(place, "the engine died")])
    done = teola_command("run", "rag.yaml", "-i", "question=Why?")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr == (
        "error: rag: module 'answer' (line 33), answer.decode on engine 'llm': the engine died\n"
    )


def test_a_refused_input_is_bad_input(teola_command, scripted):
    """What the runtime finds wrong with a value ends with 2 as well."""
    scripted([InputError("input 'documents': no such file: docs")])
    done = teola_command("run", "rag.yaml", "-i", "question=Why?")
    assert (done.exit_code, done.stderr) == (2, "error: input 'documents': no such file: docs\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "error: input 'question' is missing: give -i question=…\n"),
        (("-i", "qestion=a"), "error: there is no input 'qestion'; did you mean 'question'?\n"),
        (("-i", "question"), "error: -i question: write -i name=value, or -i name=@file\n"),
    ],
)
def test_bad_inputs_end_before_anything_runs(teola_command, scripted, words, message):
    """The message comes at once, the exit code is 2."""
    runner = scripted([])
    done = teola_command("run", "rag.yaml", *words)
    assert done.exit_code == 2
    assert done.stderr.startswith(message)
    assert runner.share is None


def test_an_internal_error_is_one_line(teola_command, scripted):
    """There is never a traceback, unless --debug asks for it."""
    scripted([ValueError("odd")])
    done = teola_command("run", "rag.yaml", "-i", "question=Why?")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        "internal error: ValueError: odd\nrun with --debug to see where it comes from\n"
    )
    debugged = teola_command("run", "rag.yaml", "-i", "question=Why?", "--debug")
    assert debugged.exit_code == 1
    assert "Traceback (most recent call last)" in debugged.stderr
    assert debugged.stderr.endswith("internal error: ValueError: odd\n")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [(KeyboardInterrupt(), 130, "interrupted\n"), (asyncio.CancelledError(), 143, "terminated\n")],
)
def test_an_interrupted_run_ends_quietly(teola_command, scripted, error, code, message):
    """Ctrl-C gives 130, SIGTERM 143, both without a traceback."""
    scripted([error])
    done = teola_command("run", "rag.yaml", "-i", "question=Why?")
    assert (done.exit_code, done.stdout, done.stderr) == (code, "", message)


def test_a_reader_that_went_away_is_no_error(teola_command, scripted, finished, monkeypatch):
    """``teola run … | head -1`` ends as other programs do there: 141, and no message."""

    def refuse(_):
        raise BrokenPipeError

    scripted([finished(answer="A.")])
    monkeypatch.setattr(execution, "write_now", refuse)
    done = teola_command("run", "rag.yaml", "-i", "question=Why?")
    assert (done.exit_code, done.stderr) == (141, "")


def test_a_text_that_was_cut_off_is_told(teola_command, scripted, finished):
    """Even --quiet does not hide it."""
    scripted([finished(answer="A.", truncated=["answer"])])
    done = teola_command("run", "rag.yaml", "-i", "question=Why?", "--quiet")
    assert done.stderr == (
        "warning: a text of module 'answer' was cut off at its token limit; "
        "raise sampling.max_tokens for more\n"
    )
