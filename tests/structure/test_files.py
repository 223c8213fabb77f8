"""Every file of the project is clean: text rules that no other tool holds."""

import re
from pathlib import Path

import pytest

TEXT = {".cfg", ".json", ".md", ".pgraph", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}
BYTES_A_FILE = 2_000_000
LINES_A_MODULE = 400

# Patterns are put together here so that this file does not find itself.
MARKER = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")))
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|opt|root|Users|work)/\w")
BARE_SUPPRESSION = re.compile(r"#\s*(?:type:\s*ignore|noqa)(?!\S*\[|:\s*[A-Z])")
SUPPRESSION = re.compile(
    r"#\s*(?:type:\s*ignore\[[^\]]*\]|noqa:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)(.*)"
)


def is_ours(path: Path) -> bool:
    """Bundled documents are other people's text and stay as they are."""
    return path.parts[:2] != ("workflows", "data")


@pytest.fixture(scope="module")
def texts(root, project_files):
    """Text of each of our text files by its path."""
    chosen = [
        path for path in project_files if is_ours(path) and (path.suffix in TEXT or not path.suffix)
    ]
    return {path: (root / path).read_bytes().decode("utf-8") for path in chosen}


def lines_where(texts, rule, suffixes=None):
    """``path:line: text`` of every line for which ``rule(line)`` holds."""
    return [
        f"{path}:{number}: {line.strip()}"
        for path, text in texts.items()
        if suffixes is None or path.suffix in suffixes
        for number, line in enumerate(text.split("\n"), 1)
        if rule(line)
    ]


def test_lines_end_plainly(texts):
    """No carriage returns and no spaces before the end of a line."""
    assert lines_where(texts, lambda line: line != line.rstrip()) == []


def test_files_end_with_one_newline(texts):
    """Every file that is not empty ends with exactly one newline."""
    wrong = [
        str(path)
        for path, text in texts.items()
        if text and (not text.endswith("\n") or text.endswith("\n\n"))
    ]
    assert wrong == []


def test_tabs_are_only_in_the_makefile(texts):
    """Python, YAML and Markdown are indented with spaces."""
    others = {path: text for path, text in texts.items() if path.name != "Makefile"}
    assert lines_where(others, lambda line: "\t" in line) == []


def test_nothing_is_left_for_later_in_comments(texts):
    """What is missing is an issue, not a comment."""
    assert lines_where(texts, MARKER.search, {".py", ".yaml", ".toml"}) == []


def test_no_path_of_somebodys_machine(texts):
    """Files name paths relative to the project or to the user's home."""
    assert lines_where(texts, MACHINE_PATH.search) == []


def test_suppressions_name_their_rule(texts):
    """A bare suppression hides everything that a line will ever get wrong."""
    assert lines_where(texts, BARE_SUPPRESSION.search, {".py"}) == []


def test_suppressions_have_a_reason(texts):
    """A reason stands beside the rule that is suppressed."""

    def lacks_reason(line):
        found = SUPPRESSION.search(line)
        return bool(found) and not re.search(r"[a-z]{3}", found.group(1))

    assert lines_where(texts, lacks_reason, {".py"}) == []


def test_modules_stay_short(texts):
    """One idea a file."""
    long = {
        str(path): text.count("\n")
        for path, text in texts.items()
        if path.parts[0] in {"benchmarks", "compiler", "runtime"}
        and path.suffix == ".py"
        and text.count("\n") > LINES_A_MODULE
    }
    assert long == {}


def test_tests_do_not_sleep(texts):
    """A test that waits for time to pass is slow or wrong; clocks are virtual."""
    sleeping = re.compile(r"\btime\.sleep\(|asyncio\.sleep\((?!0\))")
    tests = {path: text for path, text in texts.items() if path.parts[0] == "tests"}
    here = Path("tests/structure/test_files.py")
    assert lines_where({p: t for p, t in tests.items() if p != here}, sleeping.search) == []


def test_no_file_is_large(root, project_files):
    """Weights and corpora are fetched, not committed."""
    large = [str(p) for p in project_files if (root / p).stat().st_size > BYTES_A_FILE]
    assert large == []
