"""Inputs and outputs of the workflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teola.compiler.check.constants import fitting
from teola.compiler.check.context import Context, DeclaredInput
from teola.compiler.check.files import check_document
from teola.compiler.check.references import is_reference, resolve
from teola.compiler.graph.module_graph import WorkflowOutput
from teola.compiler.graph.pgraph import INPUTS, InputPort, Json, Ref
from teola.compiler.source import TreePath
from teola.compiler.types import Type, TypeSyntaxError, parse_type
from teola.compiler.values import coerced


def read_inputs(context: Context) -> None:
    """The declared inputs: their types, and defaults that fit them."""
    for name, declared in context.section(INPUTS).items():
        context.inputs[str(name)] = _input(context, str(name), declared)


def _input(context: Context, name: str, declared: Any) -> DeclaredInput:
    path: TreePath = (INPUTS, name)
    if not isinstance(declared, Mapping):
        return DeclaredInput(name, _type(declared))
    of = _type(declared.get("type"))
    description = declared.get("description")
    text = description if isinstance(description, str) else ""
    if "default" not in declared:
        return DeclaredInput(name, of, None, text)
    default = declared["default"]
    path = (*path, "default")
    if of is not None and of.text in ("document", "list<document>"):
        _check_documents(context, path, default)
    if of is not None and fitting(context, path, default, [of], f"the default of {name!r}"):
        default = coerced(default, of)
    return DeclaredInput(name, of, (default,), text)


def _type(given: object) -> Type | None:
    """The type; None where it is not valid, which the check of the file's structure reports."""
    try:
        return parse_type(given) if isinstance(given, str) else None
    except TypeSyntaxError:
        return None


def _check_documents(context: Context, path: TreePath, default: Json) -> None:
    if isinstance(default, list):
        for index, item in enumerate(default):
            _check_documents(context, (*path, index), item)
    elif isinstance(default, str):
        check_document(context, path, default)


def input_ports(context: Context) -> tuple[InputPort, ...]:
    """The inputs as the graph holds them."""
    return tuple(
        InputPort(declared.name, str(declared.type), declared.default, declared.description)
        for declared in context.inputs.values()
        if declared.type is not None
    )


def read_outputs(context: Context) -> tuple[WorkflowOutput, ...]:
    """The outputs; the first is the main one."""
    found = []
    for name, given in context.section("outputs").items():
        path = ("outputs", str(name))
        if not isinstance(given, str) and not (isinstance(given, dict) and is_reference(given)):
            continue  # its shape is reported where the file's structure is checked
        resolved = resolve(context, path, given, str(name))
        if resolved is None:
            continue
        if resolved.type.name in ("collection", "embedding"):
            context.error(
                "type-mismatch",
                f"{resolved.text!r} is {resolved.type}, which cannot leave the workflow",
                path,
            )
            continue
        found.append(WorkflowOutput(str(name), resolved.ref, resolved.type))
    return tuple(found)


def lint_unused(context: Context, outputs: tuple[WorkflowOutput, ...]) -> None:
    """Inputs and engines that nothing uses, and modules whose work nobody sees."""
    for name in context.inputs:
        if name not in context.mentioned:
            context.lint(
                "unused-input", f"nothing uses the input {name!r}", (INPUTS, name), key=True
            )
    used = {name for module in context.modules.values() for name in module.engines.values()}
    for name in context.engines:
        if name not in used:
            context.lint(
                "unused-engine",
                f"no module runs on the engine {name!r}",
                ("engines", name),
                key=True,
            )
    wanted = [output.ref.node for output in outputs]
    wanted += [module.id for module in context.modules.values() if _leaves_traces(module.bindings)]
    wanted += [needed for module in context.modules.values() for needed in module.needs]
    seen: set[str] = set()
    while wanted:
        id_ = wanted.pop()
        if id_ in seen or id_ == INPUTS:
            continue
        seen.add(id_)
        refs = (binding.operand for binding in context.modules[id_].bindings.values())
        wanted += [ref.node for ref in refs if isinstance(ref, Ref)]
    for module in context.modules.values():
        if module.id not in seen:
            context.lint(
                "unused-module", f"no output depends on {module.id!r}", module.path, key=True
            )


def _leaves_traces(bindings: Mapping[str, Any]) -> bool:
    """Whether a module writes a collection with a name: others may read it later."""
    return "collection" in bindings and bindings["collection"].target.name == "text"
