"""Draws the pictures of docs/passes.md: each pass before and after, by `teola viz`.

``make pictures`` runs it, ``test_pictures.py`` compares what it draws with what the page shows.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "passes"

DRAWN = {
    "prune-order": "chain",
    "deduplicate": "calls",
    "remove-dead": "unused",
    "pipeline-decode": "lines",
    "decompose-stages": "index",
    "split-prefill": "early_part",
}
"""Pass -> the golden case that the page shows."""

MARKED = {"pipeline-decode", "decompose-stages", "split-prefill"}
"""Passes whose second picture marks what is new: what the others take away stands in the first."""


def case(name: str) -> Path:
    """The golden case of a pass, relative to the root."""
    return Path("tests", "golden", "passes", name, f"{DRAWN[name]}.pgraph")


def draw(name: str, folder: Path) -> None:
    """Write ``<pass>.before.svg`` and ``<pass>.after.svg`` into ``folder``."""
    _viz(name, folder / f"{name}.before.svg", "-p", "")
    _viz(name, folder / f"{name}.after.svg", "-p", name, *["--changes"] * (name in MARKED))


def _viz(name: str, output: Path, *options: str) -> None:
    command = ["viz", str(case(name)), *options, "--level", "pgraph", "-o", str(output)]
    subprocess.run([sys.executable, "-m", "teola.runtime.cli", *command], cwd=ROOT, check=True)


if __name__ == "__main__":
    for drawn in DRAWN:
        draw(drawn, FOLDER)
