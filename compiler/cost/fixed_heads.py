"""The fixed head of a prompt: how much of it is alike in all queries.

A prompt is rendered for two sets of stand-ins that have no letter in common. What both begin with
is the template's own text, as its conditions choose it for values that are there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from teola.compiler.cost.shapes import Shapes
from teola.compiler.cost.stand_ins import LETTERS, stand_in
from teola.compiler.graph.pgraph import Const, Operand, Primitive
from teola.compiler.prompts import PromptError, template

FEW = 2
"""Items that stand for a list."""


def fixed_characters(call: Primitive, shapes: Shapes) -> int | None:
    """The characters with which the messages of a call's prompt begin in every query; None where
    nobody knows the first message."""
    values = [
        {name: _value(operand, shapes, which) for name, operand in call.inputs.items()}
        for which in range(len(LETTERS))
    ]
    messages = call.config.get("messages")
    found = None
    for entry in messages if isinstance(messages, Sequence) else ():
        if not isinstance(entry, dict) or "splice" in entry:
            return found
        ways = _ways(str(entry.get("template")), values)
        shortest = min(map(len, ways), default=0)
        differing = (n for n, met in enumerate(zip(*ways, strict=False)) if len(set(met)) > 1)
        head = next(differing, shortest)
        found = (found or 0) + head
        if not ways or max(map(len, ways)) > head:
            return found
    return found


def _ways(source: str, values: Sequence[Mapping[str, Any]]) -> list[str]:
    """A message for each set of values; none where these lack what the template looks for."""
    try:
        made = template(source)
        return [
            made.render({name: one[name] for name in made.variables if name in one})
            for one in values
        ]
    except PromptError:
        return []


def _value(operand: Operand, shapes: Shapes, which: int) -> Any:
    if isinstance(operand, Const):
        return operand.value
    shape = shapes.of(operand)
    few = [min(items, FEW) for items in shape.dims]
    return stand_in(replace(shape, tokens=min(shape.tokens, 1)), few, which)
