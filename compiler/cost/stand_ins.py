"""Values that stand for what is not known: of the shape that it will have, and of its length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from teola.compiler.cost.shapes import CHARACTERS, Shape

LETTERS = "xy"


def stand_in(shape: Shape, dims: Sequence[int], which: int = 0) -> Any:
    """A value of this shape: texts and records of the right length, or lists of them. There are two
    (``which`` is 0 or 1), whose texts have no letter in common."""
    if dims:
        return [stand_in(shape, dims[1:], which)] * dims[0]
    letter = LETTERS[which]
    text = letter * (CHARACTERS * shape.tokens)
    if shape.kind in ("chunk", "passage"):
        return {
            "id": letter,
            "text": text,
            "document": f"{letter}ocument",
            "index": which,
            "score": 0.5,
            "rank": 1 + which,
        }
    if shape.kind == "document":
        return {"name": f"{letter}ocument", "text": text}
    if shape.kind == "message":
        return {"role": "user", "content": text}
    return 1 + which if shape.kind in ("int", "float", "bool") else text
