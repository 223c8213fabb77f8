"""Reranking by models that read a query and a passage together, on sentence-transformers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from teola.runtime.engines.protocol import Capabilities, Counted, Failure, Request
from teola.runtime.engines.text_limit import similar_lengths, too_long
from teola.runtime.engines.tokenizer import Tokenizer, load_tokenizer
from teola.runtime.engines.torch_settings import torch_settings
from teola.runtime.engines.worker_thread import WorkerThread
from teola.runtime.errors import UnsupportedError
from teola.runtime.models import ensure

FORWARD_PAIRS = 8
"""Pairs of one forward pass: on a CPU more of them only add padding."""
FORWARD_PAIRS_GPU = 64
WORD = "a"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts; ``asked`` counts the tokens of the query and those around both texts, ``size``
    those of the passage."""

    query: str
    passage: str
    asked: int
    size: int

    @property
    def tokens(self) -> int:
        """All that the model reads."""
        return self.asked + self.size


class CrossEncoderReranker:
    """Scores a passage by the model's one output for the pair, after the activation that its config
    names (a sigmoid where it names none), in float32 whatever its dtype.

    The model's limit is for both texts and the special tokens together: a longer pair fails alone,
    or its longer text is cut where the config says ``truncate``. Special tokens in a text are plain
    characters.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._truncate = bool(config.get("truncate", False))
        self._thread = WorkerThread("reranker")
        self._model: Any = None
        self._tokenizer: Tokenizer | None = None
        self._limit = self._around = 0
        self._forward_pairs = FORWARD_PAIRS

    async def start(self) -> Capabilities:
        """Load the model.

        Raises:
            UnsupportedError: it does not give one score for a pair.
        """
        return await self._thread.call(self._load)

    def _load(self) -> Capabilities:
        from sentence_transformers import CrossEncoder
        from transformers.utils import logging

        logging.disable_progress_bar()
        settings = torch_settings(self._config)
        folder = ensure(self._config)
        self._tokenizer = tokenizer = load_tokenizer(self._config)
        self._model = model = CrossEncoder(
            str(folder),
            device=settings.device,
            local_files_only=True,
            model_kwargs={"dtype": settings.dtype},
        )
        if model.num_labels != 1:
            raise UnsupportedError(
                f"the model in {folder} has {model.num_labels} outputs for a pair of texts and a "
                "reranker needs one: give a cross-encoder, or an embedding model to backend: maxsim"
            )
        if "message" not in model.modalities:  # a chat template has special tokens of its own
            model.tokenizer.split_special_tokens = True
        if settings.device != "cpu":
            self._forward_pairs = FORWARD_PAIRS_GPU
        self._limit = int(model.max_seq_length)
        size = len(tokenizer.encode(WORD))
        whole = int(model.preprocess([(WORD, WORD)])["attention_mask"].sum())
        self._around = whole - 2 * size
        self._scores([Pair(WORD, WORD, whole - size, size)])
        return Capabilities(
            max_items=int(self._config.get("batch_size") or 32),
            batch_tokens=self._config.get("batch_tokens"),
            limit=self._limit,
            details=settings.details,
        )

    async def close(self) -> None:
        """Let the model go."""
        self._thread.close()
        self._model = None

    async def control(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """None known."""
        raise UnsupportedError(f"rerankers know no command {command!r}")

    async def run(self, batch: Sequence[Request]) -> Sequence[Sequence[Any] | Failure]:
        """See `BatchEngine.run`."""
        if self._tokenizer is None:
            raise UnsupportedError("the reranker has not been started")
        return await self._thread.call(self._run, self._tokenizer, batch)

    def _run(
        self, tokenizer: Tokenizer, batch: Sequence[Request]
    ) -> Sequence[Sequence[Any] | Failure]:
        asked = [self._pairs(tokenizer, request) for request in batch]
        scores = self._scores(pair for pair in chain(*asked) if self._fits(pair))
        special = tokenizer.count("")
        return Counted(
            [
                [scores[pair] if pair in scores else self._refusal(pair) for pair in pairs]
                for pairs in asked
            ],
            [[pair.size + special for pair in pairs] for pairs in asked],
        )

    def _pairs(self, tokenizer: Tokenizer, request: Request) -> list[Pair]:
        query = request.common["query"]
        asked = self._around + len(tokenizer.encode(query))
        return [Pair(query, text, asked, len(tokenizer.encode(text))) for text in request.items]

    def _fits(self, pair: Pair) -> bool:
        return self._truncate or pair.tokens <= self._limit

    def _refusal(self, pair: Pair) -> Failure:
        if pair.asked > self._limit:
            return too_long("the query", pair.asked, self._limit)
        return too_long("the query with the passage", pair.tokens, self._limit)

    def _scores(self, pairs: Iterable[Pair]) -> Mapping[Pair, float]:
        """The score of each different pair; alike in tokens go through the model together, as
        shorter ones are padded."""
        wanted = list(dict.fromkeys(pairs))
        lengths = {at: pair.tokens for at, pair in enumerate(wanted)}
        scores: dict[Pair, float] = {}
        for group in similar_lengths(lengths, self._forward_pairs):
            some = [wanted[at] for at in group]
            found = self._model.predict(
                [(pair.query, pair.passage) for pair in some],
                batch_size=self._forward_pairs,
                show_progress_bar=False,
            )
            scores.update(zip(some, map(float, found), strict=True))
        return scores
