"""``expand``: unroll a p-graph for given sizes (compiler.md, "Streams"; the paper's e-graph).

Groups are cut by item index. A group on a stream edge waits for those of the producer's tasks that
hold its items, a whole edge for all of them; where a producer gives more or fewer items than it
takes, they are spread evenly over what it takes. A scan takes each input in its turn, group by
group, and what has come out is a prefix. A call is one prefill and one decode; where items of an
``early`` list are streamed, the decode is cut in as many parts, so that item i is there when part i
has ended. Order and effect edges hold whole nodes back.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from teola.compiler.cost.prompt_tokens import PromptTokens
from teola.compiler.cost.shapes import Shapes, fan_in
from teola.compiler.cost.sizes import Sizes, size_name
from teola.compiler.errors import CompileError, GraphError
from teola.compiler.graph.egraph import EGraph, Form, Task
from teola.compiler.graph.operations import OPERATIONS, input_kind, output_port
from teola.compiler.graph.pgraph import (
    INPUTS,
    Const,
    Node,
    Operand,
    PGraph,
    Primitive,
    Ref,
    Region,
)
from teola.compiler.graph.verify import dependencies

MAX_TASKS = 100_000
"""As many instances as one query may have."""

JOIN_ABOVE = 64
"""So many tasks are waited for one by one; more get a ``join``, which stands for them all."""

Waits = tuple[int, ...]
"""Numbers of tasks, ascending."""


class ExpansionError(CompileError):
    """The graph has too many tasks for these sizes."""


def expand(graph: PGraph, sizes: Sizes | None = None) -> EGraph:
    """Unroll ``graph`` for ``sizes``; what these leave open is assumed (``cost.shapes``).

    Raises:
        ExpansionError: more than ``MAX_TASKS`` tasks; the message says which sizes to lower.
    """
    return _Expansion(graph, sizes or Sizes()).run()


@dataclass(slots=True)
class _Value:
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
        return _union(*self.steps[first : last + 1])


@dataclass(slots=True)
class _Scope:
    """The top, or one iteration of a region: what its body sees, and what all of it waits for."""

    parent: _Scope | None
    region: str
    path: tuple[str, ...]
    base: Waits
    start: int
    bound: Mapping[str, _Value] = field(default_factory=dict)
    values: dict[tuple[str, str], _Value] = field(default_factory=dict)
    ends: dict[str, _Value] = field(default_factory=dict)

    def around(self) -> Iterator[_Scope]:
        """This scope and those around it, from the inside."""
        scope: _Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent


def _union(*waits: Waits) -> Waits:
    found = [one for one in waits if one]
    if len(found) <= 1:
        return found[0] if found else ()
    return tuple(sorted(set().union(*found)))


class _Expansion:
    def __init__(self, graph: PGraph, sizes: Sizes) -> None:
        self.graph = graph
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

    def run(self) -> EGraph:
        top = _Scope(None, "", (), (), 0)
        self.body("", top)
        outputs = {}
        for out in self.graph.outputs:
            outputs[out.name] = self.whole(self.value(out.ref, top))
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
        return _union(*(self.hints.get(place, ()) for place in places))

    def body(self, region: str, scope: _Scope) -> None:
        """Unroll a region's nodes once."""
        for node in self.bodies.get(region, ()):
            waits = self.gates(node, scope)
            if isinstance(node, Region):
                whole = _REGIONS[node.kind](self, node, scope, waits)
            elif OPERATIONS[node.operation].hint:
                self.hint(node, scope, waits)
                continue
            elif node.id in self.heads:
                whole = self.call(node, self.heads[node.id], scope, waits)
            elif any(kind == "scan" for kind in self.lists(node).values()):
                whole = self.scan(node, scope, waits)
            else:
                whole = self.groups(node, scope, waits)
            scope.ends[node.id] = _Value(node.id, scope.path, 0, whole)

    def gates(self, node: Node, scope: _Scope) -> Waits:
        """What a node waits for beside its inputs: its guards, and what it is ordered behind."""
        found = [self.whole(self.value(guard.condition, scope)) for guard in node.guard]
        for source in self.before.get(node.id, ()):
            end = self.end(source, scope)
            if end is not None:
                found.append(self.whole(end))
        return _union(*found)

    def end(self, node_id: str, scope: _Scope) -> _Value | None:
        """The end of a node, or of the region around it that can be seen from here."""
        regions = {one.region for one in scope.around()}
        while node_id and node_id not in regions:
            for one in scope.around():
                if node_id in one.ends:
                    return one.ends[node_id]
            node_id = self.graph.by_id[node_id].region
        return None

    def value(self, operand: Operand, scope: _Scope) -> _Value:
        """What an operand delivers."""
        items = self.shapes.of(operand).items
        if isinstance(operand, Const) or operand.node == INPUTS:
            return _Value("", (), items, ())
        found = None
        for one in scope.around():
            found = one.bound.get(operand.port) if one.region == operand.node else None
            found = found or one.values.get((operand.node, operand.port))
            if found is not None:
                break
        if found is None:
            raise GraphError(f"%{operand.node}:{operand.port} is not in reach of {scope.path}")
        if operand.fields:
            return _Value(found.name, found.path, items, self.whole(found))
        return found

    def whole(self, value: _Value) -> Waits:
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
        self._limit()
        return len(self.tasks) - 1

    def _limit(self) -> None:
        if len(self.tasks) + self.iterations > MAX_TASKS:
            raise ExpansionError(self._too_many())

    def primitive(
        self,
        node: Primitive,
        scope: _Scope,
        form: Form,
        group: int | None,
        after: Waits,
        items: int = 1,
        tokens: int = 0,
        first: int = 0,
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
        )
        return self.add(task, after if inside else _union(scope.base, after))

    def lists(self, node: Node) -> dict[str, str]:
        """The inputs that are lists to a node's operation, with their kinds."""
        kinds = {name: input_kind(node, name) for name in node.inputs}
        return {name: kind for name, kind in kinds.items() if kind in ("map", "scan", "gather")}

    def fixed(self, node: Node, scope: _Scope, but: Collection[str]) -> Waits:
        """What the inputs of a node wait for, those in ``but`` left out."""
        return _union(
            *(
                self.whole(self.value(operand, scope))
                for name, operand in node.inputs.items()
                if name not in but
            )
        )

    def groups(self, node: Primitive, scope: _Scope, waits: Waits) -> Waits:
        """A primitive as a whole, or in groups of items."""
        kinds = self.lists(node)
        lists = {name: self.value(node.inputs[name], scope) for name in kinds}
        base = _union(waits, self.fixed(node, scope, kinds))
        flows = {name for name in kinds if _streams(node.inputs[name])}
        count = max((value.items for value in lists.values()), default=1)
        size = (node.group or 1) if flows else max(count, 1)
        form: Form = "items" if kinds and "gather" not in kinds.values() else "whole"
        tokens = max((self.shapes.of(node.inputs[n]).item_tokens for n in kinds), default=0)
        steps: list[tuple[int, int]] = []
        for low in range(0, count if flows else max(count, 1), size):
            high = min(low + size, count)
            after = _union(
                base,
                *(
                    value.part(low, high) if name in flows else self.whole(value)
                    for name, value in lists.items()
                ),
            )
            group = len(steps) if flows else None
            task = self.primitive(node, scope, form, group, after, high - low, tokens, low)
            steps.append((high, task))
        return self._emit(node, scope, steps, [lists[n] for n in flows], base, chained=False)

    def scan(self, node: Primitive, scope: _Scope, waits: Waits) -> Waits:
        """A scan: each input in its turn, in groups where it is a stream."""
        kinds = self.lists(node)
        base = _union(waits, self.fixed(node, scope, kinds))
        steps: list[tuple[int, int]] = []
        flowing = []
        at = 0
        for name in kinds:
            value = self.value(node.inputs[name], scope)
            flows = _streams(node.inputs[name])
            if flows:
                flowing.append(value)
            tokens = self.shapes.of(node.inputs[name]).item_tokens
            size = (node.group or 1) if flows else max(value.items, 1)
            for low in range(0, value.items if flows else max(value.items, 1), size):
                high = min(low + size, value.items)
                part = value.part(low, high) if flows else self.whole(value)
                after = _union(part, (steps[-1][1],) if steps else base)
                group = len(steps) if node.group or len(kinds) > 1 else None
                task = self.primitive(
                    node, scope, "scan", group, after, high - low, tokens, at + low
                )
                steps.append((at + high, task))
            at += value.items
        return self._emit(node, scope, steps, flowing, base, chained=True)

    def _emit(
        self,
        node: Primitive,
        scope: _Scope,
        steps: list[tuple[int, int]],
        flowing: Iterable[_Value],
        base: Waits,
        *,
        chained: bool,
    ) -> Waits:
        """Give a primitive's outputs; ``steps`` are items taken so far, and the task that took
        them. It has ended when its tasks have, and what flows into it."""
        done: Waits = tuple(task for _, task in steps)
        ended = set().union(*(self.after[task] for task in done)) | set(done)
        whole = done[-1:] if chained else done
        for value in flowing:
            whole = _union(whole, tuple(one for one in self.whole(value) if one not in ended))
        whole = whole if steps else _union(whole, base, scope.base)
        taken = steps[-1][0] if steps else 0
        expected = max(
            (self.shapes.of(node.inputs[name]).items for name in self.lists(node)), default=1
        )
        if any(kind == "scan" for kind in self.lists(node).values()):
            expected = sum(self.shapes.of(node.inputs[name]).items for name in self.lists(node))
        start = node.config.get("start")
        for name in OPERATIONS[node.operation].outputs:
            port = output_port(node, name)
            items = self.shapes.of(Ref(node.id, name)).items
            value = _Value(f"{node.id}:{name}", scope.path, items, whole)
            if port is not None and port.is_list and port.combine == "concat" and steps:
                if taken != expected and expected:
                    value.items = items = round(items * taken / expected)
                skipped = start if port.length == "count" and isinstance(start, int) else 0
                straight = chained and port.length == "count"
                ends = [
                    min(items, max(0, at - skipped)) if straight else items * at // max(1, taken)
                    for at, _ in steps
                ]
                ends[-1] = items
                value.ends, value.chained = ends, chained
                value.steps = [(task,) for _, task in steps]
            scope.values[node.id, name] = value
        return whole

    def call(self, tail: Primitive, head: Primitive, scope: _Scope, waits: Waits) -> Waits:
        """An LLM call: a prefill, and its decode, in parts where items leave early."""
        state = [name for name, one in tail.inputs.items() if _names_node(one, head.id)]
        inputs = _union(self.fixed(head, scope, ()), self.fixed(tail, scope, state))
        begun = self.primitive(
            head, scope, "prefill", None, _union(waits, inputs), 1, self.prompts.whole(head)
        )
        outputs = OPERATIONS[tail.operation].outputs
        early = [
            self.shapes.of(Ref(tail.id, name)).items
            for name, port in outputs.items()
            if port.early and (tail.id, name) in self.streamed
        ]
        parts, total = max(1, *early, 1), self.shapes.answer(tail)
        tasks: list[int] = []
        for part in range(parts):
            tokens = total * (part + 1) // parts - total * part // parts
            group = part if early else None
            after = (tasks[-1] if tasks else begun,)
            tasks.append(self.primitive(tail, scope, "decode", group, after, 1, tokens, first=part))
        whole = (tasks[-1],)
        for name in OPERATIONS[head.operation].outputs:
            scope.values[head.id, name] = _Value(f"{head.id}:{name}", scope.path, 1, (begun,))
        for name, port in outputs.items():
            items = self.shapes.of(Ref(tail.id, name)).items
            value = _Value(f"{tail.id}:{name}", scope.path, items, whole)
            if port.early:
                value.ends = [items * (part + 1) // parts for part in range(parts)]
                value.steps, value.chained = [(task,) for task in tasks], True
            scope.values[tail.id, name] = value
        return whole

    def hint(self, node: Primitive, scope: _Scope, waits: Waits) -> None:
        """A warm-up: one task for each part of the prompt that comes later than those before it,
        each standing for the whole prefix up to there."""
        call = self.graph.by_id[str(node.config.get("hint"))]
        if not isinstance(call, Primitive):
            return
        least = node.config.get("min_new_tokens")
        least = least if isinstance(least, int) else 1
        tasks: list[int] = []
        warmed, known, there = 0, set[str](), waits
        names = list(node.inputs)
        for number, name in enumerate(names):
            known.add(name)
            there = _union(there, self.whole(self.value(node.inputs[name], scope)))
            following = names[number + 1 : number + 2]
            later = [self.whole(self.value(node.inputs[one], scope)) for one in following]
            if later and not set(later[0]) - set(there):
                continue
            tokens = self.prompts.prefix(call, frozenset(known))
            if tokens - warmed < max(1, least):
                continue
            task = self.primitive(node, scope, "hint", len(tasks), there, 1, tokens)
            self.warmed[task] = tuple(tasks)
            tasks.append(task)
            warmed = tokens
        self.hints[call.id, scope.path] = tuple(tasks)

    def iterate(
        self,
        region: Region,
        scope: _Scope,
        mark: str,
        base: Waits,
        bound: Mapping[str, _Value],
    ) -> Waits:
        """Unroll a region's body once; what its end waits for."""
        self.iterations += 1
        self._limit()
        path = (*scope.path, f"{region.id}[{mark}]")
        count = Const(0)
        seen = {"index": self.value(count, scope), "level": self.value(count, scope), **bound}
        inner = _Scope(scope, region.id, path, _union(scope.base, base), len(self.tasks), seen)
        self.body(region.id, inner)
        return self.sinks(inner)

    def sinks(self, scope: _Scope) -> Waits:
        """The tasks of a scope, hints left out, that nothing else in it waits for."""
        own = range(scope.start, len(self.tasks))
        found = {task for task in own if self.tasks[task].form != "hint"}
        for task in own:
            if self.tasks[task].form != "hint":
                found.difference_update(self.after[task])
        return tuple(sorted(found)) or scope.base

    def each(self, region: Region, scope: _Scope, waits: Waits) -> Waits:
        """A body for each item."""
        items = self.value(region.inputs["items"], scope)
        flows = _streams(region.inputs["items"])
        item = self.shapes.of(Ref(region.id, "item")).items
        steps = []
        for index in range(items.items):
            there = items.part(index, index + 1) if flows else self.whole(items)
            bound = {"item": _Value("", (), item, ())}
            steps.append(self.iterate(region, scope, str(index), _union(waits, there), bound))
        whole = _union(*steps) if steps else _union(scope.base, waits)
        if flows or not steps:
            whole = _union(whole, self.whole(items))
        for name in region.results:
            value = _Value(f"{region.id}:{name}", scope.path, items.items, whole)
            value.ends, value.steps = range(1, items.items + 1), steps
            scope.values[region.id, name] = value
        return whole

    def fold(self, region: Region, scope: _Scope, waits: Waits) -> Waits:
        """One iteration after another; with ``ahead``, what needs no state begins before its
        turn."""
        items = self.value(region.inputs["items"], scope)
        initial = self.whole(self.value(region.inputs["initial"], scope))
        flows = _streams(region.inputs["items"])
        ahead = region.config.get("ahead")
        early = ahead if isinstance(ahead, int) else None
        shape = self.shapes.of(Ref(region.id, "item")).items
        ends: list[Waits] = []
        for index in range(items.items):
            state = ends[-1] if ends else initial
            turn = state if early is None else ()
            if early is not None and index > early:
                turn = ends[index - 1 - early]
            there = items.part(index, index + 1) if flows else self.whole(items)
            bound = {"item": _Value("", (), shape, ()), "state": _Value("", (), 1, state)}
            at = len(self.tasks)
            end = self.iterate(region, scope, str(index), _union(waits, there, turn), bound)
            awaited = set().union(*self.after[at:])
            ends.append(_union(end, tuple(one for one in state if one not in awaited)))
        whole = ends[-1] if ends else _union(scope.base, waits, initial)
        if flows or not ends:
            whole = _union(whole, self.whole(items))
        self._result(region, scope, whole)
        return whole

    def reduce(self, region: Region, scope: _Scope, waits: Waits) -> Waits:
        """``fan_in`` become one, level by level; a lone rest passes through."""
        items = self.value(region.inputs["items"], scope)
        whole = _union(scope.base, waits, self.whole(items))
        left, level, size = items.items, 0, fan_in(region)
        while left > 1:
            ends = []
            for index in range(ceil(left / size)):
                part = min(size, left - index * size)
                if part > 1:
                    bound = {"items": _Value("", (), part, ())}
                    ends.append(self.iterate(region, scope, f"{level}.{index}", whole, bound))
            end = _Value(region.id, (*scope.path, f"{region.id}[{level}]"), 0, _union(*ends))
            whole = self.whole(end)
            left, level = ceil(left / size), level + 1
        self._result(region, scope, whole)
        return whole

    def _result(self, region: Region, scope: _Scope, whole: Waits) -> None:
        for name in region.results:
            items = self.shapes.of(Ref(region.id, name)).items
            scope.values[region.id, name] = _Value(f"{region.id}:{name}", scope.path, items, whole)

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
            f"{self.graph.name}: more than {MAX_TASKS:,} tasks for these sizes, {number:,} of them "
            f"of %{node_id}: lower {sizes or 'the sizes of its lists'}"
        )


_REGIONS = {"each": _Expansion.each, "fold": _Expansion.fold, "reduce": _Expansion.reduce}


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


def _streams(operand: Operand) -> bool:
    return isinstance(operand, Ref) and operand.stream


def _names_node(operand: Operand, node_id: str) -> bool:
    return isinstance(operand, Ref) and operand.node == node_id


def _names(ids: Sequence[str], waits: Waits) -> tuple[str, ...]:
    return tuple(ids[one] for one in waits)
