"""The tokens with which a prompt will begin, from what is known of it so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from teola.compiler.prompts import Budget, BudgetError, splice, template
from teola.runtime.engines.tokenizer import Tokenizer
from teola.runtime.work.prompt import INLINE_CHARACTERS, INLINE_STEPS, short

DUMMIES = ({"role": "user", "content": "0"}, {"role": "assistant", "content": "x"})
"""Two messages that stand for what is not known, different from the first character on."""

UNSURE = 8
"""How many tokens before the first unknown one may come out differently once it is known."""

Messages = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class KnownPrefix:
    """``entries`` are the messages of a prompt; a spliced message is known whole or not at all."""

    entries: Sequence[Mapping[str, Any]]
    tokenizer: Tokenizer

    def at_once(self, known: Mapping[str, Any]) -> Sequence[int] | None:
        """The tokens where that is quick; None where more is to be done."""
        if not all(map(short, known.values())):
            return None
        try:
            return self.tokens(known, Budget(INLINE_STEPS, INLINE_CHARACTERS))
        except BudgetError:
            return None

    def tokens(self, known: Mapping[str, Any], budget: Budget | None = None) -> Sequence[int]:
        """The tokens that two prompts have in common which go on differently after what is known,
        less the last few.

        Raises:
            PromptError: the part that is known cannot be rendered.
        """
        begun, rest = self._begun(known, budget or Budget())
        one, other = (self.tokenizer.encode_chat([*begun, *end]) for end in rest)
        same = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
        return one[: max(0, (min(len(one), len(other)) if same is None else same) - UNSURE)]

    def _begun(
        self, known: Mapping[str, Any], budget: Budget
    ) -> tuple[Messages, tuple[Messages, Messages]]:
        """The messages that are known whole, and the two ways in which they go on."""
        messages: Messages = []
        for place, entry in enumerate(self.entries):
            if "splice" not in entry:
                text, whole = _prefix(str(entry["template"]), known, budget)
            elif whole := entry["splice"] in known:
                messages += splice(entry["splice"], known)
                continue
            else:
                text = ""
            if not whole:
                return messages, self._goes_on(place, text)
            messages.append({"role": entry["role"], "content": text})
        return messages, ([], [])

    def _goes_on(self, place: int, text: str) -> tuple[Messages, Messages]:
        one, other = (
            [
                {
                    "role": entry.get("role", dummy["role"]),
                    "content": (text if number == 0 else "") + dummy["content"],
                }
                for number, entry in enumerate(self.entries[place:])
            ]
            for dummy in DUMMIES
        )
        return one, other


def _prefix(source: str, known: Mapping[str, Any], budget: Budget) -> tuple[str, bool]:
    """The text of a message as far as it is known, and whether that is all of it."""
    made = template(source)
    count = made.ready_prefix(frozenset(known))
    needs = {name for part in made.parts[:count] for name in part.needs}
    values = {name: known[name] for name in needs}
    return made.render_prefix(count, values, budget), count == len(made.parts)
