"""The plan file (``*.plan.json``): its models, and how a graph is written in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from teola.compiler.engines import portable
from teola.compiler.graph.pgraph import (
    Const,
    Edge,
    Guard,
    InputPort,
    Node,
    Operand,
    OutputPort,
    PGraph,
    Primitive,
    Ref,
    Region,
)
from teola.compiler.passes.report import PassReport

SCHEMA = "teola.plan/1"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RefModel(_Model):
    """A reference to a node's port, or to an input of the workflow (node ``inputs``)."""

    node: str
    port: str
    fields: tuple[str, ...] = ()
    stream: bool = False
    default: tuple[JsonValue] | None = None


class ConstModel(_Model):
    """A constant operand."""

    value: JsonValue


OperandModel = RefModel | ConstModel


class GuardModel(_Model):
    """A condition under which the node runs."""

    condition: RefModel
    polarity: bool = True


class _NodeModel(_Model):
    id: str
    inputs: dict[str, OperandModel]
    config: dict[str, JsonValue] = {}
    guard: tuple[GuardModel, ...] = ()
    region: str = ""
    module: str = ""
    line: int = 0


class PrimitiveModel(_NodeModel):
    """One primitive."""

    operation: str
    engine: str | None = None
    group: int | None = None


class RegionModel(_NodeModel):
    """A region: its body is the nodes that name it."""

    kind: Literal["each", "fold", "reduce"]
    results: dict[str, RefModel]


class InputModel(_Model):
    """An input of the workflow; without ``default`` it must be given."""

    name: str
    type: str
    default: tuple[JsonValue] | None = None
    description: str = ""


class OutputModel(_Model):
    """An output of the workflow; the first is the main one."""

    name: str
    type: str
    ref: RefModel


class EdgeModel(_Model):
    """``target`` waits for ``source``."""

    kind: Literal["order", "effect"]
    source: str
    target: str


class PassModel(_Model):
    """What one pass did."""

    name: str
    changed: bool
    nodes: tuple[int, int]
    edges: tuple[int, int]


class PlanFile(_Model):
    """A compiled workflow: the p-graph with its engines, prompts, inputs and outputs."""

    schema_: Annotated[Literal["teola.plan/1"], Field(alias="schema")]
    compiler: str
    name: str
    options: str
    profile: str = ""
    inputs: tuple[InputModel, ...]
    outputs: tuple[OutputModel, ...]
    engines: dict[str, dict[str, JsonValue]]
    modules: dict[str, str] = {}
    nodes: tuple[PrimitiveModel | RegionModel, ...]
    edges: tuple[EdgeModel, ...]
    passes: tuple[PassModel, ...] = ()
    deadline_s: float | None = None
    content_hash: str


def plan_schema() -> dict[str, Any]:
    """The JSON Schema of plan files."""
    schema = PlanFile.model_json_schema(by_alias=True)
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Teola plan", **schema}


def _ref(ref: Ref) -> dict[str, Any]:
    found: dict[str, Any] = {"node": ref.node, "port": ref.port}
    if ref.fields:
        found["fields"] = list(ref.fields)
    if ref.stream:
        found["stream"] = True
    if ref.default is not None:
        found["default"] = list(ref.default)
    return found


def _operand(operand: Operand) -> dict[str, Any]:
    return _ref(operand) if isinstance(operand, Ref) else {"value": operand.value}


def without_defaults(**values: Any) -> dict[str, Any]:
    """The values that say something."""
    return {key: value for key, value in values.items() if value not in ("", None, {}, [])}


def _node(node: Node) -> dict[str, Any]:
    common = without_defaults(
        config=dict(node.config),
        guard=[{"condition": _ref(g.condition), "polarity": g.polarity} for g in node.guard],
        region=node.region,
        module=node.module,
        line=node.line,
    )
    inputs = {name: _operand(operand) for name, operand in node.inputs.items()}
    if isinstance(node, Region):
        results = {name: _ref(ref) for name, ref in node.results.items()}
        return {"id": node.id, "kind": node.kind, "inputs": inputs, "results": results, **common}
    extra = without_defaults(engine=node.engine, group=node.group)
    return {"id": node.id, "operation": node.operation, "inputs": inputs, **extra, **common}


def encode_graph(graph: PGraph, inputs: Sequence[InputPort]) -> dict[str, Any]:
    """The part of a plan file that is the graph; ``inputs`` are its own as the file names them."""
    return {
        "inputs": [
            {
                "name": port.name,
                "type": port.type,
                **({} if port.default is None else {"default": list(port.default)}),
                **without_defaults(description=port.description),
            }
            for port in inputs
        ],
        "outputs": [{"name": o.name, "type": o.type, "ref": _ref(o.ref)} for o in graph.outputs],
        "engines": {name: portable(config) for name, config in graph.engines.items()},
        **without_defaults(modules=dict(graph.modules)),
        "nodes": [_node(node) for node in graph.nodes],
        "edges": [
            {"kind": e.kind, "source": e.source, "target": e.target} for e in sorted(graph.edges)
        ],
    }


def encode_reports(reports: Sequence[PassReport]) -> list[dict[str, Any]]:
    """What the passes did; times are left out, a plan is the same whenever it is made."""
    return [
        {
            "name": report.name,
            "changed": report.changed,
            "nodes": [report.nodes_before, report.nodes_after],
            "edges": [report.edges_before, report.edges_after],
        }
        for report in reports
    ]


def _to_ref(model: RefModel) -> Ref:
    return Ref(model.node, model.port, model.fields, model.stream, model.default)


def _to_operands(models: Mapping[str, OperandModel]) -> dict[str, Operand]:
    return {
        name: _to_ref(model) if isinstance(model, RefModel) else Const(model.value)
        for name, model in models.items()
    }


def _to_node(model: PrimitiveModel | RegionModel) -> Node:
    guard = tuple(Guard(_to_ref(g.condition), g.polarity) for g in model.guard)
    inputs = _to_operands(model.inputs)
    if isinstance(model, RegionModel):
        results = {name: _to_ref(ref) for name, ref in model.results.items()}
        return Region(
            model.id,
            model.kind,
            inputs,
            results,
            model.config,
            guard,
            model.region,
            model.module,
            model.line,
        )
    return Primitive(
        model.id,
        model.operation,
        inputs,
        model.config,
        model.engine,
        guard,
        model.region,
        model.group,
        model.module,
        model.line,
    )


def decode_graph(file: PlanFile) -> PGraph:
    """The graph of a plan file."""
    return PGraph(
        file.name,
        tuple(InputPort(p.name, p.type, p.default, p.description) for p in file.inputs),
        tuple(OutputPort(out.name, out.type, _to_ref(out.ref)) for out in file.outputs),
        tuple(_to_node(node) for node in file.nodes),
        frozenset(Edge(edge.kind, edge.source, edge.target) for edge in file.edges),
        file.engines,
        file.modules,
    )


def decode_reports(file: PlanFile) -> tuple[PassReport, ...]:
    """What the passes did."""
    return tuple(
        PassReport(p.name, p.changed, *p.nodes, *p.edges, seconds=0.0) for p in file.passes
    )
