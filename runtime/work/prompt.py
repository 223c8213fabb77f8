"""The prompt of an LLM call: rendered, made tokens, and cut until it fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from teola.compiler.prompts import Budget, BudgetError, render_messages
from teola.runtime.engines.tokenizer import FourBytes, Tokenizer
from teola.runtime.errors import ModuleError, Place

INLINE_CHARACTERS = 8_000
INLINE_STEPS = 2_000
"""A prompt of no more is rendered and encoded at once: going to a thread would take longer."""


class Rendered(NamedTuple):
    """A prompt as messages, and as the tokens that they are (or are about as many as)."""

    messages: Sequence[Mapping[str, str]]
    tokens: Sequence[int]


class Prompt(NamedTuple):
    """``entries`` are its messages, ``room`` the tokens that fit (0: any number do), ``truncate``
    names the input whose items are dropped from its end until it fits."""

    place: Place
    entries: Sequence[Mapping[str, Any]]
    tokenizer: Tokenizer
    room: int
    max_tokens: int
    truncate: str | None

    def tokens_of(self, texts: Mapping[str, str]) -> dict[str, int]:
        """The tokens of some of its inputs."""
        return {name: len(self.tokenizer.encode(text)) for name, text in texts.items()}

    def at_once(self, inputs: Mapping[str, Any]) -> Rendered | None:
        """A prompt that is short and fits; None where more is to be done."""
        if not all(map(short, inputs.values())):
            return None
        try:
            found = self._encode(inputs, Budget(INLINE_STEPS, INLINE_CHARACTERS))
        except BudgetError:
            return None
        return found if self._fits(found) else None

    def fitted(self, inputs: Mapping[str, Any]) -> Rendered:
        """The prompt, with as many items of ``truncate`` as fit (found by bisection).

        Raises:
            PromptError: a message cannot be rendered.
            ModuleError: the prompt is too long, and nothing is left that may be cut.
        """
        found = self._encode(inputs, Budget())
        if self._fits(found):
            return found
        items = inputs.get(self.truncate) if self.truncate else None
        if not isinstance(items, list) or not items:
            raise self._too_long(found)
        return self._cut(inputs, items)

    def _cut(self, inputs: Mapping[str, Any], items: list[Any]) -> Rendered:
        def with_first(count: int) -> Rendered:
            return self._encode({**inputs, str(self.truncate): items[:count]}, Budget())

        kept, left_out, best = 0, len(items), with_first(0)
        if not self._fits(best):
            raise self._too_long(best)
        while left_out - kept > 1:
            middle = (kept + left_out) // 2
            found = with_first(middle)
            if self._fits(found):
                kept, best = middle, found
            else:
                left_out = middle
        return best

    def _encode(self, inputs: Mapping[str, Any], budget: Budget) -> Rendered:
        messages = render_messages(self.entries, inputs, budget)
        return Rendered(messages, self.tokenizer.encode_chat(messages))

    def _fits(self, found: Rendered) -> bool:
        return not self.room or len(found.tokens) + self.max_tokens <= self.room

    def _too_long(self, found: Rendered) -> ModuleError:
        if self.max_tokens >= self.room:
            return ModuleError(
                self.place,
                f"prompt-too-long: max_tokens {self.max_tokens} leaves no room for a prompt: the "
                f"model has {self.room} tokens for both; lower sampling.max_tokens",
                "item",
            )
        about = "about " if isinstance(self.tokenizer, FourBytes) else ""
        return ModuleError(
            self.place,
            f"prompt-too-long: the prompt has {about}{len(found.tokens)} tokens, the model has "
            f"room for {self.room - self.max_tokens} ({self.room} less max_tokens "
            f"{self.max_tokens}); "
            "shorten the inputs, or name the input to cut with `truncate:`",
            "item",
        )


def short(value: Any) -> bool:
    """Whether looking at a value takes no time; what is in a list's items the budget finds."""
    if isinstance(value, str):
        return len(value) <= INLINE_CHARACTERS
    return not isinstance(value, list) or len(value) <= INLINE_STEPS
