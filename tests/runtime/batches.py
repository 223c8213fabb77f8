"""What tests of batches share: a runner that answers without engines, and answers read back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from teola.runtime.batch import run_batch
from teola.runtime.errors import ModuleError, Place
from teola.runtime.result import RunResult, Usage
from tests.runtime.workbench import plan

PLAN = plan("""
    input question: text
    input tone: text = "plain"
    %w.wrap = wrap value=1 @w
    output answer: text = %inputs:question
    output out: list<int> = %w.wrap:items
""")
PLACE = Place("t", "answer", 7, "answer.decode", "llm")


class QuickRunner:
    """Answers ``question`` with itself in capitals; what has "bad" in it fails."""

    def __init__(self, source=PLAN) -> None:
        self.plan = source
        self.asked: list[dict[str, object]] = []
        self.running = 0
        self.most = 0
        self.lost = False

    async def run(self, **inputs):
        self.asked.append(inputs)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for _ in range(len(self.asked) % 3):
                await asyncio.sleep(0)
        finally:
            self.running -= 1
        question = str(inputs["question"])
        if "bad" in question:
            raise ModuleError(PLACE, "it is bad", "item")
        return RunResult({"answer": question.upper()}, "r", usage=Usage(1, 10, 5))


def answer_all(questions, answers=None, runner=None, **options):
    """Run a batch on a quick runner; returns its account."""
    return asyncio.run(run_batch(runner or QuickRunner(), questions, answers, **options))


def write_lines(path: Path, *rows: object) -> Path:
    """A file of JSON lines; texts stand in it as they are."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def read_lines(path: Path) -> list[dict]:
    """The answers of a file; each line must be whole."""
    text = path.read_text("utf-8")
    assert not text or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def by_row(path: Path) -> dict[int, dict]:
    """The answers by number of row; none may be there twice."""
    lines = read_lines(path)
    found = {line["row"]: line for line in lines}
    assert len(found) == len(lines), "a row has two answers"
    return found
