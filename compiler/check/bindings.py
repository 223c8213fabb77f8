"""Values of a module, each bound once: by reference under ``inputs`` or constant under ``with``."""

from __future__ import annotations

import json
from typing import cast

from teola.compiler.check.constants import fitting
from teola.compiler.check.context import Context, Draft, listed
from teola.compiler.check.references import Resolved, in_scope, is_reference, resolve
from teola.compiler.diagnostics import nearest
from teola.compiler.graph.module_graph import Binding
from teola.compiler.graph.pgraph import INPUTS, Const, Json, Ref
from teola.compiler.modules.definition import ModuleDefinition, Value
from teola.compiler.source import TreePath
from teola.compiler.types import Type, conversion, described
from teola.compiler.values import coerced

UNFIT_FOR_PROMPTS = ("collection", "embedding")


def bind_values(context: Context, module: Draft) -> None:
    """Bind every value and further input of ``module``, defaults included."""
    definition = module.definition
    if definition is None:
        _check_references(context, module)
        return
    for name, given in module.mapping("inputs").items():
        _bind_reference(context, module, definition, str(name), given)
    for name, given in module.mapping("with").items():
        if name in definition.values:
            _bind_constant(context, module, name, definition.values[name], given)
    for name, value in definition.values.items():
        if value.default is not None and not _given(module, name):
            constant = Const(coerced(value.default[0], value.types[0]))
            module.bindings[name] = Binding(constant, value.types[0], value.types[0])
    _check_missing(context, module, definition)


def _check_references(context: Context, module: Draft) -> None:
    """What a module of unknown kind refers to can be checked all the same."""
    for name, given in module.mapping("inputs").items():
        if isinstance(given, (str, dict)) and is_reference(given):
            resolve(context, (*module.path, "inputs", name), given, str(name))


def _given(module: Draft, name: str) -> bool:
    return name in module.mapping("inputs") or name in module.mapping("with")


def _bind_reference(
    context: Context, module: Draft, definition: ModuleDefinition, name: str, given: object
) -> None:
    path = (*module.path, "inputs", name)
    value = definition.values.get(name)
    if value is None and not (definition.open_inputs and name not in definition.parameters):
        _unknown_input(context, definition, path, name, given)
        return
    if not is_reference(given) or not isinstance(given, (str, dict)):
        _constant_under_inputs(context, definition, path, name, given)
        return
    found = resolve(context, path, given, name if value is not None else "")
    if found is None:
        return
    target = found.type if value is None else _target(context, path, name, value, found)
    if value is None and found.type.name in UNFIT_FOR_PROMPTS:
        context.error("type-mismatch", f"a {found.type} cannot enter a prompt", path)
        return
    if target is not None and value is not None and value.least is not None:
        _check_defaults(context, path, name, value.least, found.ref)
    if target is not None:
        module.bindings[name] = Binding(found.ref, found.type, target)


def _check_defaults(context: Context, path: TreePath, name: str, least: int, ref: Ref) -> None:
    """Constants that may come by a reference: its own default, and that of a workflow's input."""
    declared = context.inputs.get(ref.port) if ref.node == INPUTS and not ref.fields else None
    places = [
        (ref.default, (*path, "default")),
        (declared.default if declared is not None else None, (INPUTS, ref.port, "default")),
    ]
    for default, place in places:
        if default is not None and _below(default[0], least):
            what = f"{name!r}, which takes it, is at least {least}, not {default[0]}"
            context.error("bad-value", what, place)


def _target(
    context: Context, path: TreePath, name: str, value: Value, found: Resolved
) -> Type | None:
    """The type of the value that the reference widens to."""
    for target in value.types:
        if conversion(found.type, target) is not None:
            return target
    wanted = " or ".join(map(str, value.types))
    one_of_many = any(
        found.type.item is not None and conversion(found.type.item, target) is not None
        for target in value.types
    )
    context.error(
        "type-mismatch",
        f"{name!r} takes {wanted}, but {found.text!r} is {found.type}",
        path,
        notes=[
            f"{found.text!r} is declared at {context.place(found.declared)}",
            *(["a list never becomes one of its items"] if one_of_many else []),
        ],
    )
    return None


def _unknown_input(
    context: Context, definition: ModuleDefinition, path: TreePath, name: str, given: object
) -> None:
    if name in definition.settings.model_fields:
        context.error(
            "setting-under-inputs",
            f"{name!r} is a setting of {definition.name}: a constant under 'with:'",
            path,
            key=True,
            help=f"with: {{{name}: {_shown(given)}}}",
        )
        return
    near = nearest(name, definition.values)
    context.error(
        "unknown-input",
        f"{definition.name} has no input {name!r}",
        path,
        key=True,
        notes=[f"{definition.name} takes: {listed(definition.values)}"],
        help=f"did you mean {near!r}?" if near else None,
    )


def _constant_under_inputs(
    context: Context, definition: ModuleDefinition, path: TreePath, name: str, given: object
) -> None:
    takes = name in definition.values
    if takes and _only_by_reference(definition.values[name]):
        help = f"declare an input with a default: {{type: {definition.values[name].types[0]}, …}}"
    elif takes:
        help = f"with: {{{name}: {_shown(given)}}}"
    else:
        help = "write it into the prompt, or declare an input of the workflow with a default"
    context.error(
        "constant-under-inputs",
        f"{_described(given)} is a constant; under 'inputs:' stand references",
        path,
        help=help,
    )


def _only_by_reference(value: Value) -> bool:
    """Whether no constant can stand for the value."""
    return value.types[0].text in ("document", "list<document>", "embedding", "list<embedding>")


def _bind_constant(context: Context, module: Draft, name: str, value: Value, given: Json) -> None:
    path = (*module.path, "with", name)
    if name in module.mapping("inputs"):
        first = context.place((*module.path, "inputs", name))
        context.error(
            "bound-twice", f"{name!r} is bound twice", path, key=True, notes=[f"first at {first}"]
        )
        return
    if in_scope(context, given):
        context.error(
            "reference-under-with",
            f"{given!r} is a reference; under 'with:' stand constants",
            path,
            help=f"inputs: {{{name}: {given}}}",
        )
        return
    if _only_by_reference(value):
        context.error(
            "type-mismatch",
            f"{name!r} takes {value.types[0]}, which cannot be written as a constant",
            path,
            help=f"declare an input with a default: inputs: {{{name}: {{type: {value.types[0]}, "
            "default: …}}",
        )
        return
    target = fitting(context, path, given, value.types, repr(name))
    if target is not None and value.least is not None and _below(given, value.least):
        context.error("bad-value", f"{name!r} is at least {value.least}, not {given}", path)
    elif target is not None:
        module.bindings[name] = Binding(Const(coerced(given, target)), target, target)


def _below(given: object, least: int) -> bool:
    return isinstance(given, int | float) and given < least


def _check_missing(context: Context, module: Draft, definition: ModuleDefinition) -> None:
    """Required values, and groups of which exactly one is bound."""
    missing = [
        name
        for name, value in definition.values.items()
        if value.required and value.default is None and not _given(module, name)
    ]
    for group in definition.one_of:
        given = [name for name in group if _given(module, name)]
        if not given:
            missing.append(" or ".join(group))
        elif len(given) > 1:
            context.error(
                "bound-twice",
                f"{definition.name} takes {' or '.join(group)}, not both",
                (*module.path, "inputs", given[1]),
                key=True,
            )
    if missing:
        lacks = ", ".join(missing)
        context.error(
            "missing-value",
            f"module {module.id!r} ({definition.name}) lacks: {lacks}",
            module.path,
            key=True,
            help=f"bind it under inputs:, as {missing[0].split(' or ')[0]}: module.port",
        )


def _described(given: object) -> str:
    return repr(given) if isinstance(given, str) else described(cast(Json, given))


def _shown(given: object) -> str:
    """A constant as YAML, short."""
    text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    if isinstance(given, str) and not given.replace(" ", "").replace("_", "").isalnum():
        text = json.dumps(given, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"
