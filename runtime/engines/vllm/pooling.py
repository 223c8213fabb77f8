"""Engines whose work is items, on vLLM's pooling models."""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar

from teola.runtime.engines.protocol import Capabilities, Counted, Failure, Request
from teola.runtime.engines.vllm.arguments import environment
from teola.runtime.engines.vllm.installed import require_vllm
from teola.runtime.errors import RunError, UnsupportedError
from teola.runtime.hosts.errors import EngineDied

if TYPE_CHECKING:
    from teola.runtime.engines.vllm.library import Vllm


@dataclass(frozen=True, slots=True)
class Text:
    """An item as the model reads it, special tokens included. ``size`` counts those of the item
    alone; ``second`` is where its second part begins, which a cross-encoder tells from the
    first."""

    tokens: Sequence[int]
    size: int
    second: int | None = None


class PoolingEngine(ABC):
    """Hands all items of a batch to vLLM at once, which batches them by their tokens. ``task`` is
    what vLLM is asked for. An item over the model's limit fails alone, or is cut where the config
    says ``truncate``."""

    task: ClassVar[str]
    sample: ClassVar[Request]
    """What is tried when it starts."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._truncate = bool(config.get("truncate", False))
        self._vllm: Vllm | None = None
        self._names = count()

    async def start(self) -> Capabilities:
        """Load the model and try it.

        Raises:
            RunError: it does not do what it is for.
        """
        self._vllm = vllm = self._load()
        self._prepare(vllm.context)
        tried = await self._one(vllm, self._text(self.sample, self.sample.items[0]))
        if isinstance(tried, Failure):
            raise RunError(f"the model cannot {self.task}: {tried.message}")
        return Capabilities(
            max_items=int(self._config.get("batch_size") or 64),
            limit=vllm.context,
            dimension=self._dimension(tried),
            details=vllm.details,
        )

    def _load(self) -> Vllm:
        require_vllm()
        os.environ.update(environment(self._config))
        from teola.runtime.engines.vllm.library import Vllm

        return Vllm(self._config, {"runner": "pooling", "convert": self.task})

    async def close(self) -> None:
        """End vLLM's processes."""
        if self._vllm is not None:
            self._vllm.shutdown()
            self._vllm = None

    async def control(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """None known."""
        raise UnsupportedError(f"{type(self).__name__} knows no command {command!r}")

    async def run(self, batch: Sequence[Request]) -> Sequence[Sequence[Any] | Failure]:
        """See `BatchEngine.run`.

        Raises:
            EngineDied: vLLM's processes have ended.
        """
        if self._vllm is None:
            raise RunError("the engine has not been started")
        texts = [[self._text(request, item) for item in request.items] for request in batch]
        results = iter(
            await asyncio.gather(*(self._one(self._vllm, one) for some in texts for one in some))
        )
        return Counted(
            [self._together([next(results) for _ in some]) for some in texts],
            [[one.size for one in some if isinstance(one, Text)] for some in texts],
        )

    async def _one(self, vllm: Vllm, text: Text | Failure) -> Any:
        if isinstance(text, Failure):
            return text
        try:
            data = await vllm.pool(f"p{next(self._names)}", self.task, text.tokens, text.second)
        except Exception as error:
            failure = vllm.failure(error)
            if failure.kind == "died":
                raise EngineDied(failure.message) from error
            return failure
        return self._result(data)

    @abstractmethod
    def _prepare(self, limit: int) -> None:
        """Get ready to make texts tokens, at most ``limit`` each."""

    @abstractmethod
    def _text(self, request: Request, item: str) -> Text | Failure:
        """An item of a request as the model reads it."""

    @abstractmethod
    def _result(self, data: Any) -> Any:
        """An item's result, from the tensor that vLLM gives for it."""

    def _together(self, results: list[Any]) -> Any:
        """The results of one request."""
        return results

    def _dimension(self, result: Any) -> int | None:
        """The numbers of a result, where it is an embedding."""
        return None
