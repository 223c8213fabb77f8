"""Each pass that ran: its purpose, what it did, and what that is predicted to gain."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict

from teola.compiler.api import Compilation
from teola.compiler.cost.sizes import Sizes
from teola.compiler.explain.deeds import told
from teola.compiler.explain.explanation import PassStory
from teola.compiler.explain.idle import idle_reason
from teola.compiler.explain.prediction import Prediction, predict
from teola.compiler.graph.changes import changes
from teola.compiler.passes.base import Context, Pass
from teola.compiler.passes.pipeline import Step


def stories(compilation: Compilation, first: Prediction, sizes: Sizes) -> Iterator[PassStory]:
    """One story for each pass, and one more where it changed something in a later round."""
    now, seen = first, set[str]()
    for step in compilation.steps:
        changed = step.after is not step.before
        if not changed and step.by.name in seen:
            continue
        seen.add(step.by.name)
        then = predict(step.after, sizes, compilation.context.profiles) if changed else now
        yield _story(step, now, then, compilation.context, sizes)
        now = then


def _story(
    step: Step, now: Prediction, then: Prediction, context: Context, sizes: Sizes
) -> PassStory:
    found = changes(step.before, step.after)
    changed = step.after is not step.before
    return PassStory(
        step.by.name,
        purpose(step.by),
        {key.replace("_", "-"): value for key, value in asdict(step.by).items()},
        changed,
        told(step, found, context, sizes),
        None if changed else idle_reason(step.by, step.after),
        now.moment,
        then.moment,
        found,
    )


def purpose(by: Pass) -> str:
    """What a pass is for, in a sentence: its file's first line, or its own description's."""
    file = sys.modules[type(by).__module__].__doc__ or ""
    name, colon, about = file.partition("\n\n")[0].partition(": ")
    text = about if colon and name.strip() == by.name else type(by).__doc__ or ""
    first = " ".join(text.split()).partition(". ")[0].rstrip(".")
    return f"{first[:1].upper()}{first[1:]}." if first else ""
