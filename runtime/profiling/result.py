"""What came of measuring, and its text as a profile file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from teola.compiler.cost.profile import SCHEMA, Entry, Point, ProfileFile


@dataclass(frozen=True, slots=True)
class Measured:
    """One operation: ``engine`` is the engine's name in the file ("" for none), ``error`` the mean
    relative error of the entry's formula at its points, ``curve`` the points that differ only in
    their number of items, ``note`` what was left out, and why."""

    operation: str
    engine: str
    entry: Entry
    error: float
    curve: tuple[Point, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """An operation that could not be measured, and why."""

    operation: str
    engine: str
    cause: str


@dataclass(slots=True)
class Profiling:
    """What came of measuring."""

    measured: list[Measured] = field(default_factory=list)
    unmeasured: list[Unmeasured] = field(default_factory=list)
    machine: str = ""

    def file(self) -> ProfileFile:
        """The profile that `load_profiles` reads."""
        entries = tuple(one.entry for one in self.measured)
        found = {"schema": SCHEMA, "machine": self.machine, "entries": entries}
        return ProfileFile.model_validate(found)


def to_json(file: ProfileFile) -> str:
    """The text of a profile file: an entry a paragraph, a point a line."""
    paragraphs = []
    for entry in file.entries:
        facts = json.dumps(entry.model_dump(mode="json", exclude={"points"}))[:-1]
        points = [f"   {json.dumps(point.model_dump(mode='json'))}" for point in entry.points]
        paragraphs.append(f'  {facts}, "points": [\n' + ",\n".join(points) + "\n  ]}")
    head = f' "schema": {json.dumps(SCHEMA)},\n "machine": {json.dumps(file.machine)}'
    return "{\n" + head + ',\n "entries": [\n' + ",\n".join(paragraphs) + "\n ]\n}\n"
