"""The plan: one portable file that holds a compiled workflow (``teola.plan/1``)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from teola.compiler.engines import portable
from teola.compiler.errors import PlanError
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
from teola.compiler.graph.verify import verify
from teola.compiler.locations import rebase_defaults
from teola.compiler.passes.pipeline import PassReport
from teola.compiler.version import VERSION

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
    level: str
    inputs: tuple[InputModel, ...]
    outputs: tuple[OutputModel, ...]
    engines: dict[str, dict[str, JsonValue]]
    nodes: tuple[PrimitiveModel | RegionModel, ...]
    edges: tuple[EdgeModel, ...]
    passes: tuple[PassModel, ...] = ()
    deadline_s: float | None = None
    content_hash: str


@dataclass(frozen=True)
class Plan:
    """A compiled workflow.

    ``base`` is the folder that relative document defaults start from; it never enters a file.
    """

    graph: PGraph
    level: str
    reports: tuple[PassReport, ...] = ()
    deadline_s: float | None = None
    base: Path | None = None
    compiler: str = field(default=VERSION)

    @property
    def name(self) -> str:
        """The workflow's name."""
        return self.graph.name

    def to_json(self, folder: Path | None = None) -> str:
        """The plan as a file's text; defaults that are paths become relative to ``folder``."""
        body = _encode(self, rebase_defaults(self.graph.inputs, self.base, folder))
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        return json.dumps({**body, "content_hash": digest}, indent=1, ensure_ascii=False) + "\n"

    def save(self, path: Path) -> None:
        """Write the plan file."""
        path.write_text(self.to_json(path.resolve().parent), encoding="utf-8")

    @staticmethod
    def load(path: Path) -> Plan:
        """Read and verify a plan file.

        Raises:
            PlanError: not a plan, damaged, or of a newer schema; the message says which.
            GraphError: its graph breaks the operation table.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PlanError(f"{path}: the plan cannot be read: {error}") from error
        return load_plan(text, str(path), path.resolve().parent)


def load_plan(text: str, name: str, base: Path | None) -> Plan:
    """Read a plan from its text; ``name`` stands in messages."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{name}: not a plan file: {error}") from error
    if not isinstance(data, dict) or not str(data.get("schema", "")).startswith("teola.plan/"):
        raise PlanError(f'{name}: not a plan file: it has no "schema": "{SCHEMA}"')
    if data["schema"] != SCHEMA:
        raise PlanError(
            f"{name}: the plan is of schema {data['schema']}, this Teola ({VERSION}) reads "
            f"{SCHEMA}: update Teola, or compile the workflow again"
        )
    try:
        file = PlanFile.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PlanError(f"{name}: the plan is damaged at {where}: {first['msg']}") from error
    body = {key: value for key, value in data.items() if key != "content_hash"}
    if hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest() != file.content_hash:
        raise PlanError(
            f"{name}: the plan was changed after it was compiled (its content hash does not "
            "match): compile the workflow again"
        )
    plan = _decode(file, base)
    verify(plan.graph)
    return plan


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


def _without_defaults(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in ("", None, {}, [])}


def _node(node: Node) -> dict[str, Any]:
    common = _without_defaults(
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
    extra = _without_defaults(engine=node.engine, group=node.group)
    return {"id": node.id, "operation": node.operation, "inputs": inputs, **extra, **common}


def _encode(plan: Plan, inputs: Sequence[InputPort]) -> dict[str, Any]:
    graph = plan.graph
    return {
        "schema": SCHEMA,
        "compiler": plan.compiler,
        "name": graph.name,
        "level": plan.level,
        **_without_defaults(deadline_s=plan.deadline_s),
        "inputs": [
            {
                "name": port.name,
                "type": port.type,
                **({} if port.default is None else {"default": list(port.default)}),
                **_without_defaults(description=port.description),
            }
            for port in inputs
        ],
        "outputs": [{"name": o.name, "type": o.type, "ref": _ref(o.ref)} for o in graph.outputs],
        "engines": {name: portable(config) for name, config in graph.engines.items()},
        "nodes": [_node(node) for node in graph.nodes],
        "edges": [
            {"kind": e.kind, "source": e.source, "target": e.target} for e in sorted(graph.edges)
        ],
        "passes": [
            {
                "name": report.name,
                "changed": report.changed,
                "nodes": [report.nodes_before, report.nodes_after],
                "edges": [report.edges_before, report.edges_after],
            }
            for report in plan.reports
        ],
    }


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


def _decode(file: PlanFile, base: Path | None) -> Plan:
    graph = PGraph(
        file.name,
        tuple(InputPort(p.name, p.type, p.default, p.description) for p in file.inputs),
        tuple(OutputPort(out.name, out.type, _to_ref(out.ref)) for out in file.outputs),
        tuple(_to_node(node) for node in file.nodes),
        frozenset(Edge(edge.kind, edge.source, edge.target) for edge in file.edges),
        file.engines,
    )
    reports = tuple(
        PassReport(p.name, p.changed, *p.nodes, *p.edges, seconds=0.0) for p in file.passes
    )
    return Plan(graph, file.level, reports, file.deadline_s, base, file.compiler)
