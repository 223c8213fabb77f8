"""How primitives are unrolled: whole, in groups, item after item, as calls and as warm-ups."""

from __future__ import annotations

from collections.abc import Iterable

from teola.compiler.graph.egraph import Form
from teola.compiler.graph.operations import OPERATIONS, output_port
from teola.compiler.graph.pgraph import Operand, Primitive, Ref
from teola.compiler.graph.unrolling import Scope, Unrolling, Value, Waits, streams, union


def groups(unrolling: Unrolling, node: Primitive, scope: Scope, waits: Waits) -> Waits:
    """A primitive as a whole, or in groups of items."""
    kinds = unrolling.lists(node)
    lists = {name: unrolling.value(node.inputs[name], scope) for name in kinds}
    base = union(waits, unrolling.fixed(node, scope, kinds))
    flows = {name for name in kinds if streams(node.inputs[name])}
    count = max((value.items for value in lists.values()), default=1)
    size = (node.group or 1) if flows else max(count, 1)
    form: Form = "items" if kinds and "gather" not in kinds.values() else "whole"
    tokens = max((unrolling.shapes.of(node.inputs[n]).item_tokens for n in kinds), default=0)
    steps: list[tuple[int, int]] = []
    for low in range(0, count if flows else max(count, 1), size):
        high = min(low + size, count)
        after = union(
            base,
            *(
                value.part(low, high) if name in flows else unrolling.whole(value)
                for name, value in lists.items()
            ),
        )
        group = len(steps) if flows else None
        task = unrolling.primitive(node, scope, form, group, after, high - low, tokens, low)
        steps.append((high, task))
    return _emit(unrolling, node, scope, steps, [lists[n] for n in flows], base, chained=False)


def scan(unrolling: Unrolling, node: Primitive, scope: Scope, waits: Waits) -> Waits:
    """A scan: each input in its turn, in groups where it is a stream."""
    kinds = unrolling.lists(node)
    base = union(waits, unrolling.fixed(node, scope, kinds))
    steps: list[tuple[int, int]] = []
    flowing = []
    at = 0
    for name in kinds:
        value = unrolling.value(node.inputs[name], scope)
        flows = streams(node.inputs[name])
        if flows:
            flowing.append(value)
        tokens = unrolling.shapes.of(node.inputs[name]).item_tokens
        size = (node.group or 1) if flows else max(value.items, 1)
        for low in range(0, value.items if flows else max(value.items, 1), size):
            high = min(low + size, value.items)
            part = value.part(low, high) if flows else unrolling.whole(value)
            after = union(part, (steps[-1][1],) if steps else base)
            group = len(steps) if node.group or len(kinds) > 1 else None
            task = unrolling.primitive(
                node, scope, "scan", group, after, high - low, tokens, at + low
            )
            steps.append((at + high, task))
        at += value.items
    return _emit(unrolling, node, scope, steps, flowing, base, chained=True)


def _emit(
    unrolling: Unrolling,
    node: Primitive,
    scope: Scope,
    steps: list[tuple[int, int]],
    flowing: Iterable[Value],
    base: Waits,
    *,
    chained: bool,
) -> Waits:
    """Give a primitive's outputs; ``steps`` are items taken so far, and the task that took
    them. It has ended when its tasks have, and what flows into it."""
    done: Waits = tuple(task for _, task in steps)
    ended = set().union(*(unrolling.after[task] for task in done)) | set(done)
    whole = done[-1:] if chained else done
    for value in flowing:
        whole = union(whole, tuple(one for one in unrolling.whole(value) if one not in ended))
    whole = whole if steps else union(whole, base, scope.base)
    taken = steps[-1][0] if steps else 0
    given = [unrolling.shapes.of(node.inputs[name]).items for name in unrolling.lists(node)]
    expected = sum(given) if chained else max(given, default=1)
    start = node.config.get("start")
    for name in OPERATIONS[node.operation].outputs:
        port = output_port(node, name)
        items = unrolling.shapes.of(Ref(node.id, name)).items
        value = Value(f"{node.id}:{name}", scope.path, items, whole)
        if port is not None and port.is_list and port.combine == "concat" and steps:
            if taken != expected and expected:
                value.items = items = round(items * taken / expected)
            skipped = start if port.length == "count" and isinstance(start, int) else 0
            straight = chained and port.length == "count"
            ends = [
                min(items, max(0, at - skipped)) if straight else items * at // max(1, taken)
                for at, _ in steps
            ]
            ends[-1] = items
            value.ends, value.chained = ends, chained
            value.steps = [(task,) for _, task in steps]
        scope.values[node.id, name] = value
    return whole


def call(
    unrolling: Unrolling, tail: Primitive, head: Primitive, scope: Scope, waits: Waits
) -> Waits:
    """An LLM call: a prefill, and its decode, in parts where items leave early."""
    state = [name for name, one in tail.inputs.items() if _names_node(one, head.id)]
    inputs = union(unrolling.fixed(head, scope, ()), unrolling.fixed(tail, scope, state))
    whole_tokens, cached = unrolling.prompts.whole(head), unrolling.prompts.cached(head)
    begun = unrolling.primitive(
        head, scope, "prefill", None, union(waits, inputs), 1, whole_tokens, cached=cached
    )
    outputs = OPERATIONS[tail.operation].outputs
    early = [
        unrolling.shapes.of(Ref(tail.id, name)).items
        for name, port in outputs.items()
        if port.early and (tail.id, name) in unrolling.streamed
    ]
    parts, total = max(1, *early, 1), unrolling.shapes.answer(tail)
    tasks: list[int] = []
    for part in range(parts):
        tokens = total * (part + 1) // parts - total * part // parts
        group = part if early else None
        after = (tasks[-1] if tasks else begun,)
        tasks.append(
            unrolling.primitive(tail, scope, "decode", group, after, 1, tokens, first=part)
        )
    whole = (tasks[-1],)
    for name in OPERATIONS[head.operation].outputs:
        scope.values[head.id, name] = Value(f"{head.id}:{name}", scope.path, 1, (begun,))
    for name, port in outputs.items():
        items = unrolling.shapes.of(Ref(tail.id, name)).items
        value = Value(f"{tail.id}:{name}", scope.path, items, whole)
        if port.early:
            value.ends = [items * (part + 1) // parts for part in range(parts)]
            value.steps, value.chained = [(task,) for task in tasks], True
        scope.values[tail.id, name] = value
    return whole


def hint(unrolling: Unrolling, node: Primitive, scope: Scope, waits: Waits) -> None:
    """A warm-up: one task for each part of the prompt that comes later than those before it,
    each standing for the whole prefix up to there."""
    call = unrolling.graph.by_id[str(node.config.get("hint"))]
    if not isinstance(call, Primitive):
        return
    least = node.config.get("min_new_tokens")
    least = least if isinstance(least, int) else 1
    tasks: list[int] = []
    cached = unrolling.prompts.cached(call)
    warmed, known, there = cached, set[str](), waits
    names = list(node.inputs)
    for number, name in enumerate(names):
        known.add(name)
        there = union(there, unrolling.whole(unrolling.value(node.inputs[name], scope)))
        following = names[number + 1 : number + 2]
        later = [unrolling.whole(unrolling.value(node.inputs[one], scope)) for one in following]
        if later and not set(later[0]) - set(there):
            continue
        tokens = unrolling.prompts.warmed(call, frozenset(known))
        if tokens - warmed < max(1, least):
            continue
        task = unrolling.primitive(node, scope, "hint", len(tasks), there, 1, tokens, cached=cached)
        unrolling.warmed[task] = tuple(tasks)
        tasks.append(task)
        warmed = tokens
    unrolling.hints[call.id, scope.path] = tuple(tasks)


def _names_node(operand: Operand, node_id: str) -> bool:
    return isinstance(operand, Ref) and operand.node == node_id
