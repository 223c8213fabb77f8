"""The prompt of an LLM call: rendered, made tokens, and cut until it fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from teola.compiler.prompts import Budget, BudgetError, render_messages
from teola.runtime.engines.tokenizer import Tokenizer
from teola.runtime.errors import ModuleError, Place

INLINE_CHARACTERS = 8_000
INLINE_STEPS = 2_000
"""A prompt of no more is rendered and encoded at once: going to a thread would take longer."""


@dataclass(frozen=True, slots=True)
class Prompt:
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

    def at_once(self, inputs: Mapping[str, Any]) -> Sequence[int] | None:
        """The tokens of a prompt that is short and fits; None where more is to be done."""
        if not all(map(short, inputs.values())):
            return None
        try:
            tokens = self._encode(inputs, Budget(INLINE_STEPS, INLINE_CHARACTERS))
        except BudgetError:
            return None
        return tokens if self._fits(tokens) else None

    def fitted(self, inputs: Mapping[str, Any]) -> Sequence[int]:
        """The tokens, with as many items of ``truncate`` as fit (found by bisection).

        Raises:
            PromptError: a message cannot be rendered.
            ModuleError: the prompt is too long, and nothing is left that may be cut.
        """
        tokens = self._encode(inputs, Budget())
        if self._fits(tokens):
            return tokens
        items = inputs.get(self.truncate) if self.truncate else None
        if not isinstance(items, list) or not items:
            raise self._too_long(tokens)
        return self._cut(inputs, items)

    def _cut(self, inputs: Mapping[str, Any], items: list[Any]) -> Sequence[int]:
        def with_first(count: int) -> Sequence[int]:
            return self._encode({**inputs, str(self.truncate): items[:count]}, Budget())

        kept, left_out, best = 0, len(items), with_first(0)
        if not self._fits(best):
            raise self._too_long(best)
        while left_out - kept > 1:
            middle = (kept + left_out) // 2
            tokens = with_first(middle)
            if self._fits(tokens):
                kept, best = middle, tokens
            else:
                left_out = middle
        return best

    def _encode(self, inputs: Mapping[str, Any], budget: Budget) -> Sequence[int]:
        return self.tokenizer.encode_chat(render_messages(self.entries, inputs, budget))

    def _fits(self, tokens: Sequence[int]) -> bool:
        return not self.room or len(tokens) + self.max_tokens <= self.room

    def _too_long(self, tokens: Sequence[int]) -> ModuleError:
        if self.max_tokens >= self.room:
            return ModuleError(
                self.place,
                f"prompt-too-long: max_tokens {self.max_tokens} leaves no room for a prompt: the "
                f"model has {self.room} tokens for both; lower sampling.max_tokens",
                "item",
            )
        return ModuleError(
            self.place,
            f"prompt-too-long: the prompt has {len(tokens)} tokens, the model has room for "
            f"{self.room - self.max_tokens} ({self.room} less max_tokens {self.max_tokens}); "
            "shorten the inputs, or name the input to cut with `truncate:`",
            "item",
        )


def short(value: Any) -> bool:
    """Whether looking at a value takes no time; what is in a list's items the budget finds."""
    if isinstance(value, str):
        return len(value) <= INLINE_CHARACTERS
    return not isinstance(value, list) or len(value) <= INLINE_STEPS
