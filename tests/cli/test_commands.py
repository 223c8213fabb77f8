"""The command line as a whole: help, versions, usage, and what starting it costs."""

import json
import subprocess
import sys

import pytest

from teola.compiler.version import VERSION

HEAVY = {"numpy", "torch", "transformers", "faiss", "asyncio", "teola.runtime.runner", "rich.live"}

MODULES_AFTER = """
import json, sys
from teola.runtime.cli.application import teola
try:
    teola(sys.argv[1:])
except SystemExit as end:
    print(json.dumps([end.code, sorted(sys.modules)]), file=sys.stderr)
"""

WORKFLOW = """
teola: 1
name: tiny
inputs: {question: text}
engines:
  llm: {kind: llm, backend: fake}
modules:
  answer:
    uses: generate
    inputs: {question: inputs.question}
    with: {prompt: "{{ question }}", output: text}
outputs: {answer: answer.text}
"""


@pytest.fixture
def workflow(tmp_path):
    """A small workflow file."""
    path = tmp_path / "tiny.yaml"
    path.write_text(WORKFLOW, encoding="utf-8")
    return path


@pytest.mark.parametrize("command", ["check", "compile", "viz"])
def test_compiler_commands_load_no_engine_and_no_runner(command, workflow):
    """They start in well under a second."""
    words = [sys.executable, "-c", MODULES_AFTER, command, str(workflow)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    code, modules = json.loads(done.stderr)
    assert code == 0, done.stdout
    assert HEAVY & set(modules) == set()


@pytest.mark.parametrize(
    "words", [(), ("check",), ("compile",), ("viz",), ("run",), ("models",), ("models", "fetch")]
)
def test_help_has_examples(teola_command, words):
    """Every command shows how it is typed; without arguments a command shows its help."""
    done = teola_command(*words, "--help")
    assert done.exit_code == 0
    assert "Examples:\n    teola" in done.stdout
    assert teola_command(*words).output == done.output


def test_names_of_files_are_guessed(teola_command, workflow):
    """Of those in the folder that was named."""
    for words in (("run",), ("check",), ("compile",)):
        done = teola_command(*words, workflow.with_name("tyni.yaml"))
        assert done.exit_code == 2
        assert f"did you mean '{workflow}'?" in done.stdout + done.stderr


def test_the_version_is_printed(teola_command):
    """``teola --version`` is one line."""
    assert teola_command("--version").stdout == f"teola {VERSION}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("chekc", "x.yaml"), "No such command 'chekc'. Did you mean 'check'?"),
        (("check", "x.yaml", "--bogus"), "No such option: --bogus"),
        (("run", "x.yaml", "--bogus"), "error: there is no option --bogus\n"),
        (("run", "x.yaml", "--quite"), "there is no option --quite; did you mean --quiet?\n"),
        (
            ("run", "naive_rag", "--question", "Why so?"),
            "write the input as -i question='Why so?'\n",
        ),
        (
            ("run", "naive_rag", "--question=q"),
            "there is no option --question; write the input as ",
        ),
        (("run", "--question", "q", "naive_rag"), "write the input as -i question=q\n"),
        (("run", "naive_rag", "Why?"), "what is 'Why?' for? Inputs are given as -i question=…"),
        (
            ("run", "naive_rg"),
            "no packaged workflow of that name (advanced_rag, naive_rag); did you",
        ),
        (("run", "naive_rag", "-O3"), "error: there is no level -O3; there are: -O0, -O1, -O2\n"),
    ],
)
def test_a_mistyped_command_ends_with_2(teola_command, words, message):
    """The message is on standard error."""
    done = teola_command(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr


def test_check_says_ok(teola_command, workflow):
    """One line a file that has no error."""
    done = teola_command("check", workflow)
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"{workflow}: ok\n", "")


def test_check_reports_every_file(teola_command, workflow, tmp_path):
    """A file that is missing or wrong does not hide the next; the end counts."""
    bad = tmp_path / "bad.yaml"
    bad.write_text(WORKFLOW.replace("inputs.question", "inputs.qestion"), encoding="utf-8")
    missing = tmp_path / "missing.yaml"
    done = teola_command("check", missing, bad, workflow)
    assert done.exit_code == 2
    assert done.stdout.startswith(f"{missing}:")
    assert "error[no-such-file]: no such file" in done.stdout
    assert f"{bad}:10:" in done.stdout
    assert "did you mean 'inputs.question'?" in done.stdout
    assert done.stdout.endswith(f"{workflow}: ok\n2 errors in 2 files\n")


def test_check_lists_problems_as_json(teola_command, workflow, tmp_path):
    """Editors get one list of all problems; an empty one where there is none."""
    assert json.loads(teola_command("check", workflow, "--format", "json").stdout) == []
    bad = tmp_path / "bad.yaml"
    bad.write_text(WORKFLOW.replace("uses: generate", "uses: genrate"), encoding="utf-8")
    done = teola_command("check", bad, "--format", "json")
    (problem,) = json.loads(done.stdout)
    assert done.exit_code == 2
    assert (problem["file"], problem["line"], problem["severity"]) == (str(bad), 9, "error")


def test_check_applies_replacements(teola_command, workflow):
    """``--set`` is checked as if it were written in the file."""
    right = teola_command("check", workflow, "--set", "modules.answer.with.sampling.max_tokens=8")
    wrong = teola_command("check", workflow, "--set", "engines.llm.backend=nonsense")
    assert (right.exit_code, wrong.exit_code) == (0, 2)


def test_check_refuses_what_is_compiled(teola_command):
    """A plan is no workflow file."""
    done = teola_command("check", "x.plan.json")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: x.plan.json: check reads workflow files")
