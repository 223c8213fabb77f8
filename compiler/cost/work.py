"""The least work that tasks are to one engine: all of it at its best batch size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from teola.compiler.cost.costs import Costs, free
from teola.compiler.cost.llm_machine import prompt_budget
from teola.compiler.cost.profile import Entry
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
    """The tokens of a prompt that are neither cached nor can be prefilled before the call."""
    hint = longest_hint(egraph, call)
    early = max(call.cached, hint.tokens) if hint is not None else call.cached
    return max(0, call.tokens - early)


def longest_hint(egraph: EGraph, call: Task) -> Task | None:
    """The warm-up that leaves the least of a call's prompt."""
    hints = [egraph.by_id[name] for name in call.warmed_by]
    return max(hints, key=lambda hint: hint.tokens, default=None)


class Company:
    """How many sequences an LLM can run at once in any schedule, by its home, and ``prompts`` it
    can compute at once, warm-ups among them."""

    def __init__(self, egraph: EGraph, costs: Costs) -> None:
        calls: dict[str, list[Task]] = {}
        hints: Counter[str] = Counter()
        for task in egraph.tasks:
            if task.form == "prefill":
                calls.setdefault(costs.home(task), []).append(task)
            elif task.form == "hint":
                hints[costs.home(task)] += 1
        self.sequences = {home: _together(egraph, costs, own) for home, own in calls.items()}
        self.prompts = {home: count + hints[home] for home, count in self.sequences.items()}


def _together(egraph: EGraph, costs: Costs, calls: Collection[Task]) -> int:
    """How many of these calls can run at once: not those that follow on one another."""
    found = len(calls) - _longest_chain(egraph, {task.id for task in calls}) + 1
    settings = costs.settings(next(iter(calls)).engine)
    return min(found, most_requests(settings) or found)


def least_work_ms(egraph: EGraph, costs: Costs, tasks: Collection[Task], company: Company) -> float:
    """The work of tasks on one engine, in milliseconds: items in batches of the best size, calls
    that need not follow on one another together, and a prefix that several share once if its
    warm-up is among ``tasks``."""
    settings = costs.settings(next(iter(tasks)).engine)
    counts: dict[str, Counter[int]] = {}
    for task in tasks:
        if task.form not in ("prefill", "decode", "hint"):
            counts.setdefault(task.operation, Counter())[task.tokens] += task.items
    total = _calls_ms(egraph, costs, tasks, company)
    for operation, lengths in counts.items():
        one = next(task for task in tasks if task.operation == operation)
        entry = costs.entry(one) or free(operation)
        most = efficient_batch(entry, settings)
        together = min(lengths.total(), most)
        for tokens, items in lengths.items():
            total += items * entry.least_ms(tokens, together, most)
    return total


def _calls_ms(egraph: EGraph, costs: Costs, tasks: Collection[Task], company: Company) -> float:
    calls, hints, decodes = (_of_form(tasks, form) for form in ("prefill", "hint", "decode"))
    if not calls:
        return 0.0
    settings = costs.settings(calls[0].engine)
    prefill = costs.entry(calls[0]) or free("prefill")
    home = costs.home(calls[0])
    scale = prefill.least_scale(company.prompts[home])
    chain = _longest_chain(egraph, {task.id for task in calls})
    total = scale * (chain * prefill.base_ms + _prompts_ms(egraph, prefill, calls, hints))
    if not decodes:
        return total
    decode = costs.entry(decodes[0]) or free("decode")
    together, most = _together(egraph, costs, calls), company.sequences[home]
    for one in decodes:
        total += decode_steps(one) * decode.least_ms(context_tokens(egraph, one), together, most)
    # A prompt in a step of decodes saves that step's base; but each has a prefill base of its own.
    mixed = hints if chain == len(calls) else [*calls, *hints]
    tokens = sum(task.tokens - task.cached for task in mixed)
    saved = max(0.0, decode.base_ms - scale * prefill.base_ms) * len(mixed)
    return total - saved - decode.base_ms * (tokens // prompt_budget(settings))


def _prompts_ms(
    egraph: EGraph, prefill: Entry, calls: Collection[Task], hints: Collection[Task]
) -> float:
    """What is prefilled at least, by calls or by warm-ups before them."""
    among = {hint.id for hint in hints}
    prefixes: dict[str, int] = {}
    for call in calls:
        hint = longest_hint(egraph, call)
        if hint is not None and hint.id in among:
            prefixes[hint.id] = max(0, min(hint.tokens, call.tokens) - hint.cached)
    own = sum(prefill.added_ms(rest_tokens(egraph, call)) for call in calls)
    return own + sum(prefixes.values()) * prefill.least_token_ms


def _longest_chain(egraph: EGraph, among: Collection[str]) -> int:
    """How many of these tasks follow on one another at most."""
    length: dict[str, int] = {}
    for task in egraph.tasks:
        before = max((length[name] for name in task.after), default=0)
        length[task.id] = before + (task.id in among)
    return max(length.values(), default=0)


def _of_form(tasks: Collection[Task], form: Form) -> list[Task]:
    return [task for task in tasks if task.form == form]
