"""``--until PASS``: a compilation that stops after one of its passes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from teola.runtime.cli.ending import CommandError

if TYPE_CHECKING:
    from teola.compiler.api import Compilation


def stopped_after(compiled: Compilation, name: str) -> Compilation:
    """What has been compiled when the pass ``name`` has run for the first time.

    Raises:
        CommandError: there is no such pass, or it does not run here.
    """
    from teola.compiler.diagnostics import nearest
    from teola.compiler.passes.pipeline import PASSES

    names = list(dict.fromkeys(step.by.name for step in compiled.steps))
    if name not in names:
        near = nearest(name, PASSES)
        what = "it does not run here" if name in PASSES else "there is no such pass"
        hint = f"; did you mean {near!r}?" if near and near != name else ""
        have = ", ".join(names) or "none"
        raise CommandError(f"--until {name}: {what}; those that run: {have}{hint}")
    at = next(i for i, step in enumerate(compiled.steps) if step.by.name == name)
    steps = compiled.steps[: at + 1]
    plan = replace(compiled.plan, graph=steps[-1].after)
    return replace(compiled, steps=steps, plan=plan, until=name)
