"""``where:`` of a search: an expression over the metadata of chunks, as data that stores read.

``meta.year >= since and meta.type in ["markdown", "html"]`` becomes nested lists: a word and its
operands, which are a field ``{"meta": ["year"]}``, a constant ``{"value": 1}``, or, until a run
binds it, an input of the module ``{"input": "since"}``.

    ["and", p, …]  ["or", p, …]  ["not", p]  ["has", field]
    ["==", a, b]  ["!=", a, b]  ["<", a, b]  ["<=", a, b]  [">", a, b]  [">=", a, b]  ["in", a, b]

A field that a chunk lacks is null. ``==`` compares JSON values (1 is 1.0, but not true); ``<`` and
its kin hold only between two numbers or two texts, ``in`` only for the items of a list.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.parser import Parser

from teola.compiler.errors import CompileError
from teola.compiler.graph.pgraph import Json

META = "meta"
_COMPARISONS = {
    "eq": "==",
    "ne": "!=",
    "lt": "<",
    "lteq": "<=",
    "gt": ">",
    "gteq": ">=",
    "in": "in",
}
_EXAMPLE = 'meta.type == "markdown" and meta.year >= 2020'


class WhereError(CompileError):
    """An expression that cannot stand in ``where``."""


@lru_cache(maxsize=256)
def _parsed(text: str) -> nodes.Expr:
    environment = Environment(autoescape=True)
    parser = Parser(environment, text, state="variable")
    try:
        tree = parser.parse_expression()
        if parser.stream.current.type == "assign":
            raise WhereError("values are compared with ==, not with =")
        if not parser.stream.eos:
            raise WhereError(f"there is more after the expression: {parser.stream.current.value!r}")
    except TemplateSyntaxError as error:
        raise WhereError(f"it is no expression: {error.message}") from error
    tree.set_environment(environment)
    return tree


def parse_where(text: str) -> Json:
    """Read an expression.

    Raises:
        WhereError: it is none, or has what a store cannot look for.
    """
    return _condition(_parsed(text))


def inputs_of(where: Json) -> Iterator[str]:
    """The inputs that a parsed expression names."""
    if isinstance(where, dict) and isinstance(name := where.get("input"), str):
        yield name
    elif isinstance(where, list):
        for part in where:
            yield from inputs_of(part)


def _condition(node: nodes.Node) -> list[Json]:
    match node:
        case nodes.And() | nodes.Or():
            word = "and" if isinstance(node, nodes.And) else "or"
            return [word, _condition(node.left), _condition(node.right)]
        case nodes.Not():
            return ["not", _condition(node.node)]
        case nodes.Compare():
            return _comparison(node)
        case nodes.Test(name="defined" | "undefined"):
            has: list[Json] = ["has", _field(node.node)]
            return has if node.name == "defined" else ["not", has]
    raise WhereError(f"a condition compares fields of meta, as in: {_EXAMPLE}")


def _comparison(node: nodes.Compare) -> list[Json]:
    found: list[list[Json]] = []
    left = _operand(node.expr)
    for step in node.ops:
        right = _operand(step.expr)
        if not any(isinstance(one, dict) and META in one for one in (left, right)):
            raise WhereError(f"a comparison has a field of meta on one side, as in: {_EXAMPLE}")
        if step.op == "notin":
            found.append(["not", ["in", left, right]])
        else:
            found.append([_COMPARISONS[step.op], left, right])
        left = right
    return found[0] if len(found) == 1 else ["and", *found]


def _operand(node: nodes.Node) -> Json:
    if isinstance(node, nodes.Name) and node.name != META:
        return {"input": node.name}
    if isinstance(node, nodes.Name | nodes.Getattr | nodes.Getitem):
        return _field(node)
    try:
        value = node.as_const() if isinstance(node, nodes.Expr) else None
    except nodes.Impossible:
        raise WhereError(
            "operands are fields of meta, inputs of the module and constants"
        ) from None
    return {"value": list(value) if isinstance(value, tuple) else value}


def _field(node: nodes.Node) -> Json:
    path: list[Json] = []
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        key = node.attr if isinstance(node, nodes.Getattr) else _key(node.arg)
        path.insert(0, key)
        node = node.node
    if not (isinstance(node, nodes.Name) and node.name == META and path):
        raise WhereError(f"fields are those of meta: meta.name, as in: {_EXAMPLE}")
    return {META: path}


def _key(node: nodes.Node) -> str:
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        return node.value
    raise WhereError('a field of meta is named: meta.name, or meta["a name"]')
