"""The module graph of a workflow in which nothing is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from teola.compiler.check.context import Context, Draft
from teola.compiler.check.ports import input_ports
from teola.compiler.engines import EngineSettings, canonical
from teola.compiler.graph.module_graph import ModuleGraph, ModuleNode, WorkflowOutput
from teola.compiler.graph.pgraph import Json
from teola.compiler.spec import TaskLimits, WorkflowSpec


def assemble(
    context: Context,
    spec: WorkflowSpec,
    order: Sequence[Draft],
    outputs: tuple[WorkflowOutput, ...],
    engines: Mapping[str, EngineSettings],
) -> ModuleGraph | None:
    """Put the checked parts together; modules stand in chain order."""
    nodes = [_node(context, spec, module) for module in order]
    if not all(nodes):
        return None
    return ModuleGraph(
        spec.name,
        tuple(node for node in nodes if node is not None),
        input_ports(context),
        outputs,
        {name: canonical(engine) for name, engine in engines.items()},
        spec.description,
        spec.deadline,
    )


def _node(context: Context, spec: WorkflowSpec, module: Draft) -> ModuleNode | None:
    if module.definition is None or module.settings is None or module.outputs is None:
        return None
    return ModuleNode(
        module.id,
        module.definition,
        module.bindings,
        module.settings,
        module.outputs,
        module.engines,
        _control(spec.defaults, spec.modules[module.id]),
        module.needs,
        (),
        context.tree.key_span(module.path).line,
    )


def _control(defaults: TaskLimits, own: TaskLimits) -> Mapping[str, Json]:
    """Clocks and retries: the module's own, else the defaults."""
    found: dict[str, Json] = {}
    for name, key in (("timeout", "timeout_s"), ("idle_timeout", "idle_timeout_s")):
        given = getattr(own if name in own.model_fields_set else defaults, name)
        if given is not None:
            found[key] = given
    retry = own.retry if "retry" in own.model_fields_set else defaults.retry
    if retry is not None:
        found["retry"] = retry.config()
    return found
