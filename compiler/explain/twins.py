"""Which removed nodes live on in equal ones: their readers read those now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from teola.compiler.graph.pgraph import Node, Operand, PGraph, Primitive, Ref, Region


def twins(before: PGraph, after: PGraph) -> dict[str, str]:
    """Removed node -> the one that took its place, in the order of ``before``."""
    found: dict[str, str] = {}
    waiting = list(_replaced(before, after))
    while waiting:
        gone, kept = waiting.pop()
        if gone in found or gone in after.by_id or gone not in before.by_id:
            continue
        found[gone] = kept
        if kept in before.by_id:
            waiting += _pairs(before.by_id[gone], before.by_id[kept])
    for node in before.nodes:
        if node.id not in found and node.id not in after.by_id:
            equal = _unread(node, after, found)
            found |= {node.id: equal} if equal is not None else {}
    return {node.id: found[node.id] for node in before.nodes if node.id in found}


def _unread(node: Node, after: PGraph, found: Mapping[str, str]) -> str | None:
    """The equal of a removed node that nothing reads."""
    wanted = _work(node, found)
    equal = (other.id for other in after.nodes if wanted and _work(other, found) == wanted)
    return next(equal, None)


def _work(node: Node, found: Mapping[str, str]) -> tuple[object, ...]:
    """What a primitive does, with what; () for a region."""
    if not isinstance(node, Primitive):
        return ()
    inputs = [
        (name, replace(one, node=found.get(one.node, one.node)) if isinstance(one, Ref) else one)
        for name, one in node.inputs.items()
    ]
    return node.operation, node.engine, repr(node.config), inputs, node.guard


def _replaced(before: PGraph, after: PGraph) -> Iterator[tuple[str, str]]:
    """What outputs and kept nodes read, before and after."""
    for was, now in zip(before.outputs, after.outputs, strict=True):
        yield was.ref.node, now.ref.node
    for node in after.nodes:
        if node.id in before.by_id:
            yield from _pairs(before.by_id[node.id], node)


def _pairs(one: Node, other: Node) -> Iterator[tuple[str, str]]:
    theirs = dict(_operands(other))
    for name, operand in _operands(one):
        match = theirs.get(name)
        if isinstance(operand, Ref) and isinstance(match, Ref):
            yield operand.node, match.node


def _operands(node: Node) -> Iterator[tuple[str, Operand]]:
    yield from node.inputs.items()
    for number, (_, ref) in enumerate(one for one in node.references if one[0] == "?"):
        yield f"?{number}", ref
    if isinstance(node, Region):
        for name, ref in node.results.items():
            yield f"->{name}", ref
