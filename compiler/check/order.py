"""The chain: the file's order made topological, stably; ``needs``; cycles (rules 1 and 5)."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heapify, heappop, heappush

from teola.compiler.check.context import Context, Draft, listed
from teola.compiler.diagnostics import nearest
from teola.compiler.graph.pgraph import INPUTS, Ref
from teola.compiler.source import TreePath


def read_needs(context: Context, module: Draft) -> None:
    """The modules that ``needs`` names."""
    given = module.entry.get("needs")
    found: list[str] = []
    names = given if isinstance(given, list) else ()
    for index, name in enumerate(names):
        path = (*module.path, "needs", index)
        if not isinstance(name, str):
            continue
        if name not in context.modules:
            near = nearest(name, context.modules)
            context.error(
                "unknown-module",
                f"there is no module {name!r}",
                path,
                notes=[f"modules: {listed(context.modules)}"],
                help=f"did you mean {near!r}?" if near else None,
            )
        elif name in found:
            context.lint("redundant-needs", f"{name!r} stands twice", path)
        else:
            found.append(name)
    module.needs = tuple(found)


def chain(context: Context) -> list[Draft] | None:
    """The modules in chain order; None where they wait for each other in a circle."""
    before = {module.id: _awaited(module) for module in context.modules.values()}
    order = _sorted(context.modules, before)
    if len(order) < len(context.modules):
        _report_cycle(context, {id_: before[id_] for id_ in before if id_ not in set(order)})
        return None
    _lint_forward(context)
    _lint_needs(context, order)
    return [context.modules[id_] for id_ in order]


def _awaited(module: Draft) -> dict[str, TreePath]:
    """Module id -> where in the file this module says that it waits for it."""
    found: dict[str, TreePath] = {}
    for name, binding in module.bindings.items():
        if isinstance(binding.operand, Ref) and binding.operand.node != INPUTS:
            found.setdefault(binding.operand.node, (*module.path, "inputs", name))
    for needed in module.needs:
        given = module.entry["needs"]
        found.setdefault(needed, (*module.path, "needs", given.index(needed)))
    return found


def _sorted(
    modules: Mapping[str, Draft], before: Mapping[str, Mapping[str, TreePath]]
) -> list[str]:
    """Kahn's algorithm; of those that are ready, the first of the file goes first."""
    names = list(modules)
    waiting = {id_: len(awaited) for id_, awaited in before.items()}
    after: dict[str, list[str]] = {id_: [] for id_ in names}
    for id_, awaited in before.items():
        for source in awaited:
            after[source].append(id_)
    ready = [modules[id_].index for id_ in names if not waiting[id_]]
    heapify(ready)
    order: list[str] = []
    while ready:
        id_ = names[heappop(ready)]
        order.append(id_)
        for next_ in after[id_]:
            waiting[next_] -= 1
            if not waiting[next_]:
                heappush(ready, modules[next_].index)
    return order


def _report_cycle(context: Context, before: Mapping[str, Mapping[str, TreePath]]) -> None:
    """Walk backwards until a module comes again: every one left waits for another one left."""
    walk = [next(iter(before))]
    while True:
        source = next(id_ for id_ in before[walk[-1]] if id_ in before)
        if source in walk:
            break
        walk.append(source)
    circle = walk[walk.index(source) :][::-1]
    first = min(circle, key=list(before).index)
    at = circle.index(first)
    circle = circle[at:] + circle[:at]
    last = circle[-1]
    if first == last:
        context.error("cycle", f"module {first!r} waits for itself", before[first][first])
        return
    context.error(
        "cycle",
        "modules wait for each other: " + " -> ".join([*circle, first]),
        before[first][last],
        notes=[f"{first!r} waits for {last!r} here"],
    )


def _lint_forward(context: Context) -> None:
    for module in context.modules.values():
        for source, path in _awaited(module).items():
            if context.modules[source].index > module.index:
                context.lint(
                    "forward-reference",
                    f"{source!r} stands below {module.id!r}, which waits for it",
                    path,
                    help=f"move {source!r} above {module.id!r}: the order of the file is the "
                    "order of the chain",
                )


def _lint_needs(context: Context, order: list[str]) -> None:
    """A need that data, or another need, says already."""
    reach: dict[str, set[str]] = {}
    for id_ in order:
        module = context.modules[id_]
        direct = set(_awaited(module))
        data = {
            binding.operand.node
            for binding in module.bindings.values()
            if isinstance(binding.operand, Ref) and binding.operand.node != INPUTS
        }
        for index, name in enumerate(module.needs):
            others = (direct - {name}) | (data & {name})
            if name in others or any(name in reach[other] for other in others):
                context.lint(
                    "redundant-needs",
                    f"{module.id!r} comes after {name!r} anyway: it uses what that gives",
                    (*module.path, "needs", index),
                )
        reach[id_] = direct.union(*(reach[source] for source in direct))
