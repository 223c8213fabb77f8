"""How regions are unrolled: their bodies for each item, one after another, or level by level."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil

from teola.compiler.cost.shapes import fan_in
from teola.compiler.graph.pgraph import Const, Ref, Region
from teola.compiler.graph.unrolling import Scope, Unrolling, Value, Waits, streams, union


def each(unrolling: Unrolling, region: Region, scope: Scope, waits: Waits) -> Waits:
    """A body for each item."""
    items = unrolling.value(region.inputs["items"], scope)
    flows = streams(region.inputs["items"])
    item = unrolling.shapes.of(Ref(region.id, "item")).items
    steps = []
    for index in range(items.items):
        there = items.part(index, index + 1) if flows else unrolling.whole(items)
        bound = {"item": Value("", (), item, ())}
        steps.append(_iterate(unrolling, region, scope, str(index), union(waits, there), bound))
    whole = union(*steps) if steps else union(scope.base, waits)
    if flows or not steps:
        whole = union(whole, unrolling.whole(items))
    for name in region.results:
        value = Value(f"{region.id}:{name}", scope.path, items.items, whole)
        value.ends, value.steps = range(1, items.items + 1), steps
        scope.values[region.id, name] = value
    return whole


def fold(unrolling: Unrolling, region: Region, scope: Scope, waits: Waits) -> Waits:
    """One iteration after another; with ``ahead``, what needs no state begins before its
    turn."""
    items = unrolling.value(region.inputs["items"], scope)
    initial = unrolling.whole(unrolling.value(region.inputs["initial"], scope))
    flows = streams(region.inputs["items"])
    ahead = region.config.get("ahead")
    early = ahead if isinstance(ahead, int) else None
    shape = unrolling.shapes.of(Ref(region.id, "item")).items
    ends: list[Waits] = []
    for index in range(items.items):
        state = ends[-1] if ends else initial
        turn = state if early is None else ()
        if early is not None and index > early:
            turn = ends[index - 1 - early]
        there = items.part(index, index + 1) if flows else unrolling.whole(items)
        bound = {"item": Value("", (), shape, ()), "state": Value("", (), 1, state)}
        at = len(unrolling.tasks)
        end = _iterate(unrolling, region, scope, str(index), union(waits, there, turn), bound)
        awaited = set().union(*unrolling.after[at:])
        ends.append(union(end, tuple(one for one in state if one not in awaited)))
    whole = ends[-1] if ends else union(scope.base, waits, initial)
    if flows or not ends:
        whole = union(whole, unrolling.whole(items))
    _result(unrolling, region, scope, whole)
    return whole


def reduce(unrolling: Unrolling, region: Region, scope: Scope, waits: Waits) -> Waits:
    """``fan_in`` become one, level by level; a lone rest passes through."""
    items = unrolling.value(region.inputs["items"], scope)
    whole = union(scope.base, waits, unrolling.whole(items))
    left, level, size = items.items, 0, fan_in(region)
    while left > 1:
        ends = []
        for index in range(ceil(left / size)):
            part = min(size, left - index * size)
            if part > 1:
                bound = {"items": Value("", (), part, ())}
                ends.append(_iterate(unrolling, region, scope, f"{level}.{index}", whole, bound))
        end = Value(region.id, (*scope.path, f"{region.id}[{level}]"), 0, union(*ends))
        whole = unrolling.whole(end)
        left, level = ceil(left / size), level + 1
    _result(unrolling, region, scope, whole)
    return whole


def _iterate(
    unrolling: Unrolling,
    region: Region,
    scope: Scope,
    mark: str,
    base: Waits,
    bound: Mapping[str, Value],
) -> Waits:
    """Unroll a region's body once; what its end waits for."""
    unrolling.iterations += 1
    unrolling.check_limit()
    path = (*scope.path, f"{region.id}[{mark}]")
    count = Const(0)
    seen = {"index": unrolling.value(count, scope), "level": unrolling.value(count, scope), **bound}
    inner = Scope(scope, region.id, path, union(scope.base, base), len(unrolling.tasks), seen)
    unrolling.body(region.id, inner)
    return _sinks(unrolling, inner)


def _sinks(unrolling: Unrolling, scope: Scope) -> Waits:
    """The tasks of a scope, hints left out, that nothing else in it waits for."""
    own = range(scope.start, len(unrolling.tasks))
    found = {task for task in own if unrolling.tasks[task].form != "hint"}
    for task in own:
        if unrolling.tasks[task].form != "hint":
            found.difference_update(unrolling.after[task])
    return tuple(sorted(found)) or scope.base


def _result(unrolling: Unrolling, region: Region, scope: Scope, whole: Waits) -> None:
    for name in region.results:
        items = unrolling.shapes.of(Ref(region.id, name)).items
        scope.values[region.id, name] = Value(f"{region.id}:{name}", scope.path, items, whole)


REGIONS: Mapping[str, Callable[[Unrolling, Region, Scope, Waits], Waits]] = {
    "each": each,
    "fold": fold,
    "reduce": reduce,
}
"""Region kind -> how it is unrolled; gives what its end waits for."""
