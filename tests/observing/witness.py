"""An observer that keeps everything, and a graph whose every time is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from teola.runtime.observing.observations import Observation
from tests.runtime.workbench import call, plan

E = TypeVar("E")


@dataclass
class Witness:
    """Keeps what it is told."""

    seen: list[Observation] = field(default_factory=list)

    def see(self, event: Observation) -> None:
        self.seen.append(event)

    def all(self, kind: type[E]) -> list[E]:
        """What it was told of one kind."""
        return [event for event in self.seen if isinstance(event, kind)]

    def one(self, kind: type[E]) -> E:
        """What it was told once."""
        (found,) = self.all(kind)
        return found


class Broken:
    """Cannot watch."""

    def __init__(self) -> None:
        self.tried = 0

    def see(self, event: Observation) -> None:
        self.tried += 1
        raise ValueError("blind")


EMBED_MS = 1000
"""A batch of the embedder."""
TOKEN_MS = 500
"""A step of the LLM."""


def both(**engines):
    """A plan that embeds texts (module ``e``, a second a batch) and asks an LLM (module ``a``)."""
    texts = "%e.embed = embed texts=%inputs:texts {engine = emb} @e"
    asked = call("a", "Say {{ q }}", "q=%inputs:q")
    body = f"""input texts: list<text>
input q: text
{texts}
{asked}
output answer: text = %a.decode:text
output vectors: list<embedding> = %e.embed:embeddings"""
    settings = {"emb": {"latency_ms": EMBED_MS}, "llm": {"latency_ms": TOKEN_MS}, **engines}
    return plan(body, **settings)
