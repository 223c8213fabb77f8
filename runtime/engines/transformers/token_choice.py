"""How each request of a step gets its next token in transformers' continuous batching.

Its manager has one way of sampling for all. It decodes greedily here, and the rows of requests that
want something else are changed first: what their grammar forbids gets no chance, and where a token
is drawn, it is the only one left.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol

import torch
from transformers import LogitsProcessorList
from transformers.generation.continuous_batching.cb_logits_processors import (
    ContinuousBatchingLogitsProcessorList,
)

from teola.runtime.engines.protocol import Generate, Sampling

NAME = "choice"
"""What a request's `TokenChoice` is called among its settings."""
COLDEST = 1e-3
"""A temperature below this is as good as 0."""


class Allowed(Protocol):
    """A grammar at some place of an answer."""

    def tokens(self, answer: Sequence[int]) -> torch.Tensor | None:
        """Which tokens may follow an answer that begins so, (vocabulary,) bool; None: any."""
        ...


class TokenChoice:
    """How one request's tokens are chosen. The draws depend on the seed and on the token's place
    alone: not on the batch, nor on where an answer was broken off."""

    def __init__(self, sampling: Sampling, grammar: Allowed | None) -> None:
        self.sampling, self.grammar = sampling, grammar
        self._seed = secrets.randbits(31) if sampling.seed is None else sampling.seed

    def __deepcopy__(self, _: object) -> TokenChoice:
        """The loop copies a request's settings when it begins it anew."""
        return self

    def seed(self, place: int) -> int:
        """What the token at ``place`` of the sequence is drawn with."""
        return int.from_bytes(blake2b(f"{self._seed}:{place}".encode(), digest_size=7).digest())


@dataclass(frozen=True, slots=True)
class Wanted:
    """A row of a step's logits and what is to be done with it; at temperature 0 nothing is
    drawn."""

    row: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    allowed: torch.Tensor | None = None


class TokenChoices(ContinuousBatchingLogitsProcessorList):  # type: ignore[misc]  # has no types
    """Stands where transformers keeps its list of logits processors."""

    def __init__(self) -> None:
        super().__init__(LogitsProcessorList())
        self.do_processing = True
        self._step: list[Wanted] = []

    def check_kwargs(self, kwargs: dict[str, Any]) -> None:
        """All that a request carries is a `TokenChoice`."""

    def prepare_tensor_args(self, requests_in_batch: Sequence[Any], arg_storage: Any) -> Any:
        """Called before each step with the requests that are in it; those that get a token have a
        row each, in this order."""
        states = [one.state for one in requests_in_batch if one.has_new_token]
        found = ((row, state, state.logit_processor_kwargs) for row, state in enumerate(states))
        self._step = [_wanted(row, state, more[NAME]) for row, state, more in found if more]
        return arg_storage

    def __call__(self, input_ids: Any, scores: torch.Tensor, _: Any) -> torch.Tensor:
        """The logits of a step, (rows, vocabulary), with the chosen tokens on top."""
        return choose(scores, self._step) if self._step else scores


def choice_of(request: Generate, grammar: Allowed | None) -> dict[str, TokenChoice]:
    """What a request carries through the loop; nothing where it is decoded greedily."""
    if grammar is None and not request.sampling.temperature:
        return {}
    return {NAME: TokenChoice(request.sampling, grammar)}


def _wanted(row: int, state: Any, choice: TokenChoice) -> Wanted:
    before = len(state.initial_tokens)
    # A request that was begun anew has the first part of its answer at the end of its prompt.
    prompt = state._true_initial_tokens or before  # noqa: SLF001 - it is told nowhere else
    answer = [*state.initial_tokens[prompt:], *state.generated_tokens]
    how = choice.sampling
    return Wanted(
        row,
        how.temperature,
        how.top_p,
        choice.seed(prompt + len(answer)),
        choice.grammar.tokens(answer) if choice.grammar is not None else None,
    )


def choose(scores: torch.Tensor, step: Sequence[Wanted]) -> torch.Tensor:
    """Change rows of ``scores`` (rows, vocabulary) so that the likeliest token is the one wanted.

    A token is drawn by a race (the Gumbel-max trick): of chances that rounding has changed a little
    it nearly always draws the same, where a place in the cumulated chances would not.
    """
    for one in step:
        row = scores[one.row]
        if one.allowed is not None:
            row[: len(one.allowed)].masked_fill_(~one.allowed.to(row.device), -torch.inf)
            row[len(one.allowed) :] = -torch.inf
        if one.temperature:
            row.copy_(_raced(row / max(one.temperature, COLDEST), one))
    return scores


def _raced(row: torch.Tensor, one: Wanted) -> torch.Tensor:
    if one.top_p < 1:
        row = row.masked_fill(~_nucleus(row.softmax(dim=0), one.top_p), -torch.inf)
    generator = torch.Generator(row.device).manual_seed(one.seed)
    return row - torch.empty_like(row).exponential_(generator=generator).log()


def _nucleus(chances: torch.Tensor, top_p: float) -> torch.Tensor:
    """The likeliest tokens that together have ``top_p``."""
    ranked, order = chances.sort(descending=True, stable=True)
    inside = ranked.cumsum(dim=0) - ranked < top_p
    return torch.zeros_like(inside).scatter_(0, order, inside)
