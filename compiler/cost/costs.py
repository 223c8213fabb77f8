"""The entries of the profile that the tasks of a graph cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from teola.compiler.cost.profile import Entry, Profiles, load_profiles
from teola.compiler.graph.effects import homes_of
from teola.compiler.graph.egraph import Task
from teola.compiler.graph.pgraph import Json, PGraph, Primitive

CPU = "cpu"
"""Stands for an engine's name where there is none."""


class Costs:
    """The entries that a graph's operations have, engines of equal settings being one (of as many
    replicas as the one that has most)."""

    def __init__(self, graph: PGraph, profiles: Profiles | None = None) -> None:
        self.graph, self.profiles = graph, profiles or load_profiles()
        self._found: dict[tuple[str, str | None], Entry | None] = {}

    @cached_property
    def homes(self) -> Mapping[str, str]:
        """Engine -> the first engine with the same settings."""
        return homes_of(self.graph.engines)

    def home(self, task: Task) -> str:
        """What serves a task."""
        return self.homes.get(task.engine, task.engine) if task.engine is not None else CPU

    @cached_property
    def _replicas(self) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for name, home in self.homes.items():
            found[home] = max(found.get(home, 1), _count(self.graph.engines[name]))
        return found

    def replicas(self, home: str) -> int:
        """How many machines serve the tasks of a home."""
        return self._replicas.get(home, 1)

    def stores(self, home: str) -> bool:
        """Whether a home holds collections, each on one machine."""
        return self.graph.engines.get(home, {}).get("kind") == "store"

    def settings(self, engine: str | None) -> Mapping[str, Json]:
        """The settings of an engine, or of that for which it stands."""
        return priced(self.graph.engines.get(engine, {})) if engine is not None else {}

    def operation(self, task: Task) -> str:
        """The operation whose entry counts: a warm-up does what its call does."""
        node = self.graph.by_id.get(task.primitive)
        if task.form == "hint" and isinstance(node, Primitive):
            call = self.graph.by_id.get(str(node.config.get("hint")))
            return call.operation if isinstance(call, Primitive) else task.operation
        return task.operation

    def entry(self, task: Task) -> Entry | None:
        """What a task costs; None where it is free."""
        if task.form == "join":
            return None
        place = (self.operation(task), task.engine)
        if place not in self._found:
            engine = self.settings(task.engine) if task.engine is not None else None
            self._found[place] = self.profiles.entry(place[0], engine)
        return self._found[place]

    def used(self, tasks: Sequence[Task]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The entries that are structural, and the operations on engines that have none."""
        structural: dict[str, None] = {}
        unknown: dict[str, None] = {}
        for task in tasks:
            entry = self.entry(task)
            name = f"{self.operation(task)} on {task.engine or CPU}"
            if entry is None and task.engine is not None:
                unknown[name] = None
            elif entry is not None and entry.origin == "structural":
                structural[name] = None
        return tuple(structural), tuple(unknown)


def _count(settings: Mapping[str, Json]) -> int:
    count = settings.get("replicas")
    return count if isinstance(count, int) and count > 0 else 1


def priced(settings: Mapping[str, Json]) -> Mapping[str, Json]:
    """The settings that say what an engine costs: a simulated one costs what it stands for."""
    stands_for = settings.get("stands_for")
    return {**settings, **stands_for} if isinstance(stands_for, dict) else settings


def free(operation: str) -> Entry:
    """The entry of an operation that has none."""
    return Entry(operation=operation, knee=1, base_ms=0, item_ms=0)
