"""Embeddings from a server that speaks OpenAI's protocol."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

from teola.runtime.engines.openai.server import Server
from teola.runtime.engines.protocol import Capabilities, Counted, Failure, Request
from teola.runtime.engines.tokenizer import Tokenizer, load_tokenizer
from teola.runtime.errors import RunError, UnsupportedError

if TYPE_CHECKING:
    import numpy as np

    Rows: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]


class OpenAIEmbedder:
    """One request for each batch. Where ``limit_tokens`` is set, longer texts fail alone, before
    anything is sent; a batch that the server refuses is tried again in parts, to find which text it
    does not take."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._server = Server(config)
        self._limit: int | None = config.get("limit_tokens")
        self._tokenizer: Tokenizer | None = None

    async def start(self) -> Capabilities:
        """Reach the server; nothing is embedded."""
        await self._server.open()
        self._tokenizer = await asyncio.to_thread(load_tokenizer, self._config)
        return Capabilities(
            max_items=int(self._config["batch_size"]),
            batch_tokens=self._config.get("batch_tokens"),
            limit=self._limit,
            dimension=self._config.get("dimensions"),
            details={"server": self._server.url},
        )

    async def close(self) -> None:
        """Let the connections go."""
        await self._server.close()

    async def control(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """None known."""
        raise UnsupportedError(f"embedders know no command {command!r}")

    async def run(self, batch: Sequence[Request]) -> Sequence[Sequence[Any] | Failure]:
        """See `BatchEngine.run`; a request without failures gets rows of one ``(n, d)`` array.

        Raises:
            RunError: the server refuses the batch: a text in it is at fault.
        """
        texts = list(chain.from_iterable(request.items for request in batch))
        counts = [self._count(text) for text in texts]
        fit = [at for at, count in enumerate(counts) if not self._limit or count <= self._limit]
        try:
            rows = await self._embed([texts[at] for at in fit]) if fit else ()
        except Exception as error:
            failure = self._server.failure(error)
            if failure.kind == "item":
                raise RunError(failure.message) from error
            return [failure] * len(batch)
        found: dict[int, Any] = dict(zip(fit, rows, strict=True))
        results = iter(
            found[at] if at in found else self._too_long(count) for at, count in enumerate(counts)
        )
        rest = iter(counts)
        return Counted(
            [[next(results) for _ in request.items] for request in batch],
            [[next(rest) for _ in request.items] for request in batch],
        )

    def _count(self, text: str) -> int:
        if self._tokenizer is None:
            raise UnsupportedError("the embedder has not been started")
        return self._tokenizer.count(text)

    def _too_long(self, count: int) -> Failure:
        return Failure(
            "item",
            f"the text has {count} tokens and limit_tokens is {self._limit}: make it shorter",
        )

    async def _embed(self, texts: Sequence[str]) -> Rows:
        """``(n, d)`` float32, in the order of the texts.

        Raises:
            ValueError: the server's answer does not have a row of the wanted size for each.
        """
        wanted = self._config.get("dimensions")
        reply = await self._server.post(
            "/embeddings",
            {
                "input": texts,
                "dimensions": wanted,
                "encoding_format": self._config["encoding"],
            },
        )
        rows = _rows(sorted(reply["data"], key=lambda one: one["index"]), len(texts))
        if wanted not in (None, rows.shape[1]):
            raise ValueError(f"embeddings of {rows.shape[1]} numbers, not of {wanted} (dimensions)")
        return rows


def _rows(data: Sequence[Mapping[str, Any]], count: int) -> Rows:
    import numpy as np

    if len(data) != count:
        raise ValueError(f"{len(data)} embeddings for {count} texts")
    found = [one["embedding"] for one in data]
    rows = [
        np.frombuffer(base64.b64decode(one), "<f4") if isinstance(one, str) else one
        for one in found
    ]
    together = np.asarray(rows, np.float32)
    if together.ndim != 2 or not together.size or not np.isfinite(together).all():
        raise ValueError("embeddings of different lengths, or of numbers that are none")
    return together
