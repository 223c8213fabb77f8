"""References (language.md, rule 4): ``root.port(.field)*``, or ``{from: …, default: …}``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from teola.compiler.check.constants import fitting
from teola.compiler.check.context import Context, Draft, listed
from teola.compiler.diagnostics import nearest
from teola.compiler.graph.pgraph import INPUTS, Json, Ref
from teola.compiler.source import TreePath
from teola.compiler.types import FIELDS, Type, described, field_type
from teola.compiler.values import coerced

FOREIGN_ROOTS = ("modules", "steps", "nodes", "jobs", "tasks", "needs", "workflow")
"""What references begin with elsewhere."""

REFERENCE = re.compile(r"[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*")


@dataclass(frozen=True, slots=True)
class Resolved:
    """A reference that was found: what it delivers, and where that is declared in the file."""

    ref: Ref
    type: Type
    declared: TreePath

    @property
    def text(self) -> str:
        """The reference as it is written."""
        return ".".join((self.ref.node, self.ref.port, *self.ref.fields))


def is_reference(value: object) -> bool:
    """Whether a value has the form of a reference, short or long."""
    if isinstance(value, Mapping):
        return "from" in value
    return isinstance(value, str) and REFERENCE.fullmatch(value) is not None


def in_scope(context: Context, value: object) -> bool:
    """Whether a string is a valid reference here: it has a root, and the root that port."""
    if not isinstance(value, str) or not REFERENCE.fullmatch(value) or "." not in value:
        return False
    root, port = value.split(".")[:2]
    if root == INPUTS:
        return port in context.inputs
    module = context.modules.get(root)
    return module is not None and module.outputs is not None and port in module.outputs


def resolve(context: Context, path: TreePath, value: object, key: str = "") -> Resolved | None:
    """Find what the reference at ``path`` means; problems are reported, and None is returned.

    ``key`` is the name of the value that it is bound to: it helps to guess.
    """
    if isinstance(value, Mapping):
        return _long_form(context, path, value, key)
    if not isinstance(value, str) or not REFERENCE.fullmatch(value):
        shown = repr(value) if isinstance(value, str) else described(cast(Json, value))
        context.error(
            "bad-reference",
            f"{shown} is not a reference",
            path,
            help="a reference is module.port, or inputs.name",
        )
        return None
    root, *rest = value.split(".")
    if not rest:
        _bare_name(context, path, root, key)
        return None
    if _spelled_elsewhere(context, path, value):
        return None
    found = (
        _input(context, path, rest[0]) if root == INPUTS else _port(context, path, root, rest[0])
    )
    return found and _fields(context, path, found, rest[1:])


def _spelled_elsewhere(context: Context, path: TreePath, text: str) -> bool:
    """``steps.found.outputs.passages``: reported, with the plain spelling."""
    root, *rest = text.split(".")
    foreign = root in FOREIGN_ROOTS and root not in context.modules
    plain = rest if foreign else [root, *rest]
    module = context.modules.get(plain[0])
    ports = (module.outputs or ()) if module is not None else ("outputs",)
    if len(plain) > 2 and plain[1] == "outputs" and "outputs" not in ports:
        plain = [plain[0], *plain[2:]]
    if plain == [root, *rest]:
        return False
    context.error(
        "bad-reference",
        f"{text!r} is not a reference: a reference is module.port, or inputs.name",
        path,
        help=f"write {'.'.join(plain)}",
    )
    return True


def _long_form(
    context: Context, path: TreePath, value: Mapping[str, object], key: str
) -> Resolved | None:
    for name in value:
        if name not in ("from", "default"):
            context.error(
                "unknown-key",
                f"a reference has no key {name!r}",
                (*path, str(name)),
                key=True,
                help="write {from: a.b, default: constant}",
            )
    found = resolve(context, (*path, "from"), value.get("from"), key)
    if found is None or "default" not in value:
        return found
    default = cast(Json, value["default"])
    what = f"the default of {found.text!r}"
    if fitting(context, (*path, "default"), default, [found.type], what) is None:
        return None
    return replace(found, ref=replace(found.ref, default=(coerced(default, found.type),)))


def _bare_name(context: Context, path: TreePath, name: str, key: str) -> None:
    """Say which port is missing, or whose name it may be."""
    module = context.modules.get(name)
    if module is not None:
        ports = listed(module.outputs) if module.outputs is not None else ""
        context.error(
            "missing-port",
            f"{name!r} is a module, not one of its outputs",
            path,
            notes=[f"{name!r} has outputs: {ports}"] if ports else (),
            help=_port_help(module, key),
        )
        return
    if name in context.inputs:
        help: str | None = f"did you mean '{INPUTS}.{name}'?"
    else:
        near = nearest(name, [*context.modules, *context.inputs])
        near = f"{INPUTS}.{near}" if near in context.inputs else near
        help = f"did you mean {near!r}?" if near else None
    context.error(
        "bad-reference",
        f"{name!r} is not a reference",
        path,
        notes=["a reference is module.port or inputs.name; a constant stands under with:"],
        help=help or (f"with: {{{key}: {name}}}" if key else None),
    )


def _port_help(module: Draft, key: str) -> str | None:
    ports = list(module.outputs or ())
    port = key if key in ports else ports[0] if len(ports) == 1 else None
    return f"did you mean '{module.id}.{port}'?" if port else None


def _input(context: Context, path: TreePath, name: str) -> Resolved | None:
    declared = context.inputs.get(name)
    if declared is None:
        near = nearest(name, context.inputs)
        context.error(
            "unknown-input",
            f"the workflow has no input {name!r}",
            path,
            notes=[f"inputs: {listed(context.inputs)}"],
            help=f"did you mean '{INPUTS}.{near}'?" if near else None,
        )
        return None
    context.mentioned.add(name)
    if declared.type is None:
        return None
    return Resolved(Ref(INPUTS, name), declared.type, (INPUTS, name))


def _port(context: Context, path: TreePath, root: str, port: str) -> Resolved | None:
    module = context.modules.get(root)
    if module is None:
        near = nearest(root, [*context.modules, INPUTS])
        context.error(
            "unknown-module",
            f"there is no module {root!r}",
            path,
            notes=[f"modules: {listed(context.modules)}"],
            help=f"did you mean '{near}.{port}'?" if near else None,
        )
        return None
    if module.outputs is None:
        return None
    if port not in module.outputs:
        ports = list(module.outputs)
        near = nearest(port, ports) or (ports[0] if len(ports) == 1 else None)
        context.error(
            "unknown-port",
            f"module {root!r} has no output {port!r}",
            path,
            notes=[f"{root!r} has outputs: {listed(ports)}"],
            help=f"did you mean '{root}.{near}'?" if near else None,
        )
        return None
    return Resolved(Ref(root, port), module.outputs[port], module.path)


def _fields(
    context: Context, path: TreePath, found: Resolved, fields: list[str]
) -> Resolved | None:
    for name in fields:
        inner = field_type(found.type, name)
        if inner is None:
            _no_field(context, path, found, name)
            return None
        found = replace(found, ref=replace(found.ref, fields=(*found.ref.fields, name)), type=inner)
    return found


def _no_field(context: Context, path: TreePath, found: Resolved, name: str) -> None:
    if found.type.item is not None:
        context.error(
            "field-of-list",
            f"{found.text!r} is a {found.type}: a field of its items needs 'foreach', it is not "
            "possible on a list",
            path,
            help=f"take the whole list: {found.text}",
        )
        return
    fields = FIELDS.get(found.type.name, {})
    near = nearest(name, fields)
    context.error(
        "unknown-field",
        f"{found.text!r} is a {found.type}, which has no field {name!r}",
        path,
        notes=[f"a {found.type} has fields: {listed(fields)}"] if fields else (),
        help=f"did you mean '{found.text}.{near}'?" if near else None,
    )
