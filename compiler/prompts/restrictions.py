"""What prompts may not use, said before anything is rendered."""

from __future__ import annotations

from jinja2 import nodes

from teola.compiler.diagnostics import nearest
from teola.compiler.prompts.environment import ENVIRONMENT
from teola.compiler.prompts.errors import PromptError

_STATEMENTS: tuple[tuple[type[nodes.Node], str], ...] = (
    (nodes.Include, "include"),
    (nodes.Import, "import"),
    (nodes.FromImport, "import"),
    (nodes.Extends, "extends"),
    (nodes.Macro, "macro"),
    (nodes.CallBlock, "call"),
    (nodes.Block, "block"),
    (nodes.NSRef, "namespace"),
)

_ABSENT = {
    "now": "give the time as an input of the module",
    "random": "prompts render the same text each time",
    "lipsum": None,
    "cycler": "use `loop.cycle`",
    "joiner": "use `{% if not loop.last %}`",
    "namespace": None,
    "dict": "write a map: {a: 1}",
    "super": None,
    "self": None,
    "caller": None,
}

_METHODS = {
    "items": "| items",
    "upper": "| upper",
    "lower": "| lower",
    "title": "| title",
    "strip": "| trim",
    "join": "| join",
    "replace": "| replace",
    "format": "| format",
    "get": "| default, or ['key']",
    "keys": "{% for key in map %}",
    "values": "| items",
}


def check_restrictions(tree: nodes.Template) -> None:
    """Refuse what reaches out of a template, defines code, or calls anything but ``range``.

    Raises:
        PromptError: naming the construct, its line, and what to write instead.
    """
    for node in _walk(tree):
        for kind, word in _STATEMENTS:
            if isinstance(node, kind):
                raise PromptError(f"prompts have no `{word}`", node.lineno)
        match node:
            case nodes.Filter() if node.name not in ENVIRONMENT.filters:
                _refuse_filter(node)
            case nodes.Test() if node.name not in ENVIRONMENT.tests:
                raise PromptError(f"there is no test `is {node.name}`", node.lineno)
            case nodes.Call():
                _check_call(node)
            case nodes.Name() if node.name in _ABSENT and node.ctx == "load":
                _check_name(node)
            case nodes.Pow():
                raise PromptError("prompts have no `**`", node.lineno)


def _walk(node: nodes.Node) -> list[nodes.Node]:
    found = [node]
    for child in found:  # grows while it is walked
        found.extend(child.iter_child_nodes())
    return found


def _refuse_filter(node: nodes.Filter) -> None:
    near = nearest(node.name, ENVIRONMENT.filters)
    raise PromptError(
        f"prompts have no filter `{node.name}`",
        node.lineno,
        help=f"did you mean `| {near}`?" if near else None,
    )


def _check_name(node: nodes.Name) -> None:
    """Names of Jinja that prompts lack; a workflow's own variables may have the others."""
    if node.name in ("self", "super", "caller"):
        raise PromptError(f"prompts have no `{node.name}`", node.lineno)


def _check_call(node: nodes.Call) -> None:
    called = node.node
    if isinstance(called, nodes.Name):
        if called.name == "range":
            return
        help = _ABSENT.get(called.name)
        raise PromptError(f"prompts have no `{called.name}()`", node.lineno, help=help)
    if isinstance(called, nodes.Getattr):
        if _is_loop(called.node) and called.attr in ("cycle", "changed"):
            return
        instead = _METHODS.get(called.attr)
        raise PromptError(
            f"`.{called.attr}()` is not available: a.b is the key b of a, values have no methods",
            node.lineno,
            help=f"write `{instead}`" if instead else "use a filter",
        )
    raise PromptError("prompts call nothing but `range`", node.lineno)


def _is_loop(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == "loop"
