"""Where references are looked up: the top of a query, or one iteration of a region."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from teola.compiler.graph.pgraph import Ref
from teola.runtime.errors import RunError
from teola.runtime.keys import Key, digest, of_json
from teola.runtime.values import Cell, Source

if TYPE_CHECKING:
    from teola.runtime.instance.run import Run


class Scope:
    """Runs by node id, the ports a region binds, and the scope around.

    ``path`` names the iteration, ``("answer.refine[2]",)``: an instance is (primitive, path,
    group).
    """

    __slots__ = ("bound", "parent", "path", "region", "runs")

    def __init__(
        self,
        parent: Scope | None = None,
        region: str = "",
        path: tuple[str, ...] = (),
        bound: Mapping[str, Cell] | None = None,
    ) -> None:
        self.parent = parent
        self.region = region
        self.path = path
        self.bound: Mapping[str, Cell] = bound or {}
        self.runs: dict[str, Run] = {}

    def run(self, node_id: str) -> Run | None:
        """The run of a node of this scope or of one around it."""
        scope: Scope | None = self
        while scope is not None:
            if (found := scope.runs.get(node_id)) is not None:
                return found
            scope = scope.parent
        return None

    def only(self, node_ids: Iterable[str]) -> Scope:
        """A scope of its own with the runs of these nodes: it keeps no others alive."""
        scope = Scope(path=self.path)
        scope.runs = {name: self.runs[name] for name in node_ids if name in self.runs}
        return scope

    def cell(self, ref: Ref) -> Cell:
        """The cell that a reference reads."""
        scope: Scope | None = self
        while scope is not None:
            if (run := scope.runs.get(ref.node)) is not None:
                return run.cells[ref.port]
            if scope.region == ref.node:
                return scope.bound[ref.port]
            scope = scope.parent
        raise RunError(f"internal: %{ref.node}:{ref.port} is not in reach")

    def source(self, ref: Ref) -> Source:
        """A reference, looked up."""
        run = self.runs.get(ref.node)
        cell = run.cells[ref.port] if run is not None else self.cell(ref)
        return Source(cell, ref.fields, ref.stream, ref.default)


def source_key(source: Source) -> Key | None:
    """The content key of what a source delivers; None where it has none."""
    key = source.cell.key
    if key is None or not source.fields:
        return key
    return digest(key, ".".join(source.fields).encode(), of_json(source.default))
