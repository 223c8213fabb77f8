"""The answer of a server, put together from the parts in which it comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from teola.runtime.engines.openai.wrapping import Unwrapping
from teola.runtime.engines.protocol import Chances, Failure, Generate, TokenEvent

ENDS: Mapping[str, Failure] = {
    "abort": Failure("engine", "the server gave the answer up"),
    "content_filter": Failure("item", "the server's content filter broke the answer off"),
    "error": Failure("engine", "the server failed within the answer"),
}
"""Reasons for an end that is none; all others but ``length`` are as good as ``stop``."""
BROKEN_OFF = Failure("engine", "the server broke off within the answer")


class Answer:
    """Tokens (``by_token``) or text, as the server tells them. A text's tokens only count: one for
    each of its parts, and at the end what the server has counted more. ``wrapped``: the text comes
    in an object, which is left away."""

    def __init__(self, request: Generate, *, by_token: bool, wrapped: bool = False) -> None:
        self._id, self._whole = request.id, not request.stream
        self._by_token = by_token
        self._of_text = Unwrapping() if wrapped else None
        self._of_steps = Unwrapping() if wrapped else None
        self._tokens: list[int] = []
        self._text = ""
        self._chances: list[Chances] = []
        self._counted = 0
        self._reason: str | None = None
        self._usage: Mapping[str, Any] = {}

    def take(self, part: Mapping[str, Any]) -> TokenEvent | None:
        """What a part brings; the last one's is held back until it is known that it is the last."""
        self._usage = part.get("usage") or self._usage
        for choice in part.get("choices") or ():
            self._reason = choice.get("finish_reason") or self._reason
            self._add(choice)
        if self._whole or self._reason is not None or not (self._tokens or self._text):
            return None
        return TokenEvent(
            self._id, self._taken(), text=self._taken_text(), chances=self._taken_chances()
        )

    def _add(self, choice: Mapping[str, Any]) -> None:
        delta = choice.get("delta") or choice
        text = delta.get("content") or delta.get("text") or ""
        tokens = list(choice.get("token_ids") or ())
        steps = _steps(choice.get("logprobs") or {})
        if steps and choice.get("finish_reason") == "stop":
            steps[-1] = _ending(steps[-1], text)
        self._chances += self._of_steps.steps(steps) if self._of_steps else steps
        if self._by_token:
            ends = choice.get("finish_reason") == "stop"  # with a token that ends answers
            self._tokens += tokens[:-1] if ends else tokens
        elif text:
            self._text += self._of_text.push(text) if self._of_text else text
            self._tokens += tokens or (0,)

    def _taken(self) -> Sequence[int]:
        tokens, self._tokens = self._tokens, []
        self._counted += len(tokens)
        return tokens

    def _taken_text(self) -> str | None:
        text, self._text = self._text, ""
        return None if self._by_token else text

    def _taken_chances(self) -> Sequence[Chances]:
        chances, self._chances = self._chances, []
        return chances

    def end(self) -> TokenEvent:
        """There are no more parts: the last event."""
        if self._reason is None or self._reason in ENDS:
            return self.broken(ENDS.get(self._reason or "", BROKEN_OFF))
        if not self._by_token:
            counted = self._counted + len(self._tokens)
            self._tokens += [0] * (int(self._usage.get("completion_tokens") or 0) - counted)
        details = self._usage.get("prompt_tokens_details") or {}
        return TokenEvent(
            self._id,
            self._taken(),
            "length" if self._reason == "length" else "stop",
            text=self._taken_text(),
            cached=details.get("cached_tokens"),
            prompt=self._usage.get("prompt_tokens"),
            chances=self._taken_chances(),
        )

    def broken(self, failure: Failure) -> TokenEvent:
        """It will not be completed: the last event. An answer whose end was told is complete."""
        if self._reason is not None and self._reason not in ENDS:
            return self.end()
        return TokenEvent(self._id, (), failure=failure)


def _steps(told: Mapping[str, Any]) -> list[Chances]:
    """What could have come at each step, as conversations tell it (``content``), or completions."""
    if told.get("content") is not None:
        steps = [(one, one.get("top_logprobs") or ()) for one in told["content"]]
        return [
            [(came["token"], came["logprob"]), *_others(came["token"], could)]
            for came, could in steps
        ]
    tops = ([{"token": t, "logprob": p} for t, p in (top or {}).items()]
            for top in told.get("top_logprobs") or ())  # fmt: skip
    came = zip(told.get("tokens") or (), told.get("token_logprobs") or (), tops, strict=False)
    return [[(token, log), *_others(token, could)] for token, log, could in came]


def _ending(step: Chances, text: str) -> Chances:
    """The last step; a token that ended the answer is no part of its text."""
    (came, log), *others = step
    return step if text.endswith(str(came)) else [("", log), *others]


def _others(came: str, could: Sequence[Mapping[str, Any]]) -> Chances:
    return [(one["token"], one["logprob"]) for one in could if one["token"] != came]
