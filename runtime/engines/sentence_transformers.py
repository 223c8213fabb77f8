"""Embeddings on sentence-transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, TypeAlias

import numpy as np

from teola.runtime.engines.protocol import Capabilities, Counted, Failure, Request
from teola.runtime.engines.text_limit import similar_lengths, too_long
from teola.runtime.engines.tokenizer import Tokenizer, load_tokenizer
from teola.runtime.engines.torch_settings import torch_settings
from teola.runtime.engines.worker_thread import WorkerThread
from teola.runtime.errors import UnsupportedError
from teola.runtime.models import ensure

Rows: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
FORWARD_TEXTS = 8
"""Texts of one forward pass: on a CPU more of them only add padding."""
FORWARD_TEXTS_GPU = 64


class SentenceTransformersEmbedder:
    """Embeds texts with the model of a sentence-transformers folder, float32 whatever its dtype.

    A text over the model's limit fails alone, or is cut where the config says ``truncate``. Special
    tokens in a text are plain characters.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._truncate = bool(config.get("truncate", False))
        self._thread = WorkerThread("embedder")
        self._model: Any = None
        self._tokenizer: Tokenizer | None = None
        self._limit = 0
        self._forward_texts = FORWARD_TEXTS

    async def start(self) -> Capabilities:
        """Load the model."""
        return await self._thread.call(self._load)

    def _load(self) -> Capabilities:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()
        settings = torch_settings(self._config)
        folder = ensure(self._config)
        self._tokenizer = load_tokenizer(self._config)
        self._model = SentenceTransformer(
            str(folder),
            device=settings.device,
            local_files_only=True,
            model_kwargs={"dtype": settings.dtype},
        )
        self._model.tokenizer.split_special_tokens = True
        self._limit = int(self._model.max_seq_length)
        if settings.device != "cpu":
            self._forward_texts = FORWARD_TEXTS_GPU
        warm = self._embed({0: "warm"}, [1])[0]
        return Capabilities(
            max_items=int(self._config.get("batch_size") or 32),
            batch_tokens=self._config.get("batch_tokens"),
            limit=self._limit,
            dimension=warm.shape[0],
            details=settings.details,
        )

    async def close(self) -> None:
        """Let the model go."""
        self._thread.close()
        self._model = None

    async def control(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """None known."""
        raise UnsupportedError(f"embedders know no command {command!r}")

    async def run(self, batch: Sequence[Request]) -> Sequence[Sequence[Any] | Failure]:
        """See `BatchEngine.run`; a request without failures gets one ``(n, d)`` array."""
        return await self._thread.call(self._run, batch)

    def _run(self, batch: Sequence[Request]) -> Sequence[Sequence[Any] | Failure]:
        texts = list(chain.from_iterable(request.items for request in batch))
        counts = [self._count(text) for text in texts]
        fit = [at for at, count in enumerate(counts) if self._truncate or count <= self._limit]
        rows = self._embed({at: texts[at] for at in fit}, counts)
        results = iter(
            rows[at] if at in rows else too_long("the text", count, self._limit)
            for at, count in enumerate(counts)
        )
        rest = iter(counts)
        return Counted(
            [_together([next(results) for _ in request.items]) for request in batch],
            [[next(rest) for _ in request.items] for request in batch],
        )

    def _count(self, text: str) -> int:
        if self._tokenizer is None:
            raise UnsupportedError("the embedder has not been started")
        return self._tokenizer.count(text)

    def _embed(self, texts: Mapping[int, str], counts: Sequence[int]) -> Mapping[int, Rows]:
        """``(d,)`` float32 for the texts at these positions. Those that go through the model
        together are alike in tokens, as shorter ones are padded (sentence-transformers goes by
        characters)."""
        found: dict[int, Rows] = {}
        for group in similar_lengths({at: counts[at] for at in texts}, self._forward_texts):
            rows = self._model.encode(
                [texts[at] for at in group],
                batch_size=self._forward_texts,
                show_progress_bar=False,
            )
            found.update(zip(group, np.asarray(rows, np.float32), strict=True))
        return found


def _together(results: Sequence[Any]) -> Any:
    together: Any = results
    if results and not any(isinstance(result, Failure) for result in results):
        together = np.stack(results)
    return together
