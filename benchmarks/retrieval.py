"""How often advanced_rag finds a passage that answers: the ten questions of the sample.

Target (first issue): at least 8 of 10 among the top 3 of ``best``. Runs the workflow on the real
models; its LLM only writes the search queries, so the answer is kept to one token.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from benchmarks.report import save
from teola.compiler.locations import gallery
from teola.runtime import Runner


def questions() -> list[dict[str, Any]]:
    """The questions with the passages that answer them."""
    text = (gallery() / "data" / "questions.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def answers(passage: dict[str, Any], question: dict[str, Any]) -> bool:
    """Whether the passage is of a document that answers and has one of its quotes."""
    text = " ".join(passage["text"].split())
    return any(
        passage["document"] == known["document"]
        and any(" ".join(quote.split()) in text for quote in known["quotes"])
        for known in question["passages"]
    )


async def measure() -> dict[str, Any]:
    """Ask every question."""
    found: dict[str, int | None] = {}
    async with Runner("advanced_rag", sets=["modules.answer.with.sampling.max_tokens=1"]) as runner:
        for question in questions():
            result = await runner.run(question=question["question"])
            ranks = [
                rank
                for rank, passage in enumerate(result["sources"], 1)
                if answers(passage, question)
            ]
            found[question["question"]] = min(ranks) if ranks else None
    hits = sum(rank is not None for rank in found.values())
    return {"hits among the top 3": hits, "questions": len(found), "rank of the first": found}


def main() -> None:
    """Measure."""
    save("retrieval", {**asyncio.run(measure()), "target": 8})


if __name__ == "__main__":
    main()
