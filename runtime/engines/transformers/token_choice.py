"""How each request of a step gets its next token in transformers' continuous batching.

Its manager has one way of sampling for all. It decodes greedily here, and the rows of requests that
want something else are changed first: what their grammar forbids gets no chance, and where a token
is drawn, it is the only one left.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol

import torch
from transformers import LogitsProcessorList
from transformers.generation.continuous_batching.cb_logits_processors import (
    ContinuousBatchingLogitsProcessorList,
)

from teola.runtime.engines.protocol import GREEDY, Generate, Sampling
from teola.runtime.engines.transformers.told import Told

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
    alone: not on the batch, nor on where an answer was broken off. What there is to tell goes
    into ``told``."""

    def __init__(
        self, sampling: Sampling, grammar: Allowed | None, told: Told | None = None
    ) -> None:
        self.sampling, self.grammar, self.told = sampling, grammar, told or Told()
        self._seed = secrets.randbits(31) if sampling.seed is None else sampling.seed

    def __deepcopy__(self, _: object) -> TokenChoice:
        """The loop copies a request's settings when it begins it anew."""
        return self

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is the one, and nothing more is asked."""
        how = self.sampling
        return self.grammar is None and not how.temperature and not how.logprobs

    def begin(self, there: int) -> None:
        """A step begins; so many tokens of the sequence are there."""
        if self.told.cached is None:
            self.told.cached = there

    def seed(self, place: int) -> int:
        """What the token at ``place`` of the sequence is drawn with."""
        return int.from_bytes(blake2b(f"{self._seed}:{place}".encode(), digest_size=7).digest())


NOBODYS = TokenChoice(GREEDY, None)
"""Of what the library computes for nobody, to rehearse steps."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A row of a step's logits and what is to be done with it; at temperature 0 nothing is
    drawn."""

    row: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    allowed: torch.Tensor | None = None
    logprobs: int = 0
    told: list[dict[int, float]] | None = None


class TokenChoices(ContinuousBatchingLogitsProcessorList):  # type: ignore[misc]  # has no types
    """Stands where transformers keeps its list of logits processors. Steps that give no token,
    because prompts are long, go by nowhere else: ``silent`` is called as each of them begins."""

    def __init__(self, silent: Callable[[], None] = lambda: None) -> None:
        super().__init__(LogitsProcessorList())
        self.do_processing = True
        self._silent = silent
        self.recorded: torch.Tensor | None = None
        self.chosen = False
        self._step: list[Wanted] = []

    def check_kwargs(self, kwargs: dict[str, Any]) -> None:
        """All that a request carries is a `TokenChoice`."""

    def prepare_tensor_args(self, requests_in_batch: Sequence[Any], arg_storage: Any) -> Any:
        """Called before each step with the requests that are in it, which count its tokens among
        those they have by now; those that get a token have a row each, in this order."""
        rows = []
        for one in requests_in_batch:
            choice = one.state.logit_processor_kwargs.get(NAME, NOBODYS)
            choice.begin(one.state.position_offset - one.query_length)
            if one.has_new_token:
                rows.append((one.state, choice))
        if not rows:
            self._silent()
        self._step = [
            _wanted(row, state, choice)
            for row, (state, choice) in enumerate(rows)
            if not choice.greedy
        ]
        return arg_storage

    def __call__(self, input_ids: Any, scores: torch.Tensor, _: Any) -> torch.Tensor:
        """The logits of a step, (rows, vocabulary), with the chosen tokens on top. What a step
        wants does not become part of a CUDA graph: ``recorded`` are the logits of the one that is
        being recorded, ``chosen`` says that a step has been computed."""
        if recording(scores):
            self.recorded = scores
            return scores
        self.chosen = True
        return choose(scores, self._step) if self._step else scores

    def begin_recording(self) -> None:
        """Forget what was recorded, and that a step was computed."""
        self.recorded, self.chosen = None, False

    def choose_again(self, scores: torch.Tensor, tokens: torch.Tensor) -> None:
        """Put the chosen tokens in place of the likeliest, where a graph gave ``scores`` (rows,
        vocabulary) and ``tokens`` (rows)."""
        if not self._step:
            return
        choose(scores, self._step)
        for one in self._step:
            tokens[one.row].copy_(scores[one.row].argmax())


def recording(scores: torch.Tensor) -> bool:
    """Whether they are computed for a CUDA graph that is being recorded."""
    return scores.is_cuda and torch.cuda.is_current_stream_capturing()


def choice_of(
    request: Generate, grammar: Allowed | None, told: Told | None = None
) -> dict[str, TokenChoice]:
    """What a request carries through the loop."""
    return {NAME: TokenChoice(request.sampling, grammar, told)}


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
        how.logprobs,
        choice.told.likeliest,
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
        if one.logprobs and one.told is not None:
            one.told.append(_likeliest(row, one.logprobs))
        if one.temperature:
            row.copy_(_raced(row / max(one.temperature, COLDEST), one))
    return scores


def _likeliest(row: torch.Tensor, count: int) -> dict[int, float]:
    """The likeliest tokens, with the logarithms of their probabilities."""
    found = row.float().log_softmax(dim=0).topk(min(count, len(row)))
    pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
    return {token: log for token, log in pairs if log > -torch.inf}


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
