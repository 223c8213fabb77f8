"""A plan made ready to be instantiated: computed once, shared by all its queries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from teola.compiler.graph.dependencies import dependencies
from teola.compiler.graph.effects import resolver
from teola.compiler.graph.operations import OPERATIONS, Operation, input_kinds
from teola.compiler.graph.pgraph import INPUTS, Node, Operand, PGraph, Primitive, Ref, Region
from teola.runtime.errors import Place, RunError
from teola.runtime.keys import Key, digest, of_json
from teola.runtime.limits import Limits
from teola.runtime.operations import CPU, ENGINE, SCANS
from teola.runtime.values import Source, constant

Form = Literal["cpu", "scan", "engine", "llm", "region", "warm"]


class Wire(NamedTuple):
    """An input of a node: a reference, or a constant with its content key. ``mark`` is its name in
    content keys."""

    name: str
    mark: bytes
    ref: Ref | None
    constant: Source | None
    key: Key | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A node, or an LLM unit (``head`` is its prefill, ``node`` its decode), or a hint (``target``
    is the prefill that it is for), ready to be run.

    ``lists`` names the inputs that groups slice; ``cells`` the output ports (name, is a list);
    ``after`` the ids it is ordered behind; ``static`` digests all that does not depend on inputs
    (None: never shared between queries); ``wires`` are the inputs, ready to be looked up,
    ``limits`` its clocks; ``body`` a region's nodes in order, ``outside`` all that is looked up
    around it; ``keeps``: it fills an unnamed collection; ``streams``: an input arrives item by
    item; ``ahead``: how many iterations of a fold are begun before their turn.
    """

    id: str
    form: Form
    node: Node
    head: Primitive | None
    operation: Operation | None
    inputs: tuple[tuple[str, Operand], ...]
    lists: frozenset[str]
    cells: tuple[tuple[str, bool], ...]
    after: tuple[str, ...]
    static: Key | None
    place: Place
    wires: tuple[Wire, ...]
    limits: Limits
    body: tuple[Prepared, ...] = ()
    outside: frozenset[str] = frozenset()
    keeps: bool = False
    streams: bool = False
    ahead: int = 0
    target: Primitive | None = None

    @property
    def is_hint(self) -> bool:
        """Whether nothing waits for it: it only makes another node quicker."""
        return self.form == "warm"


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A whole plan: the top-level nodes in an order in which each comes after what it needs, and
    all nodes by id. ``hinted`` names the top-level node that a top-level hint is for, or stands in.
    """

    graph: PGraph
    top: tuple[Prepared, ...]
    by_id: Mapping[str, Prepared]
    consumers: Mapping[str, tuple[str, ...]]
    hinted: Mapping[str, str]


def prepare(graph: PGraph, identities: Mapping[str, str]) -> Blueprint:
    """Make a graph ready; ``identities`` are the engines' identities by name.

    Raises:
        RunError: the graph has an operation that this runtime does not run.
    """
    return _Preparation(graph, identities).run()


def _all(nodes: Iterable[Prepared]) -> Iterator[Prepared]:
    for prepared in nodes:
        yield prepared
        yield from _all(prepared.body)


def _orders(body: Iterable[Prepared]) -> set[str]:
    """What the nodes of a body are ordered behind."""
    return {before for prepared in _all(body) for before in prepared.after}


def _wires(inputs: Mapping[str, Operand]) -> tuple[Wire, ...]:
    return tuple(_wire(name, operand) for name, operand in inputs.items())


def _wire(name: str, operand: Operand) -> Wire:
    if isinstance(operand, Ref):
        return Wire(name, name.encode(), operand, None, None)
    key = of_json(operand.value)
    return Wire(name, name.encode(), None, Source(constant(operand.value, key)), key)


class _Preparation:
    def __init__(self, graph: PGraph, identities: Mapping[str, str]) -> None:
        self.graph = graph
        self.identities = identities
        self.needs = dependencies(graph)
        self.resolve = resolver(graph.by_id)
        self.decodes = {
            operand.node: node.id
            for node in graph.nodes
            if isinstance(node, Primitive) and node.operation == "decode"
            for name, operand in node.inputs.items()
            if name == "state" and isinstance(operand, Ref)
        }
        self.order: dict[str, list[str]] = {}
        for edge in sorted(graph.edges):
            self.order.setdefault(self.unit(edge.target), []).append(self.unit(edge.source))
        self.inside: dict[str, list[Node]] = {}
        for node in graph.nodes:
            if node.id not in self.decodes:
                self.inside.setdefault(node.region, []).append(node)

    def unit(self, node_id: str) -> str:
        """The id under which a node runs: a prefill runs as its decode."""
        return self.decodes.get(node_id, node_id)

    def run(self) -> Blueprint:
        top = self.region("")
        consumers: dict[str, list[str]] = {}
        for prepared in top:
            for source in () if prepared.is_hint else self.unit_needs(prepared):
                consumers.setdefault(source, []).append(prepared.id)
        by_id = {prepared.id: prepared for prepared in _all(top)}
        hinted = {one.id: self.outermost(one.target) for one in top if one.target is not None}
        return Blueprint(
            self.graph, top, by_id, {key: tuple(v) for key, v in consumers.items()}, hinted
        )

    def outermost(self, node: Node) -> str:
        """The id under which a node runs at the top: that of the outermost region around it."""
        while node.region:
            node = self.graph.by_id[node.region]
        return self.unit(node.id)

    def unit_needs(self, prepared: Prepared) -> set[str]:
        needs = set(self.needs[prepared.id])
        if prepared.head is not None:
            needs |= self.needs[prepared.head.id]
        return {self.unit(need) for need in needs} - {prepared.id}

    def region(self, region: str) -> tuple[Prepared, ...]:
        """The prepared nodes of one region, each after what it needs."""
        nodes = {node.id: self.node(node) for node in self.inside.get(region, ())}
        ordered: dict[str, Prepared] = {}
        waiting = list(nodes)
        while waiting:
            later = []
            for node_id in waiting:
                if self.unit_needs(nodes[node_id]) <= ordered.keys():
                    ordered[node_id] = nodes[node_id]
                else:
                    later.append(node_id)
            if len(later) == len(waiting):
                raise RunError(f"the graph {self.graph.name!r} has a cycle among {later}")
            waiting = later
        return tuple(ordered.values())

    def node(self, node: Node) -> Prepared:
        if node.guard:
            raise RunError(f"{self.graph.name}: %{node.id} has a guard, which cannot be run yet")
        if isinstance(node, Region):
            return self.prepared_region(node)
        operation = OPERATIONS[node.operation]
        if operation.hint:
            return self.prepared_hint(node, operation)
        head = self.head(node)
        inputs = {**(head.inputs if head else {}), **node.inputs}
        inputs = {key: value for key, value in inputs.items() if not self.is_state(head, value)}
        return Prepared(
            node.id,
            self.form(node),
            node,
            head,
            operation,
            tuple(inputs.items()),
            self.list_inputs(node),
            tuple((name, out.is_list) for name, out in operation.outputs.items()),
            tuple(self.order.get(node.id, ())),
            self.static(node, head, operation),
            self.place(node),
            _wires(inputs),
            Limits.of(node.config),
            keeps=node.operation == "ingest" and "collection" not in node.inputs,
            streams=any(isinstance(value, Ref) and value.stream for value in inputs.values()),
        )

    def prepared_hint(self, node: Primitive, operation: Operation) -> Prepared:
        target = self.graph.by_id.get(str(node.config.get("hint")))
        if not isinstance(target, Primitive):
            raise RunError(f"{self.graph.name}: %{node.id} is a hint for nothing")
        return Prepared(
            node.id,
            "warm",
            node,
            None,
            operation,
            tuple(node.inputs.items()),
            frozenset(),
            (),
            tuple(self.order.get(node.id, ())),
            None,
            self.place(node),
            _wires(node.inputs),
            Limits(),
            target=target,
        )

    def is_state(self, head: Primitive | None, operand: Operand) -> bool:
        return head is not None and isinstance(operand, Ref) and operand.node == head.id

    def head(self, node: Primitive) -> Primitive | None:
        if node.operation != "decode":
            return None
        state = node.inputs["state"]
        head = self.graph.by_id.get(state.node) if isinstance(state, Ref) else None
        if not isinstance(head, Primitive):
            raise RunError(f"{self.graph.name}: %{node.id} decodes nothing")
        return head

    def form(self, node: Primitive) -> Form:
        if node.operation == "decode":
            return "llm"
        for form, table in (("cpu", CPU), ("scan", SCANS), ("engine", ENGINE)):
            if node.operation in table:
                return form  # type: ignore[return-value]  # the three words are Forms
        raise RunError(f"{self.graph.name}: %{node.id}: this runtime has no {node.operation!r}")

    def list_inputs(self, node: Primitive) -> frozenset[str]:
        kinds = input_kinds(node).items()
        return frozenset(name for name, kind in kinds if kind in ("map", "scan"))

    def static(self, node: Primitive, head: Primitive | None, operation: Operation) -> Key | None:
        """The part of the content key that no input changes; None where a result may not be
        shared (it writes or reads what has a name, or samples)."""
        reads, writes = operation.effects(node, self.resolve)
        if reads or writes or not (operation.pure or node.operation == "ingest"):
            return None
        if head is not None and not OPERATIONS[head.operation].deterministic(head):
            return None
        engine = self.identities.get(node.engine or "", "").encode()
        configs = [dict(node.config), dict(head.config) if head else {}]
        for name in ("tokenizer", "embedder"):
            named = node.config.get(name)
            configs += [{name: self.identities.get(named, named)}] if isinstance(named, str) else []
        return digest(node.operation.encode(), engine, of_json(configs))

    def prepared_region(self, node: Region) -> Prepared:
        body = self.region(node.id)
        work = [inner for inner in body if not inner.is_hint]
        parts = [node.kind.encode(), of_json(dict(node.config))]
        for inner in work:
            if inner.static is None:
                parts = []
                break
            wiring = {name: repr(operand) for name, operand in inner.inputs}
            parts += [inner.id.encode(), inner.static, of_json(wiring)]
        results = of_json({name: repr(ref) for name, ref in node.results.items()})
        outside = {
            f"{inner.id}:{name}": operand
            for inner in work
            for name, operand in inner.inputs
            if isinstance(operand, Ref) and self.comes_from_outside(operand, node.id)
        }
        inputs = (*node.inputs.items(), *outside.items())
        refs = [operand for _, operand in inputs if isinstance(operand, Ref)]
        after = tuple(self.order.get(node.id, ()))
        around = {ref.node for ref in (*refs, *node.results.values())}
        return Prepared(
            node.id,
            "region",
            node,
            None,
            None,
            inputs,
            frozenset({"items"}),
            tuple((name, node.kind == "each") for name in node.results),
            after,
            digest(*parts, results) if parts else None,
            self.place(node),
            _wires(dict(inputs)),
            Limits(),
            body,
            frozenset(around.union(after, _orders(body))),
            ahead=0 if self.writes(body) else int(str(node.config.get("ahead") or 0)),
        )

    def writes(self, body: Iterable[Prepared]) -> bool:
        """Whether something in a body changes what has a name: iterations keep their order then."""
        return any(
            isinstance(one.node, Primitive)
            and one.operation is not None
            and one.operation.effects(one.node, self.resolve)[1]
            for one in _all(body)
        )

    def comes_from_outside(self, ref: Ref, region: str) -> bool:
        """Whether a body's reference reaches out of its region (and inputs: broadcast, whole)."""
        if ref.node in (INPUTS, region):
            return ref.node == INPUTS
        node = self.graph.by_id[ref.node]
        while node.region:
            if node.region == region:
                return False
            node = self.graph.by_id[node.region]
        return True

    def place(self, node: Node) -> Place:
        engine = node.engine if isinstance(node, Primitive) else None
        return Place(self.graph.name, node.module or node.id, node.line, node.id, engine)
