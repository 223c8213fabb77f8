"""What templates do with typed values: fields that there are not, lists that do not print.

Types are followed through loops, ``{% set %}`` and filters as far as they are certain; about
anything else nothing is said. What a template tests (``x.y is defined``) it may do without.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from jinja2 import nodes

from teola.compiler.types import FIELDS, Type, field_type

Names: TypeAlias = "dict[str, Type | None]"

_SAME = frozenset("list reject rejectattr reverse select selectattr sort unique".split())
"""Filters that give a list of the items they are given."""

_ITEM = frozenset("first last max min".split())
"""Filters that give one of the items."""

_BY_ATTRIBUTE = frozenset("groupby join map max min sort sum unique".split())
"""Filters whose ``attribute`` is a field of each item."""


@dataclass(frozen=True)
class Misuse:
    """A field ``name`` that a value of type ``of`` lacks, or (no ``name``) a list that is printed.

    ``value`` is the expression as it is written, where that is a dotted name.
    """

    of: Type
    line: int
    value: str = ""
    name: str = ""


def misuses(template: nodes.Template, types: Mapping[str, Type]) -> list[Misuse]:
    """Everything in a template that cannot be right for variables of these types."""
    walk = _Walk(frozenset(_tested(template)))
    walk.block(template.body, {name: of for name, of in types.items() if name not in walk.tested})
    return walk.found


def dotted(node: nodes.Node | None) -> str:
    """``a.b.c`` as it is written, "" for anything else."""
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr) and (before := dotted(node.node)):
        return f"{before}.{node.attr}"
    return ""


def _tested(template: nodes.Template) -> Iterator[str]:
    for test in template.find_all(nodes.Test):
        if isinstance(test.node, nodes.Getattr):
            yield test.node.attr
        elif isinstance(test.node, nodes.Name):
            yield test.node.name


@dataclass
class _Walk:
    """One walk over one template."""

    tested: frozenset[str]
    found: list[Misuse] = field(default_factory=list)

    def statement(self, node: nodes.Node, names: Names) -> None:
        """Walk a statement; ``names`` grows by what it sets for its successors."""
        match node:
            case nodes.Output():
                for child in node.nodes:
                    self.printed(child, names)
            case nodes.For():
                self.loop(node, names)
            case nodes.If():
                self.condition(node, names)
            case nodes.Assign():
                self.bind(node.target, self.type_of(node.node, names), names)
            case nodes.With():
                inner = dict(names)
                for target, value in zip(node.targets, node.values, strict=True):
                    self.bind(target, self.type_of(value, names), inner)
                self.block(node.body, inner)
            case nodes.AssignBlock():
                self.block(node.body, dict(names))
                self.bind(node.target, None, names)
            case nodes.FilterBlock():
                self.block(node.body, dict(names))
            case _:
                self.children(node, names)

    def block(self, body: Iterable[nodes.Node], names: Names) -> None:
        for node in body:
            self.statement(node, names)

    def children(self, node: nodes.Node, names: Names) -> None:
        for child in node.iter_child_nodes():
            if isinstance(child, nodes.Expr):
                self.type_of(child, names)
            else:
                self.statement(child, names)

    def printed(self, node: nodes.Node, names: Names) -> None:
        of = self.type_of(node, names)
        if of is not None and of.item is not None:
            self.found.append(Misuse(of, node.lineno, dotted(node)))

    def loop(self, node: nodes.For, names: Names) -> None:
        of = self.type_of(node.iter, names)
        inner: Names = {**names, "loop": None}
        self.bind(node.target, of.item if of is not None else None, inner)
        if node.test is not None:
            self.type_of(node.test, inner)
        self.block(node.body, inner)
        self.block(node.else_, dict(names))

    def condition(self, node: nodes.If, names: Names) -> None:
        """After it, a name has a type where every branch leaves it the same."""
        self.type_of(node.test, names)
        branches = [(None, node.body), *((elif_.test, elif_.body) for elif_ in node.elif_)]
        ends = []
        for test, body in [*branches, (None, node.else_)]:
            if test is not None:
                self.type_of(test, names)
            end = dict(names)
            self.block(body, end)
            ends.append(end)
        for name in {name for end in ends for name in end}:
            after = [end.get(name) for end in ends]
            names[name] = after[0] if all(of == after[0] for of in after) else None

    def bind(self, target: nodes.Node, of: Type | None, names: Names) -> None:
        for name in [target] if isinstance(target, nodes.Name) else target.find_all(nodes.Name):
            known = isinstance(target, nodes.Name) and name.name not in self.tested
            names[name.name] = of if known else None

    def type_of(self, node: nodes.Node, names: Names) -> Type | None:
        """The type of an expression; None where it is not certain."""
        match node:
            case nodes.Name():
                return names.get(node.name)
            case nodes.Getattr():
                return self.part(node, node.attr, names)
            case nodes.Getitem(arg=nodes.Const(value=str() as name)):
                return self.part(node, name, names)
            case nodes.Getitem():
                self.type_of(node.arg, names)
                of = self.type_of(node.node, names)
                return of.item if of and isinstance(node.arg, nodes.Const) else None
            case nodes.Filter():
                return self.filtered(node, names)
            case nodes.Test():
                return None
            case _:
                self.children(node, names)
                return None

    def part(self, node: nodes.Getattr | nodes.Getitem, name: str, names: Names) -> Type | None:
        of = self.type_of(node.node, names)
        return None if of is None else self.check_field(of, name, node.lineno, dotted(node.node))

    def check_field(self, of: Type, name: str, line: int, value: str) -> Type | None:
        found = field_type(of, name)
        if found is None and name not in self.tested:
            self.found.append(Misuse(of, line, value, name))
        return found

    def filtered(self, node: nodes.Filter, names: Names) -> Type | None:
        """The type of ``x | filter``; ``| default`` means that something may be missing."""
        if node.name in ("default", "d") or node.node is None:
            return None
        of = self.type_of(node.node, names)
        for argument in (*node.args, *(keyword.value for keyword in node.kwargs)):
            self.type_of(argument, names)
        if of is None or of.item is None:
            return None
        given = {str(keyword.key): keyword.value for keyword in node.kwargs}
        by = given.get("attribute")
        if node.name in _BY_ATTRIBUTE and isinstance(by, nodes.Const) and "default" not in given:
            first = str(by.value).split(".")[0]
            if of.item.name in FIELDS:
                self.check_field(of.item, first, node.lineno, "")
        if node.name in _SAME:
            return of
        return of.item if node.name in _ITEM else None
