"""A template rewritten so that whatever it repeats is paid for out of the rendering's budget."""

from __future__ import annotations

from typing import cast

from jinja2 import nodes
from jinja2.visitor import NodeTransformer


def metered(tree: nodes.Template) -> nodes.Template:
    """``tree``, changed: loops, comparisons, joined texts and slices go through the environment,
    and text inside loops and captured blocks is printed as values are."""
    _Metering().visit(tree)
    return tree


def _through(name: str, node: nodes.Node, *arguments: nodes.Expr) -> nodes.Call:
    """A call of the environment's method ``name`` with the context and ``arguments``."""
    method = nodes.EnvironmentAttribute(name)
    return nodes.Call(
        method, [nodes.ContextReference(), *arguments], [], None, None, lineno=node.lineno
    )


class _Metering(NodeTransformer):
    """``repeated``: how many loops and captured blocks are around."""

    def __init__(self) -> None:
        self.repeated = 0

    def _repeated(self, node: nodes.Node) -> nodes.Node:
        self.repeated += 1
        self.generic_visit(node)
        self.repeated -= 1
        return node

    def visit_AssignBlock(self, node: nodes.AssignBlock) -> nodes.Node:  # noqa: N802 - Jinja's name
        return self._repeated(node)

    def visit_FilterBlock(self, node: nodes.FilterBlock) -> nodes.Node:  # noqa: N802 - as above
        return self._repeated(node)

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - as above
        self._repeated(node)
        node.iter = _through("looped", node, cast("nodes.Expr", node.iter))
        return node

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.Node:  # noqa: N802 - as above
        return nodes.Const(node.data, lineno=node.lineno) if self.repeated else node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - as above
        self.generic_visit(node)
        return _through("joined", node, *node.nodes)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802 - as above
        self.generic_visit(node)
        if len(node.ops) == 1:
            operand = node.ops[0]
            how = nodes.Const(operand.op, lineno=node.lineno)
            return _through("compared", node, how, node.expr, operand.expr)
        node.expr = _through("seen", node, node.expr)
        for operand in node.ops:
            operand.expr = _through("seen", node, operand.expr)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802 - as above
        self.generic_visit(node)
        return _through("cut", node, node) if isinstance(node.arg, nodes.Slice) else node

    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802 - as above
        self.generic_visit(node)
        if isinstance(node.node, nodes.Getattr) and node.node.attr == "changed":
            node.args = [_through("seen", node, argument) for argument in node.args]
        if node.dyn_args is not None:
            node.dyn_args = _through("cut", node, node.dyn_args)
        return node
