"""Bad items of a soak: a mark in a text, at which an engine of one kind fails whenever it sees it.

What it does is the mark's cause: a ``poison`` ends the engine, at a ``failing`` one it raises, a
``hungry`` one takes all memory. An error that such an item is the cause of names its mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from teola.runtime.documents.api import Documents
from teola.runtime.engines.protocol import Request

POISON, FAILING, HUNGRY = CAUSES = ("poison", "failing", "hungry")
WEIGHTS = {POISON: 2, FAILING: 2, HUNGRY: 1}
"""How often each comes: a hungry one makes batches small for a while."""
_MARK = re.compile(rf"(?:{'|'.join(CAUSES)})-[a-z]+-[0-9]+")


def draw(random: Random, engines: Sequence[str], number: int) -> str:
    """The mark of a query's bad item, for an engine of one of these kinds. Stores get no poison:
    with a store the collections of all others are gone, which is not to be contained."""
    engine = random.choice(engines)
    causes = [cause for cause in CAUSES if (cause, engine) != (POISON, "store")]
    (cause,) = random.choices(causes, [WEIGHTS[cause] for cause in causes])
    return f"{cause}-{engine}-{number}"


def cause_of(mark: str) -> str:
    """What an engine does."""
    return mark.partition("-")[0]


def kind_of(mark: str) -> str:
    """What of, without the number."""
    return mark.rpartition("-")[0]


def found_in(text: str) -> list[str]:
    """The marks in a text."""
    return _MARK.findall(text)


def bad_for(kind: str, texts: Iterator[str]) -> str | None:
    """The first mark that is for engines of a kind."""
    marks = (mark for text in texts for mark in found_in(text))
    return next((mark for mark in marks if mark.split("-")[1] == kind), None)


def texts_of(batch: Sequence[Request]) -> Iterator[str]:
    """All texts that an engine sees in a batch."""
    for request in batch:
        yield request.common.get("query", "")
        for item in request.items:
            if isinstance(item, str):
                yield item
            elif isinstance(item, tuple) and isinstance(item[0], Mapping):
                yield item[0]["text"]


def marked(inputs: Mapping[str, Any], mark: str) -> Mapping[str, Any]:
    """A query's inputs with a mark: in its question, or for a store in a document."""
    if "-store-" not in mark:
        return {**inputs, "question": f"{mark} {inputs['question']}"}
    documents = inputs["documents"]
    first, *rest = documents.texts if isinstance(documents, Documents) else documents
    texts = [{**first, "text": f"{mark} {first['text']}"}, *rest]
    new = replace(documents, texts=texts) if isinstance(documents, Documents) else texts
    return {**inputs, "documents": new}
