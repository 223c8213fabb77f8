"""Bad files and what is said about them, word for word.

Each case is ``tests/golden/diagnostics/NAME.yaml`` with its expected text in ``NAME.txt``. After a
wanted change run this file as a script: it writes the texts anew, and the difference is reviewed.
"""

from pathlib import Path

import pytest

from teola.compiler.diagnostics import Diagnostics, render
from teola.compiler.source import Source, load_yaml
from teola.compiler.spec import spec_from_tree

FOLDER = Path(__file__).resolve().parent.parent / "golden" / "diagnostics"
CASES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def said_about(case):
    """What reading the case and checking its shape report, drawn."""
    source = Source(f"{case}.yaml", (FOLDER / f"{case}.yaml").read_text(encoding="utf-8"))
    diagnostics = Diagnostics()
    tree = load_yaml(source, diagnostics)
    if tree is not None:
        spec_from_tree(tree, diagnostics)
    return render(diagnostics) + "\n"


@pytest.mark.parametrize("case", CASES)
def test_what_is_said_is_as_reviewed(case):
    """Place, code, message, underlined line, notes and help are exactly the reviewed ones."""
    assert said_about(case) == (FOLDER / f"{case}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES)
def test_every_case_is_refused(case):
    """Each case has at least one error, and none speaks in another library's words."""
    text = said_about(case)
    assert ": error[" in text
    for foreign in (
        "mapping values",
        "could not find expected",
        "pydantic",
        "Input should",
        "yaml.",
    ):
        assert foreign not in text.replace(f"{case}.yaml", "")


def test_every_expected_text_belongs_to_a_case():
    """No text is left of a case that is gone."""
    assert sorted(path.stem for path in FOLDER.glob("*.txt")) == CASES


if __name__ == "__main__":
    for name in CASES:
        (FOLDER / f"{name}.txt").write_text(said_about(name), encoding="utf-8")
