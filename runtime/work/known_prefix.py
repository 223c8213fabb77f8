"""The tokens with which a prompt will begin, from what is known of it so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from teola.compiler.cost.prompt_tokens import UNSURE
from teola.compiler.prompts import Budget, BudgetError, splice, template
from teola.runtime.engines.tokenizer import TemplateError, Tokenizer
from teola.runtime.work.prompt import INLINE_CHARACTERS, INLINE_STEPS, short

Messages = list[dict[str, str]]

DUMMIES: Messages = [{"role": "user", "content": "0"}, {"role": "assistant", "content": "x"}]
"""Two messages that stand for what is not known, different from the first character on."""

SPLICED: Sequence[Messages] = ([], [{"role": "system", "content": "_"}], DUMMIES[:1], DUMMIES[1:])
"""What may begin, where a spliced conversation is not known: chat templates look at the first
message."""


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
        """The tokens that prompts have in common which go on differently after what is known, less
        the last few.

        Raises:
            PromptError: the part that is known cannot be rendered.
        """
        begun, endings = self._begun(known, budget or Budget())
        ways = [way for end in endings if (way := self._encoded([*begun, *end])) is not None]
        if len(ways) < min(2, len(endings)):
            return ()
        shortest = min(map(len, ways))
        differing = (n for n, found in enumerate(zip(*ways, strict=False)) if len(set(found)) > 1)
        return ways[0][: max(0, next(differing, shortest) - UNSURE)]

    def _encoded(self, messages: Messages) -> Sequence[int] | None:
        """None where the chat template refuses such messages: then the prompt is not of them."""
        if not messages:
            return None
        try:
            return self.tokenizer.encode_chat(messages)
        except TemplateError:
            return None

    def _begun(
        self, known: Mapping[str, Any], budget: Budget
    ) -> tuple[Messages, Sequence[Messages]]:
        """The messages that are known whole, and the ways in which they may go on."""
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
        return messages, [[]]

    def _goes_on(self, place: int, text: str) -> Sequence[Messages]:
        rest = self.entries[place + 1 :]
        if "splice" in self.entries[place]:
            return [[*begun, *_as(DUMMIES[0], rest)] for begun in SPLICED]
        role = str(self.entries[place]["role"])
        return [
            [{"role": role, "content": text + dummy["content"]}, *_as(dummy, rest)]
            for dummy in DUMMIES
        ]


def _as(dummy: Mapping[str, str], entries: Sequence[Mapping[str, Any]]) -> Messages:
    """Entries with the dummy's text, spliced ones with its role, too."""
    return [{**dummy, "role": str(entry.get("role", dummy["role"]))} for entry in entries]


def _prefix(source: str, known: Mapping[str, Any], budget: Budget) -> tuple[str, bool]:
    """The text of a message as far as it is known, and whether that is all of it."""
    made = template(source)
    count = made.ready_prefix(frozenset(known))
    needs = {name for part in made.parts[:count] for name in part.needs}
    values = {name: known[name] for name in needs}
    return made.render_prefix(count, values, budget), count == len(made.parts)
