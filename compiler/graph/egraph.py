"""The e-graph: a p-graph unrolled for given sizes, one task for each instance of a primitive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from teola.compiler.graph.pgraph import PGraph

Form = Literal["items", "whole", "scan", "prefill", "decode", "hint", "join"]
"""What a task is to the cost model.

items: a map over items, one independent of the other; scan: the same, in order; whole: anything
else; prefill and decode: the two halves of an LLM call; hint: a warm-up; join: no work, a name for
the end of many tasks.
"""


@dataclass(frozen=True, slots=True)
class Task:
    """One instance: a primitive, a region path (``("answer.refine[2]",)``) and a group.

    ``items`` are worked on, of ``tokens`` tokens each: of a prefill or a hint the tokens of the
    prompt (``cached`` of them are in the engine's cache since an earlier query), of a decode the
    new tokens. ``first`` is the index of the first item in the whole list.
    ``after`` names the tasks it waits for; ``warmed_by`` the hints that can shorten it, which it
    never waits to begin.
    """

    id: str
    primitive: str
    operation: str
    form: Form
    path: tuple[str, ...]
    group: int | None
    module: str
    engine: str | None
    items: int
    tokens: int
    first: int = 0
    after: tuple[str, ...] = ()
    warmed_by: tuple[str, ...] = ()
    cached: int = 0


@dataclass(frozen=True)
class EGraph:
    """The tasks of one query, each after those it waits for; ``graph`` is what was unrolled.

    ``outputs`` maps the workflow's outputs to the tasks after which they are complete.
    """

    graph: PGraph
    tasks: tuple[Task, ...]
    outputs: Mapping[str, tuple[str, ...]]

    @cached_property
    def by_id(self) -> Mapping[str, Task]:
        """Every task by its id."""
        return {task.id: task for task in self.tasks}
