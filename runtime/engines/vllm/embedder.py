"""Embeddings on vLLM."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from teola.runtime.engines.protocol import Failure, Request
from teola.runtime.engines.text_limit import too_long
from teola.runtime.engines.token_encoder import special_tokens
from teola.runtime.engines.tokenizer import Tokenizer, load_tokenizer
from teola.runtime.engines.vllm.pooling import PoolingEngine, Text


class VllmEmbedder(PoolingEngine):
    """Embeds texts, float32 whatever the model's dtype; a request without failures gets one
    ``(n, d)`` array. Special tokens in a text are plain characters."""

    task: ClassVar[str] = "embed"
    sample: ClassVar[Request] = Request("embed", ["warm"])

    def _prepare(self, limit: int) -> None:
        self._limit = limit
        self._tokenizer: Tokenizer = load_tokenizer(self._config)
        self._before, self._after = special_tokens(self._tokenizer)

    def _text(self, request: Request, item: str) -> Text | Failure:
        tokens = self._tokenizer.encode(item)
        room = self._limit - len(self._before) - len(self._after)
        if len(tokens) > room and not self._truncate:
            return too_long("the text", len(tokens) + self._limit - room, self._limit)
        found = [*self._before, *tokens[:room], *self._after]
        return Text(found, len(found))

    def _result(self, data: Any) -> Any:
        return data.float().cpu().numpy()

    def _together(self, results: list[Any]) -> Any:
        if results and not any(isinstance(result, Failure) for result in results):
            return np.stack(results)
        return results

    def _dimension(self, result: Any) -> int | None:
        return int(result.shape[0])
