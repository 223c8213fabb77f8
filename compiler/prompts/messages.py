"""A chat prompt: rendered messages, with others spliced in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from teola.compiler.prompts.budget import Budget
from teola.compiler.prompts.errors import PromptError
from teola.compiler.prompts.template import template


def render_messages(
    entries: Sequence[Mapping[str, Any]],
    values: Mapping[str, object],
    budget: Budget | None = None,
) -> list[dict[str, str]]:
    """The messages of a prefill's config (``{role, template}`` or ``{splice: input}``) for
    ``values``, as ``{role, content}``; one ``budget`` bounds all of them.

    Raises:
        BudgetError: they do more than the budget allows.
        PromptError: a template cannot be rendered, or a spliced input is no message.
    """
    budget = budget or Budget()
    messages: list[dict[str, str]] = []
    for entry in entries:
        if "splice" in entry:
            spliced = splice(entry["splice"], values)
            budget.write(sum(len(message["content"]) for message in spliced))
            messages += spliced
        else:
            content = template(entry["template"]).render(values, budget)
            messages.append({"role": entry["role"], "content": content})
    return messages


def splice(name: str, values: Mapping[str, object]) -> list[dict[str, str]]:
    """The message, or messages, that the input ``name`` holds.

    Raises:
        PromptError: it holds something else.
    """
    value = values.get(name)
    items = value if isinstance(value, (list, tuple)) else [value]
    for item in items:
        if not isinstance(item, Mapping) or not {"role", "content"} <= item.keys():
            raise PromptError(f"{name!r} holds no message: expected {{role, content}}", name=name)
    found = cast("list[Mapping[str, object]]", items)
    return [{"role": str(item["role"]), "content": str(item["content"])} for item in found]
