"""Deliberate defects: what the generated cases must find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, TypeAlias

import pytest

from teola.compiler.graph import effects, text, verify
from teola.compiler.graph.operations import OPERATIONS, In
from teola.compiler.graph.pgraph import Node, PGraph, Ref
from teola.compiler.passes import (
    decompose_stages,
    deduplicate,
    pipeline_decode,
    prune_order,
    remove_dead,
    rewriting,
    split_prefill,
)
from teola.runtime import inputs
from teola.runtime.engines.fakes.store import FakeStore
from teola.runtime.engines.protocol import Request
from teola.runtime.instance.primitive import PrimitiveRun
from teola.runtime.instance.region import EachRun, FoldRun
from teola.runtime.llm.scheduler import LLMScheduler
from teola.runtime.llm.task import LLMTask
from teola.runtime.operations.collections import Ingest
from teola.runtime.operations.lists import Distinct, Take
from teola.runtime.placement import Placement
from teola.runtime.pool_engine import PooledEngine
from teola.runtime.sent import Sent
from teola.runtime.shapes import JsonListShape, LinesShape
from teola.runtime.task import Task
from teola.runtime.work.known_prefix import KnownPrefix

Patch: TypeAlias = pytest.MonkeyPatch
Change = Callable[[Patch], None]

DIFFERS = "does not get what -O0 gives"
EMPTY = f"{DIFFERS}|fails where -O0 does not: .*(there is no collection|told to fail)"
"""What reads too early finds nothing, or less; the last of its attempts may fail as the schedule
says."""
SCATTERED = f"{EMPTY}|not published and not discarded|on several replicas"
LENGTHS = f"{DIFFERS}|fails where -O0 does not: .*length-mismatch"


@dataclass(frozen=True)
class Mutation:
    """A change that makes something wrong, and what a check must then say."""

    change: Change
    symptom: str


MUTATIONS: dict[str, Mutation] = {}
"""What is wrong -> how."""


def wrong(name: str, symptom: str = DIFFERS) -> Callable[[Change], Change]:
    """Enter a change into the table."""

    def enter(change: Change) -> Change:
        MUTATIONS[name] = Mutation(change, symptom)
        return change

    return enter


def _no_edges(_: prune_order.PruneOrder, graph: PGraph, __: object) -> PGraph:
    return graph.with_(edges=frozenset()) if graph.edges else graph


@wrong("prune-order drops effect edges", "prune-order broke the graph: (?s:.*)the effect edge from")
def _(patch: Patch) -> None:
    patch.setattr(prune_order.PruneOrder, "apply", _no_edges)


@wrong("the verifier takes a graph without its effect edges", EMPTY)
def _(patch: Patch) -> None:
    patch.setattr(prune_order.PruneOrder, "apply", _no_edges)
    patch.setattr(verify, "effect_edges", lambda *_: frozenset())


def _forget(patch: Patch, first: str, second: str) -> None:
    """Nobody sees that ``first`` (reads or writes) comes before ``second`` of one resource."""
    conflict = effects.conflict

    def seen(one: effects.Effect, other: effects.Effect) -> bool:
        return conflict(one, other) and not (getattr(one, first) and getattr(other, second))

    patch.setattr(effects, "conflict", seen)


@wrong("a search does not wait for the writer before it", EMPTY)
def _(patch: Patch) -> None:
    _forget(patch, "writes", "reads")


@wrong("a writer does not wait for the reader before it")
def _(patch: Patch) -> None:
    _forget(patch, "reads", "writes")


@wrong("a writer does not wait for the writer before it")
def _(patch: Patch) -> None:
    _forget(patch, "writes", "writes")


@wrong("a search by words waits for no writer", EMPTY)
def _(patch: Patch) -> None:
    row = OPERATIONS["keyword_search"]
    patch.setitem(OPERATIONS, "keyword_search", replace(row, effects=OPERATIONS["embed"].effects))


@wrong("deduplicate merges what differs in its settings")
def _(patch: Patch) -> None:
    patch.setattr(deduplicate, "_config", lambda _: "")


@wrong("deduplicate merges what differs in its inputs", LENGTHS)
def _(patch: Patch) -> None:
    patch.setattr(deduplicate._Search, "operand", lambda *_: None)


@wrong("deduplicate merges across a writer")
def _(patch: Patch) -> None:
    patch.setattr(deduplicate._Search, "versions", lambda *_: ())
    patch.setattr(deduplicate._Search, "awaited", property(lambda _: {}, lambda *_: None), False)


@wrong("remove-dead removes writers", EMPTY)
def _(patch: Patch) -> None:
    patch.setattr(remove_dead, "effects", lambda *_: [])


@wrong("remove-dead removes what is needed", "remove-dead broke the graph: (?s:.*)does not exist")
def _(patch: Patch) -> None:
    patch.setattr(remove_dead, "_live", lambda graph: {out.ref.node for out in graph.outputs})


def _all_lists(graph: PGraph, node: Node) -> dict[str, Ref]:
    return {name: ref for name, ref in node.references if rewriting._is_list(graph, ref)}


@wrong("decompose-stages streams into a gather", "broke the graph: (?s:.*)a stream cannot enter")
def _(patch: Patch) -> None:
    patch.setattr(decompose_stages, "list_inputs", _all_lists)


@wrong("pipeline-decode streams into a gather", "broke the graph: (?s:.*)a stream cannot enter")
def _(patch: Patch) -> None:
    patch.setattr(pipeline_decode, "list_inputs", _all_lists)


@wrong("split-prefill warms up where the variables are not in reach", "is not in reach")
def _(patch: Patch) -> None:
    patch.setattr(split_prefill, "_place", lambda _, call, __: ("", call.guard))


@wrong("split-prefill names what it adds in another way each time", "two plans of one file differ")
def _(patch: Patch) -> None:
    numbers = count()
    patch.setattr(split_prefill, "_fresh", lambda _, name: f"{name}_{next(numbers)}")


@wrong("the text form forgets streams", "the text form is read as another graph")
def _(patch: Patch) -> None:
    print_ref = text.print_ref
    patch.setattr(text, "print_ref", lambda ref: print_ref(ref).lstrip("~"))


def _change_groups(patch: Patch, change: Callable[[int, list[Any]], list[Any]]) -> None:
    """Each list of a group comes as ``change(most items of a group, items)``, of all groups but
    the first."""
    execute = PrimitiveRun._execute

    def changed(run: PrimitiveRun, group: int, given: dict[str, Any]) -> None:
        size = getattr(run.prepared.node, "group", None)
        if size is not None and group:
            lists = {name: change(size, given[name]) for name in run.lists}
            given = {**given, **lists}
        execute(run, group, given)

    patch.setattr(PrimitiveRun, "_execute", changed)


@wrong("the last group is lost where it is not full", LENGTHS)
def _(patch: Patch) -> None:
    _change_groups(patch, lambda size, items: items if len(items) == size else [])


@wrong("the first item of a group comes twice", LENGTHS)
def _(patch: Patch) -> None:
    _change_groups(patch, lambda _, items: [*items[:1], *items])


@wrong("rankings are fused with those by words of the query before")
def _(patch: Patch) -> None:
    group = PrimitiveRun._group

    def late(run: PrimitiveRun, low: int, size: int) -> dict[str, Any]:
        inputs = group(run, low, size)
        if low and "keyword" in inputs:
            inputs["keyword"] = group(run, low - 1, size)["keyword"]
        return inputs

    patch.setattr(PrimitiveRun, "_group", late)


@wrong("passages are cited before all are there")
def _(patch: Patch) -> None:
    row = OPERATIONS["cited"]
    early = replace(row, inputs={**row.inputs, "passages": In("map")})
    patch.setitem(OPERATIONS, "cited", early)


@wrong("the items of a group come in another order")
def _(patch: Patch) -> None:
    _change_groups(patch, lambda _, items: items[::-1])


@wrong("groups leave in the order in which they end")
def _(patch: Patch) -> None:
    def complete(run: PrimitiveRun, group: int, outputs: dict[str, Any]) -> None:
        if run.state == "running":
            run._take(outputs)
            run._flush()

    patch.setattr(PrimitiveRun, "complete", complete)


@wrong("a primitive ends with its first group", f"{LENGTHS}|not published and not discarded")
def _(patch: Patch) -> None:
    flush = PrimitiveRun._flush

    def early(run: PrimitiveRun) -> None:
        if run.prepared.streams and 0 in run.finished:
            run.last_group = 1
        flush(run)

    patch.setattr(PrimitiveRun, "_flush", early)


@wrong("an item leaves before its last token")
def _(patch: Patch) -> None:
    push = LinesShape.push

    def eager(shape: LinesShape, new: str) -> tuple[str, list[str]]:
        found, items = push(shape, new)
        if not shape.full and shape.rest:
            shape._complete(shape.rest, items)
            shape.rest = ""
        return found, items

    patch.setattr(LinesShape, "push", eager)


@wrong("a list of JSON overlooks a comma that begins a step", f"{DIFFERS}|malformed-output")
def _(patch: Patch) -> None:
    push = JsonListShape.push
    patch.setattr(JsonListShape, "push", lambda shape, new: push(shape, new.removeprefix(",")))


@wrong("distinct forgets what it has seen")
def _(patch: Patch) -> None:
    feed = Distinct.feed

    def forgetful(scan: Distinct, name: str, items: list[Any]) -> list[Any]:
        scan.seen.clear()
        return feed(scan, name, items)

    patch.setattr(Distinct, "feed", forgetful)


@wrong("take counts from the beginning with each group")
def _(patch: Patch) -> None:
    feed = Take.feed

    def forgetful(scan: Take, name: str, items: list[Any]) -> list[Any]:
        scan.at = 0
        return feed(scan, name, items)

    patch.setattr(Take, "feed", forgetful)


@wrong("the calls for single items leave in the order in which they end")
def _(patch: Patch) -> None:
    def flush(run: EachRun) -> None:
        for index in tuple(run.complete_items):
            scope = run.scopes.pop(index)
            for name, ref in run.region.results.items():
                run.cells[name].extend([run.take(scope, ref)[0]])
            run.complete_items.remove(index)
            run.flushed += 1
        source = run.sources.get("items")
        if source and source.cell.done and run.flushed == len(run._items()):
            run.finish()

    patch.setattr(EachRun, "_flush", flush)


@wrong("an iteration that begins before its turn takes the initial state")
def _(patch: Patch) -> None:
    state = FoldRun._state

    def stale(run: FoldRun, before: Any) -> Any:
        return state(run, run.sources["initial"] if run.prepared.ahead else before)

    patch.setattr(FoldRun, "_state", stale)


@wrong("a warm-up has other texts than its call", "a warm-up does not begin its call")
def _(patch: Patch) -> None:
    tokens = KnownPrefix.tokens

    def spoilt(prefix: KnownPrefix, known: dict[str, Any], *rest: Any) -> Any:
        texts = {name: f"!{text}" for name, text in known.items() if isinstance(text, str)}
        return tokens(prefix, {**known, **texts}, *rest)

    patch.setattr(KnownPrefix, "tokens", spoilt)


@wrong("what is tried again is ingested twice")
def _(patch: Patch) -> None:
    def twice(store: FakeStore, request: Any) -> list[None]:
        rows: dict[Any, Any] = store._pending.setdefault(request.common["pending"], {})
        for item in request.items:
            rows[len(rows)] = item
        return [None] * len(request.items)

    patch.setattr(FakeStore, "_ingest", twice)


@wrong("the results of what is tried again come to other items")
def _(patch: Patch) -> None:
    take = Task._take

    def turned(task: Task, indices: Any, results: Any, *rest: Any) -> Any:
        return take(task, indices[::-1] if task.attempt else indices, results, *rest)

    patch.setattr(Task, "_take", turned)


@wrong("a batch has the first items of a task, whatever its part of it is")
def _(patch: Patch) -> None:
    request = Sent.request.fget

    def first(part: Sent) -> Request:
        return request(part)._replace(items=part.task.items[: len(part.indices)])

    patch.setattr(Sent, "request", property(first))


@wrong("a collection is looked for on the replicas in turn", SCATTERED)
def _(patch: Patch) -> None:
    turns = count()
    patch.setattr(
        Placement, "of", lambda self, _: self._replicas[next(turns) % len(self._replicas)]
    )


@wrong("whichever replica of a store is free takes its tasks", SCATTERED)
def _(patch: Patch) -> None:
    patch.setattr(PooledEngine, "stores", False)


@wrong(
    "a call runs on all replicas, and all of them are heard",
    f"{DIFFERS}|fails where -O0 does not: .*malformed-output|calls run on an idle engine",
)
def _(patch: Patch) -> None:
    send = LLMScheduler._next

    def everywhere(scheduler: LLMScheduler) -> Any:
        for replica, task in send(scheduler):
            yield replica, task
            for other in scheduler.replicas.values():
                if other is not replica and isinstance(task, LLMTask):
                    other.running[task.id] = task
                    other.held += task.tokens
                    other.send([task])

    patch.setattr(LLMScheduler, "_next", everywhere)


@wrong("queries share what was computed for another text", "the neighbour does not get what -O0")
def _(patch: Patch) -> None:
    of_input = inputs.of_input
    patch.setattr(
        inputs, "of_input", lambda value: of_input("" if isinstance(value, str) else value)
    )


@wrong("what a cancelled query has ingested stays", "not published and not discarded")
def _(patch: Patch) -> None:
    patch.setattr(Ingest, "discard", lambda *_: None)
