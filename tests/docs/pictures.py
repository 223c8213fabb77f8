"""Draws the pictures of docs/passes.md (each pass before and after, by `teola viz`) and of
docs/scheduling.md (one query under three schedules, by `teola simulate`).

``make pictures`` runs it, ``test_pictures.py`` compares what it draws with what the pages show.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "passes"
SCHEDULES = ROOT / "docs" / "scheduling"

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

TIMELINES = {
    "chain": ("-O0", "throughput"),
    "topology": ("-O2", "topology"),
    "remaining-work": ("-O2", "remaining-work"),
}
"""Picture -> level and policy."""

LOAD = (
    *("advanced_rag", "--rate", "0.4", "--queries", "80", "--profile", "docs/scheduling/gpu.json"),
    *("--assume", "documents=1", "--assume", "chunks.chunk=48"),
    *("--query", "56", "--span", "14"),
)
"""The queries of which one is drawn, and how."""


def case(name: str) -> Path:
    """The golden case of a pass, relative to the root."""
    return Path("tests", "golden", "passes", name, f"{DRAWN[name]}.pgraph")


def draw(name: str, folder: Path) -> None:
    """Write ``<pass>.before.svg`` and ``<pass>.after.svg`` into ``folder``."""
    _viz(name, folder / f"{name}.before.svg", "-p", "")
    _viz(name, folder / f"{name}.after.svg", "-p", name, *["--changes"] * (name in MARKED))


def draw_timeline(name: str, folder: Path) -> None:
    """Write ``<name>.svg`` into ``folder``."""
    level, policy = TIMELINES[name]
    _teola("simulate", *LOAD, level, "--policy", policy, "--timeline", folder / f"{name}.svg")


def _viz(name: str, output: Path, *options: str) -> None:
    _teola("viz", case(name), *options, "--level", "pgraph", "-o", output)


def _teola(*words: str | Path) -> None:
    command = [str(word) for word in words]
    subprocess.run([sys.executable, "-m", "teola.runtime.cli", *command], cwd=ROOT, check=True)


if __name__ == "__main__":
    for drawn in DRAWN:
        draw(drawn, FOLDER)
    for drawn in TIMELINES:
        draw_timeline(drawn, SCHEDULES)
