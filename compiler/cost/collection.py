"""Which collection a task of a store works on: all work on one is done by one replica."""

from __future__ import annotations

from teola.compiler.graph.dependencies import region_paths
from teola.compiler.graph.egraph import Task
from teola.compiler.graph.operations import OPERATIONS
from teola.compiler.graph.pgraph import Const, PGraph, Primitive


class Collections:
    """The collections of a graph's tasks, as names: tasks of one name work on one collection."""

    def __init__(self, graph: PGraph) -> None:
        self.nodes, self.paths = graph.by_id, region_paths(graph)

    def of(self, task: Task) -> str:
        """The collection of a task."""
        node = self.nodes.get(task.primitive)
        return self._of(node, task.path) if isinstance(node, Primitive) else task.id

    def _of(self, node: Primitive, path: tuple[str, ...]) -> str:
        """That of a node's instance inside ``path``: named, its own, or who gives it."""
        given = node.inputs.get("collection")
        if isinstance(given, Const):
            return str(given.value)
        if given is None:
            return "/".join(("~", *path[: len(self.paths[node.id])], node.id))
        giver = self.nodes.get(given.node)
        if isinstance(giver, Primitive) and "collection" in OPERATIONS[giver.operation].outputs:
            return self._of(giver, path)
        return "/".join(("~", *path, given.node, given.port, *map(str, given.fields)))
