"""What unrolling a graph is made of: values that come item by item, scopes, the tasks so far."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from teola.compiler.cost.prompt_tokens import PromptTokens
from teola.compiler.cost.shapes import Shapes
from teola.compiler.cost.sizes import Sizes, size_name
from teola.compiler.errors import CompileError, GraphError
from teola.compiler.graph.dependencies import dependencies
from teola.compiler.graph.egraph import EGraph, Form, Task
from teola.compiler.graph.operations import input_kinds
from teola.compiler.graph.pgraph import (
    INPUTS,
    Const,
    Node,
    Operand,
    PGraph,
    Primitive,
    Ref,
)

MAX_TASKS = 100_000
"""As many instances as one query may have."""

JOIN_ABOVE = 64
"""So many tasks are waited for one by one; more get a ``join``, which stands for them all."""

Waits = tuple[int, ...]
"""Numbers of tasks, ascending."""


class ExpansionError(CompileError):
    """The graph has too many tasks for these sizes."""


@dataclass(slots=True)
class Value:
    """What a port delivers: ``items`` are complete after ``whole``. Item by item: after
    ``steps[i]`` those before ``ends[i]``, and in a chain all before them too."""

    name: str
    path: tuple[str, ...]
    items: int
    whole: Waits
    ends: Sequence[int] = ()
    steps: Sequence[Waits] = ()
    chained: bool = False

    def part(self, low: int, high: int) -> Waits:
        """What the items ``[low, high)`` wait for."""
        if not self.steps:
            return self.whole
        last = min(bisect_left(self.ends, high), len(self.steps) - 1)
        first = last if self.chained else min(bisect_right(self.ends, low), last)
        return union(*self.steps[first : last + 1])


@dataclass(slots=True)
class Scope:
    """The top, or one iteration of a region: what its body sees, and what all of it waits for."""

    parent: Scope | None
    region: str
    path: tuple[str, ...]
    base: Waits
    start: int
    bound: Mapping[str, Value] = field(default_factory=dict)
    values: dict[tuple[str, str], Value] = field(default_factory=dict)
    ends: dict[str, Value] = field(default_factory=dict)

    def around(self) -> Iterator[Scope]:
        """This scope and those around it, from the inside."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent


def union(*waits: Waits) -> Waits:
    """What waits for all of them."""
    found = [one for one in waits if one]
    if len(found) <= 1:
        return found[0] if found else ()
    return tuple(sorted(set().union(*found)))


def streams(operand: Operand) -> bool:
    """Whether a list is delivered item by item."""
    return isinstance(operand, Ref) and operand.stream


class Unrolling(ABC):
    """The tasks of one graph, made so far; ``body`` makes those of a region, or of the top."""

    def __init__(self, graph: PGraph, sizes: Sizes, most: int = MAX_TASKS) -> None:
        self.graph, self.most = graph, most
        self.shapes = Shapes(graph, sizes)
        self.prompts = PromptTokens(self.shapes)
        self.heads: dict[str, Primitive] = {}
        for node in graph.nodes:
            if isinstance(node, Primitive) and (head := self.shapes.head(node)) is not None:
                self.heads[node.id] = head
        self.units = {head.id: tail for tail, head in self.heads.items()}
        self.before: dict[str, list[str]] = {}
        for edge in sorted(graph.edges):
            self.before.setdefault(self.unit(edge.target), []).append(self.unit(edge.source))
        self.bodies = self._bodies()
        self.streamed = {
            (operand.node, operand.port)
            for node in graph.nodes
            for operand in node.inputs.values()
            if isinstance(operand, Ref) and operand.stream
        }
        self.tasks: list[Task] = []
        self.after: list[Waits] = []
        self.warmed: dict[int, Waits] = {}
        self.iterations = 0
        self.hints: dict[tuple[str, tuple[str, ...]], Waits] = {}

    def unit(self, node_id: str) -> str:
        """The id under which a node is unrolled: a unit goes by its second half."""
        return self.units.get(node_id, node_id)

    def _bodies(self) -> dict[str, list[Node]]:
        """Each region's nodes, every one after those it needs, else in chain order."""
        needs: dict[str, set[str]] = {}
        for target, sources in dependencies(self.graph).items():
            unit = self.unit(target)
            needs.setdefault(unit, set()).update({self.unit(one) for one in sources} - {unit})
        waiting: dict[str, list[Node]] = {}
        for node in self.graph.nodes:
            if node.id not in self.units:
                waiting.setdefault(node.region, []).append(node)
        return {region: _ordered(nodes, needs) for region, nodes in waiting.items()}

    def egraph(self, outputs: Mapping[str, Waits]) -> EGraph:
        """All tasks, by their names."""
        ids = [task.id for task in self.tasks]
        tasks = tuple(
            replace(task, after=_names(ids, self.after[n]), warmed_by=_names(ids, self._warmed(n)))
            for n, task in enumerate(self.tasks)
        )
        return EGraph(
            self.graph, tasks, {name: _names(ids, waits) for name, waits in outputs.items()}
        )

    def _warmed(self, number: int) -> Waits:
        """The warm-ups of a call's instance, those of the regions around it among them, and of a
        warm-up those that it goes on from."""
        task = self.tasks[number]
        if task.form != "prefill":
            return self.warmed.get(number, ())
        places = [(task.primitive, task.path[:depth]) for depth in range(len(task.path) + 1)]
        return union(*(self.hints.get(place, ()) for place in places))

    def end(self, node_id: str, scope: Scope) -> Value | None:
        """The end of a node, or of the region around it that can be seen from here."""
        regions = {one.region for one in scope.around()}
        while node_id and node_id not in regions:
            for one in scope.around():
                if node_id in one.ends:
                    return one.ends[node_id]
            node_id = self.graph.by_id[node_id].region
        return None

    def value(self, operand: Operand, scope: Scope) -> Value:
        """What an operand delivers."""
        items = self.shapes.of(operand).items
        if isinstance(operand, Const) or operand.node == INPUTS:
            return Value("", (), items, ())
        found = None
        for one in scope.around():
            found = one.bound.get(operand.port) if one.region == operand.node else None
            found = found or one.values.get((operand.node, operand.port))
            if found is not None:
                break
        if found is None:
            raise GraphError(f"%{operand.node}:{operand.port} is not in reach of {scope.path}")
        if operand.fields:
            return Value(found.name, found.path, items, self.whole(found))
        return found

    def whole(self, value: Value) -> Waits:
        """What all of a value waits for."""
        if len(value.whole) > JOIN_ABOVE:
            owner = self.graph.by_id[value.name.partition(":")[0]]
            id_ = "/".join((*value.path, value.name))
            join = Task(id_, owner.id, "", "join", value.path, None, owner.module, None, 0, 0)
            value.whole = (self.add(join, value.whole),)
        return value.whole

    def add(self, task: Task, after: Waits) -> int:
        """Add a task and return its number."""
        self.tasks.append(task)
        self.after.append(after)
        self.check_limit()
        return len(self.tasks) - 1

    def check_limit(self) -> None:
        """Raise where there are too many tasks and iterations."""
        if len(self.tasks) + self.iterations > self.most:
            raise ExpansionError(self._too_many())

    def primitive(
        self,
        node: Primitive,
        scope: Scope,
        form: Form,
        group: int | None,
        after: Waits,
        items: int = 1,
        tokens: int = 0,
        first: int = 0,
        cached: int = 0,
    ) -> int:
        """Add an instance of a primitive: it waits for its scope too, if not through others."""
        inside = any(
            one >= scope.start and self.tasks[one].form != "join" for one in reversed(after)
        )
        where = "/".join((*scope.path, node.id))
        task = Task(
            where if group is None else f"{where}#{group}",
            node.id,
            node.operation,
            form,
            scope.path,
            group,
            node.module,
            node.engine,
            items,
            tokens,
            first,
            cached=cached,
        )
        return self.add(task, after if inside else union(scope.base, after))

    def lists(self, node: Node) -> dict[str, str]:
        """The inputs that are lists to a node's operation, with their kinds."""
        kinds = input_kinds(node).items()
        return {name: kind for name, kind in kinds if kind in ("map", "scan", "gather")}

    def fixed(self, node: Node, scope: Scope, but: Collection[str]) -> Waits:
        """What the inputs of a node wait for, those in ``but`` left out."""
        return union(
            *(
                self.whole(self.value(operand, scope))
                for name, operand in node.inputs.items()
                if name not in but
            )
        )

    def gates(self, node: Node, scope: Scope) -> Waits:
        """What a node waits for beside its inputs: its guards, and what it is ordered behind."""
        found = [self.whole(self.value(guard.condition, scope)) for guard in node.guard]
        for source in self.before.get(node.id, ()):
            end = self.end(source, scope)
            if end is not None:
                found.append(self.whole(end))
        return union(*found)

    def _too_many(self) -> str:
        most = Counter(task.primitive for task in self.tasks)
        node_id, number = most.most_common(1)[0] if most else (self.graph.nodes[0].id, 0)
        node: Node | None = self.graph.by_id.get(node_id)
        lists: dict[str, int] = {}
        while node is not None:
            for name in self.lists(node):
                ref = node.inputs[name]
                if isinstance(ref, Ref):
                    lists.setdefault(size_name(ref), self.shapes.of(ref).items)
            node = self.graph.by_id.get(node.region)
        sizes = ", ".join(f"{name}={items}" for name, items in lists.items())
        return (
            f"{self.graph.name}: more than {self.most:,} tasks for these sizes, {number:,} of them "
            f"of %{node_id}: lower {sizes or 'the sizes of its lists'}"
        )

    @abstractmethod
    def body(self, region: str, scope: Scope) -> None:
        """Unroll a region's nodes once."""


def _ordered(nodes: Sequence[Node], needs: Mapping[str, set[str]]) -> list[Node]:
    here = {node.id for node in nodes}
    done: dict[str, Node] = {}
    waiting = list(nodes)
    while waiting:
        later = []
        for node in waiting:
            if needs.get(node.id, set()) & here <= done.keys():
                done[node.id] = node
            else:
                later.append(node)
        if len(later) == len(waiting):
            raise GraphError(f"a cycle among {', '.join(f'%{node.id}' for node in later)}")
        waiting = later
    return list(done.values())


def _names(ids: Sequence[str], waits: Waits) -> tuple[str, ...]:
    return tuple(ids[one] for one in waits)
