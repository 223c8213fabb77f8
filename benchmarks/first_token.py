"""When the first token of the answer comes: of a whole command, and of a second question.

Targets (first issue), 2 cores, weights cached: within 40 s of the start of
`teola-run workflows/advanced_rag.yaml`; in the same Runner within 6 s for a second question at the
*short* lengths of evaluation.md (48 chunks, 3 queries of 16 tokens, 16 passages, answers of 16).
"""

from __future__ import annotations

import asyncio
import os
import pty
import re
import select
import subprocess
import sys
import time
from typing import Any

from benchmarks.report import save, spread
from teola.compiler.locations import gallery
from teola.runtime import Runner
from teola.runtime.events import EngineStatus, ModuleFinished, TextDelta

COMMANDS = 3
QUESTION = "Can other connections keep reading while one is writing if I switch on WAL?"
SECOND = "What happens to the journal file when a transaction is rolled back?"
SHORT = (
    "modules.expand.with.sampling={max_tokens: 48, ignore_eos: true}",
    "modules.answer.with.sampling={max_tokens: 16, ignore_eos: true}",
)
LIMIT_S = 180


def command() -> float:
    """Seconds from the start of the command to the first character of the answer."""
    ours, theirs = pty.openpty()
    start = time.perf_counter()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "teola.runtime.cli",
            "run",
            "advanced_rag",
            "-i",
            f"question={QUESTION}",
        ],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "NO_COLOR": "1"},
    )
    os.close(theirs)
    try:
        while time.perf_counter() - start < LIMIT_S:
            ready, _, _ = select.select([ours], [], [], 1.0)
            if ready and re.search(rb"\S", os.read(ours, 4096)):
                return time.perf_counter() - start
        raise SystemExit(f"no answer within {LIMIT_S} s")
    finally:
        process.terminate()
        process.wait()
        os.close(ours)


async def stages() -> tuple[dict[str, float], float]:
    """When engines and modules are ready in a first query, and the second's first token."""
    start = time.perf_counter()
    at: dict[str, float] = {}

    def engine(status: EngineStatus) -> None:
        if status.state == "ready":
            at.setdefault(f"engine {status.engine} ready", time.perf_counter() - start)

    documents = [
        {"name": "wal", "text": (gallery() / "data/sqlite/wal.html").read_text(encoding="utf-8")}
    ]
    async with Runner("advanced_rag", sets=SHORT, on_engine=engine) as runner:
        async for event in runner.stream(question=QUESTION, documents=documents):
            if isinstance(event, ModuleFinished):
                at[f"module {event.module} done"] = time.perf_counter() - start
            if isinstance(event, TextDelta) and event.output == "answer":
                at.setdefault("first answer token", time.perf_counter() - start)
        begin = time.perf_counter()
        second = None
        async for event in runner.stream(question=SECOND, documents=documents):
            if isinstance(event, TextDelta) and event.output == "answer" and second is None:
                second = time.perf_counter() - begin
    return {name: round(value, 2) for name, value in at.items()}, second or float("nan")


def main() -> None:
    """Measure."""
    first = [command() for _ in range(COMMANDS)]
    runs = [asyncio.run(stages()) for _ in range(COMMANDS)]
    figures: dict[str, Any] = {
        "command to first answer token, seconds (target 40)": spread(first, 1),
        "second question to first answer token, short, seconds (target 6)": spread(
            [second for _, second in runs], 2
        ),
        "where the time goes in a first short query, seconds": runs[-1][0],
    }
    save("first_token", figures)


if __name__ == "__main__":
    main()
