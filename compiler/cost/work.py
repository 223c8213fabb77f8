"""The least work that tasks are to one engine: all of it at its best batch size."""

from __future__ import annotations

from collections.abc import Collection

from teola.compiler.cost.costs import Costs, free
from teola.compiler.cost.llm_machine import prompt_budget
from teola.compiler.cost.servers import efficient_batch, most_requests
from teola.compiler.graph.egraph import EGraph, Form, Task


def decode_steps(decode: Task) -> int:
    """The steps of a decode: the prefill gives the first token."""
    return max(0, decode.tokens - (decode.first == 0))


def context_tokens(egraph: EGraph, decode: Task) -> float:
    """The tokens before those that a decode gives, prompt and answer, on average."""
    tokens, before = decode.tokens / 2, egraph.by_id[decode.after[0]]
    while before.form == "decode":
        tokens, before = tokens + before.tokens, egraph.by_id[before.after[0]]
    return tokens + before.tokens


def prefill_of(egraph: EGraph, decode: Task) -> Task:
    """The prefill that a decode, or a later part of one, goes on from."""
    while decode.form == "decode":
        decode = egraph.by_id[decode.after[0]]
    return decode


def rest_tokens(egraph: EGraph, call: Task) -> int:
    """The tokens of a prompt that cannot be prefilled before the call."""
    hint = longest_hint(egraph, call)
    return max(0, call.tokens - hint.tokens) if hint is not None else call.tokens


def longest_hint(egraph: EGraph, call: Task) -> Task | None:
    """The warm-up that leaves the least of a call's prompt."""
    hints = [egraph.by_id[name] for name in call.warmed_by]
    return max(hints, key=lambda hint: hint.tokens, default=None)


def least_work_ms(egraph: EGraph, costs: Costs, tasks: Collection[Task]) -> float:
    """The work of tasks on one engine, in milliseconds: items in batches of the efficient size,
    calls that need not follow on one another together, and a prefix that several share once if its
    warm-up is among ``tasks``."""
    total = _calls_ms(egraph, costs, tasks)
    settings = costs.settings(next(iter(tasks)).engine)
    counts: dict[str, int] = {}
    for task in tasks:
        if task.form not in ("prefill", "decode", "hint"):
            entry = costs.entry(task) or free(task.operation)
            counts[task.operation] = counts.get(task.operation, 0) + task.items
            total += task.items * (entry.item_ms + task.tokens * entry.token_ms)
    for operation, items in counts.items():
        one = next(task for task in tasks if task.operation == operation)
        entry = costs.entry(one) or free(operation)
        total += entry.base_ms * items / min(items, efficient_batch(entry, settings))
    return total


def _calls_ms(egraph: EGraph, costs: Costs, tasks: Collection[Task]) -> float:
    calls, hints, decodes = (_of_form(tasks, form) for form in ("prefill", "hint", "decode"))
    if not calls:
        return 0.0
    settings = costs.settings(calls[0].engine)
    prefill = costs.entry(calls[0]) or free("prefill")
    chain = _longest_chain(egraph, {task.id for task in calls})
    total = chain * prefill.base_ms + len(calls) * prefill.item_ms
    total += _prompt_tokens(egraph, calls, hints) * prefill.token_ms
    if not decodes:
        return total
    decode = costs.entry(decodes[0]) or free("decode")
    together = len(calls) - chain + 1
    together = min(together, most_requests(settings) or together)
    total += sum(map(decode_steps, decodes)) * decode.base_ms / together
    for one in decodes:
        item_ms = decode.item_ms + context_tokens(egraph, one) * decode.token_ms
        total += decode_steps(one) * item_ms
    # A prompt in a step of decodes saves that step's base; but each has a prefill base of its own.
    mixed = hints if chain == len(calls) else [*calls, *hints]
    tokens = sum(task.tokens for task in mixed)
    saved = max(0.0, decode.base_ms - prefill.base_ms) * len(mixed)
    return total - saved - decode.base_ms * (tokens // prompt_budget(settings))


def _prompt_tokens(egraph: EGraph, calls: Collection[Task], hints: Collection[Task]) -> int:
    """What is prefilled at least, by calls or by warm-ups before them."""
    among = {hint.id for hint in hints}
    total = sum(rest_tokens(egraph, call) for call in calls)
    prefixes: dict[str, int] = {}
    for call in calls:
        hint = longest_hint(egraph, call)
        if hint is not None and hint.id in among:
            prefixes[hint.id] = min(hint.tokens, call.tokens)
    return total + sum(prefixes.values())


def _longest_chain(egraph: EGraph, among: Collection[str]) -> int:
    """How many of these tasks follow on one another at most."""
    length: dict[str, int] = {}
    for task in egraph.tasks:
        before = max((length[name] for name in task.after), default=0)
        length[task.id] = before + (task.id in among)
    return max(length.values(), default=0)


def _of_form(tasks: Collection[Task], form: Form) -> list[Task]:
    return [task for task in tasks if task.form == form]
