"""Cross-encoders on vLLM."""

from __future__ import annotations

from typing import Any, ClassVar

from teola.runtime.engines.protocol import Failure, Request
from teola.runtime.engines.text_limit import too_long
from teola.runtime.engines.vllm.pooling import PoolingEngine, Text
from teola.runtime.models import ensure


class VllmReranker(PoolingEngine):
    """Scores a passage by what a cross-encoder with one label makes of it and the query, read
    together: from 0 to 1. Where texts are cut, the passage is."""

    task: ClassVar[str] = "classify"
    sample: ClassVar[Request] = Request("score", ["warm"], {"query": "warm"})

    def _prepare(self, limit: int) -> None:
        import tokenizers

        self._limit = limit
        self._pairs = tokenizers.Tokenizer.from_file(str(ensure(self._config) / "tokenizer.json"))
        self._pairs.encode_special_tokens = True  # in a text they are plain characters
        self._pairs.no_padding()
        self._pairs.no_truncation()
        self._special = self._pairs.num_special_tokens_to_add(is_pair=False)

    def _text(self, request: Request, item: str) -> Text | Failure:
        pair = self._pairs.encode(request.common["query"], item)
        passage = [at for at, part in enumerate(pair.sequence_ids) if part == 1]
        room = self._limit - (len(pair.ids) - len(passage))
        if room < 0:
            return too_long("the query", self._limit - room, self._limit)
        if len(passage) > room and not self._truncate:
            return too_long("the query with the passage", len(pair.ids), self._limit)
        cut = frozenset(passage[room:])
        return Text(
            [token for at, token in enumerate(pair.ids) if at not in cut],
            len(passage) + self._special,
            pair.type_ids.index(1) if 1 in pair.type_ids else None,
        )

    def _result(self, data: Any) -> Any:
        return float(data.reshape(-1)[0])
