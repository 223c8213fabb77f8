"""Code blocks of README.md, CONTRIBUTING.md and docs/ do what they say.

The first word after the fence says what a block is:

    ```python     runs in a fresh interpreter
    ```console    lines that start with "$ " run in bash; lines after one, if any, are its output
                  (both streams), in which "..." stands for anything
    ```yaml       is checked with `teola check` if it has `teola:`, else only parsed

Words after it say how it is tested:

    models        it needs weights: its test carries the marker `models`
    exit=2        its last command ends with this status
    skip="why"    it is not run, and the reason is printed

Blocks of one page run in order in one folder that looks like a clone to them.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
SEEN_BY_READERS = ("docs", "schemas", "workflows", "tests/golden")


@dataclass(frozen=True)
class Block:
    """One fenced block: its page, the line of its fence, its language, options and text."""

    page: Path
    line: int
    language: str
    options: dict[str, str]
    text: str


def read_blocks(page):
    """The tested blocks of a page as test parameters, in order."""
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        language, *words = shlex.split(token.info) if token.type == "fence" else [""]
        if language not in {"console", "python", "yaml"}:
            continue
        options = dict(word.partition("=")[::2] for word in words)
        unknown = options.keys() - {"models", "exit", "skip"}
        assert not unknown, f"{page}:{token.map[0] + 1}: unknown options {sorted(unknown)}"
        block = Block(page, token.map[0] + 1, language, options, token.content)
        marks = [pytest.mark.models] if "models" in options else []
        if "skip" in options:
            marks.append(pytest.mark.skip(reason=options["skip"]))
        yield pytest.param(block, id=f"{page.relative_to(ROOT)}:{block.line}", marks=marks)


BLOCKS = [block for page in PAGES for block in read_blocks(page)]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """The folder in which the blocks of a page run, by page."""
    folders = {}

    def find(page):
        if page not in folders:
            folders[page] = tmp_path_factory.mktemp(page.stem)
            for name in SEEN_BY_READERS:
                shutil.copytree(ROOT / name, folders[page] / name)
        return folders[page]

    return find


def run(command, folder, status=0):
    """What a command prints on both streams; it must end with ``status``."""
    beside = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{beside}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "100",
        "NO_COLOR": "1",
    }
    done = subprocess.run(
        command,
        check=False,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == status, f"exit {done.returncode}, expected {status}:\n{done.stdout}"
    return done.stdout


def matches(printed, expected):
    """Whether ``printed`` is ``expected``, in which "..." stands for anything."""
    pieces = (re.escape(piece) for piece in expected.strip().split("..."))
    lines = "\n".join(line.rstrip() for line in printed.strip().splitlines())
    return re.fullmatch(".*".join(pieces), lines, re.DOTALL) is not None


def commands_of(text):
    """Pairs of a command and its expected output; a command may go on after a backslash."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = re.sub(r"\\\n\s*", "", part).partition("\n")
        yield command, expected


def check_console(block, folder):
    """Runs the block's commands and compares what they print."""
    commands = list(commands_of(block.text))
    assert commands, 'a console block shows commands on lines that start with "$ "'
    for number, (command, expected) in enumerate(commands, 1):
        status = int(block.options.get("exit", 0)) if number == len(commands) else 0
        printed = run(["bash", "-c", command], folder, status)
        if expected.strip():
            assert matches(printed, expected), f"$ {command}\nprinted:\n{printed}"


def check_python(block, folder):
    """Runs the block with warnings as errors."""
    run(
        [sys.executable, "-W", "error", "-c", block.text], folder, int(block.options.get("exit", 0))
    )


def check_yaml(block, folder):
    """Checks a whole workflow; parses anything else."""
    data = yaml.safe_load(block.text)
    if isinstance(data, dict) and "teola" in data:
        file = folder / f"line-{block.line}.yaml"
        file.write_text(block.text, encoding="utf-8")
        run(["teola", "check", file.name], folder)


CHECKS = {"console": check_console, "python": check_python, "yaml": check_yaml}


@pytest.mark.parametrize("block", BLOCKS)
def test_block_does_what_it_says(block, folder_of):
    """A reader who copies a block gets what the page shows."""
    CHECKS[block.language](block, folder_of(block.page))


@pytest.mark.parametrize(
    ("printed", "expected", "same"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a  \nb\n", "a\nb", True),
        ("a\nb\nc\n", "a\n...c\n", True),
        ("took 12 ms", "took ... ms", True),
        ("a\nb\n", "a\n", False),
        ("a.b", "axb", False),
    ],
)
def test_expected_output_is_compared_literally_but_for_dots(printed, expected, same):
    """The comparison itself."""
    assert matches(printed, expected) is same


def test_commands_and_their_output_are_told_apart():
    """A command may be continued; output belongs to the command above it."""
    text = "$ one \\\n    --two\nout\n$ three\n"
    assert list(commands_of(text)) == [("one --two", "out\n"), ("three", "")]
