"""The workloads of evaluation.md on the bundled workflows: fixed numbers of chunks and tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from teola.compiler.locations import gallery

CHARACTERS = 800
"""About 200 tokens: one chunk each."""

PINNED = (
    "engines.llm.cores=[0]",
    "engines.llm.threads=1",
    "engines.embedder.cores=[1]",
    "engines.embedder.threads=1",
)
"""One core for the LLM, one for everything else: it stands in for one device an engine."""
RERANKER = (
    "engines.reranker.cores=[1]",
    "engines.reranker.threads=1",
    "engines.reranker.cache_mib=0",
)

SUBJECTS = ("write-ahead logging", "the query planner", "a rollback journal", "type affinity")

_questions = count(1)


@dataclass(frozen=True, slots=True)
class Workload:
    """``chunks`` to index, ``expansion`` tokens a query, 16 passages each, ``answer`` tokens."""

    name: str
    chunks: int
    expansion: int
    answer: int

    def sets(self, workflow: str) -> tuple[str, ...]:
        """What makes a bundled workflow this workload."""
        answer = f"{{max_tokens: {self.answer}, ignore_eos: true}}"
        found = [*PINNED, f"modules.answer.with.sampling={answer}"]
        if workflow == "advanced_rag":
            expansion = f"{{max_tokens: {3 * self.expansion}, ignore_eos: true}}"
            found += [*RERANKER, f"modules.expand.with.sampling={expansion}"]
        return tuple(found)

    def inputs(self, number: int = 0) -> Mapping[str, object]:
        """The documents and the subject of a number; the question was never asked before, and
        begins otherwise than those before it, so that of its prompts only the fixed heads are in a
        cache."""
        text = "".join(path.read_text("utf-8") for path in sorted(_pages()))
        start = (number * 7919) % (len(text) - CHARACTERS * self.chunks)
        documents = [
            {"name": f"part{index}", "text": text[start + index * CHARACTERS :][:CHARACTERS]}
            for index in range(self.chunks)
        ]
        subject = SUBJECTS[number % len(SUBJECTS)]
        question = f"what does the manual say about {subject}, and when should I use it?"
        mark = f"{next(_questions):04}"[::-1]
        return {"documents": documents, "question": f"{mark}: {question}"}


def _pages() -> list[Path]:
    return [path for path in (gallery() / "data/sqlite").iterdir() if path.suffix == ".md"]


WORKLOADS = (
    Workload("short", 48, 16, 16),
    Workload("medium", 48, 20, 48),
    Workload("long document", 160, 20, 32),
)
"""evaluation.md, "Workloads"."""
