"""Which variables a template needs from outside, statement by statement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jinja2 import nodes

from teola.compiler.prompts.environment import GLOBALS


def free_names(node: nodes.Node, bound: set[str]) -> Iterator[nodes.Name]:
    """Yield the names that ``node`` reads and nothing before has set.

    ``bound`` (what is set so far) grows by what ``node`` sets for its successors.
    """
    match node:
        case nodes.Name():
            yield from _name(node, bound)
        case nodes.Assign():
            yield from free_names(node.node, bound)
            yield from free_names(node.target, bound)
        case nodes.AssignBlock():
            yield from _all(node.body, set(bound))
            yield from _each([node.filter], bound)
            yield from free_names(node.target, bound)
        case nodes.For():
            yield from _for(node, bound)
        case nodes.If():
            yield from _if(node, bound)
        case nodes.With():
            inner = set(bound)
            yield from _each(node.values, bound)
            yield from _each(node.targets, inner)
            yield from _all(node.body, inner)
        case nodes.FilterBlock():
            yield from _all(node.body, set(bound))
            yield from free_names(node.filter, bound)
        case _:
            yield from _all(node.iter_child_nodes(), bound)


def _name(node: nodes.Name, bound: set[str]) -> Iterator[nodes.Name]:
    if node.ctx != "load":
        bound.add(node.name)
    elif node.name not in bound and node.name not in GLOBALS:
        yield node


def _all(body: Iterable[nodes.Node], bound: set[str]) -> Iterator[nodes.Name]:
    for child in body:
        yield from free_names(child, bound)


def _each(children: Iterable[nodes.Node | None], bound: set[str]) -> Iterator[nodes.Name]:
    for child in children:
        if child is not None:
            yield from free_names(child, bound)


def _for(node: nodes.For, bound: set[str]) -> Iterator[nodes.Name]:
    yield from free_names(node.iter, bound)
    inner = set(bound)
    yield from free_names(node.target, inner)
    yield from _each([node.test], inner)
    yield from _all(node.body, inner | {"loop"})
    yield from _all(node.else_, set(bound))


def _if(node: nodes.If, bound: set[str]) -> Iterator[nodes.Name]:
    """After an ``if``, a name is set where every branch sets it."""
    yield from free_names(node.test, bound)
    branches: list[set[str]] = []
    for body in (node.body, node.else_):
        branch = set(bound)
        yield from _all(body, branch)
        branches.append(branch)
    rest = set(bound)
    for elif_ in node.elif_:
        yield from free_names(elif_.test, rest)
        branch = set(bound)
        yield from _all(elif_.body, branch)
        branches.append(branch)
    bound |= set.intersection(*branches)
