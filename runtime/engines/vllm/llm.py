"""A language model on vLLM's ``AsyncLLM``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from teola.compiler.engine_settings import GRAMMARS, SAMPLING
from teola.runtime.engines.protocol import Capabilities, Emit, Generate, TokenEvent
from teola.runtime.engines.refusal import refusal
from teola.runtime.engines.tokenizer import load_tokenizer
from teola.runtime.engines.vllm.arguments import environment
from teola.runtime.engines.vllm.figures import FIGURES
from teola.runtime.engines.vllm.installed import require_vllm
from teola.runtime.engines.vllm.outputs import event_of
from teola.runtime.errors import RunError, UnsupportedError
from teola.runtime.hosts.errors import EngineDied

if TYPE_CHECKING:
    from teola.runtime.engines.vllm.library import Vllm

FIRST = Generate("first", (0, 0), max_tokens=2, ignore_eos=True, stream=False)
OWN = {
    "scheduling_policy": "priority",
    "enable_prefix_caching": True,
    # guidance knows most of JSON Schema; small models write spaces for ever where they may.
    "structured_outputs_config": {"backend": "guidance", "disable_any_whitespace": True},
}
GONE = "vLLM's engine core has ended"


class VllmLLM:
    """Generates what it is asked; the order of what waits is vLLM's, by priority.

    A request is a task that reads its outputs: cancelling the task aborts it. The outputs of one
    step are one message.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._adapters = tuple(config.get("adapters") or ())
        self._emit: Emit = _drop
        self._vllm: Vllm | None = None
        self._eos: int | None = None
        self._running: dict[str, asyncio.Task[None]] = {}
        self._step: dict[str, TokenEvent] = {}

    def listen(self, emit: Emit) -> None:
        """See `LLMEngine.listen`."""
        self._emit = emit

    async def start(self) -> Capabilities:
        """Load the model and generate once."""
        vllm = self._load()
        async for _ in vllm.generate(FIRST):
            pass
        self._vllm = vllm
        return Capabilities(
            context=vllm.context,
            kv_tokens=vllm.kv_tokens,
            max_requests=vllm.max_requests,
            prefix_cache=vllm.prefix_cache,
            block_tokens=vllm.block_tokens,
            shares_in_flight=vllm.prefix_cache,
            continues=True,
            priority=True,
            sampling=SAMPLING,
            grammars=GRAMMARS,
            adapters=frozenset(self._adapters),
            figures={name: FIGURES[name][1] for name in vllm.figures()},
            details=vllm.details,
        )

    def _load(self) -> Vllm:
        require_vllm()
        os.environ.update(environment(self._config))
        from teola.runtime.engines.vllm.library import Vllm

        self._eos = load_tokenizer(self._config).eos
        return Vllm(self._config, OWN)

    async def close(self) -> None:
        """Abort everything and end vLLM's processes."""
        await self.abort(tuple(self._running))
        if self._vllm is not None:
            self._vllm.shutdown()
            self._vllm = None

    async def submit(self, requests: Sequence[Generate]) -> None:
        """See `LLMEngine.submit`.

        Raises:
            EngineDied: vLLM's processes have ended.
        """
        vllm = self._alive()
        for request in requests:
            self._running[request.id] = asyncio.create_task(self._answer(vllm, request))

    def _alive(self) -> Vllm:
        if self._vllm is None:
            raise RunError("the engine has not been started")
        if self._vllm.dead:
            raise EngineDied(GONE)
        return self._vllm

    async def _answer(self, vllm: Vllm, request: Generate) -> None:
        room = min(vllm.context, vllm.kv_tokens)
        if failure := refusal(request, room, vllm.vocabulary, self._adapters):
            self._tell(TokenEvent(request.id, (), failure=failure))
            return
        first = True
        try:
            async for output in vllm.generate(request):
                self._tell(event_of(request, output, self._eos, first=first))
                first = False
        except Exception as error:  # noqa: BLE001 - whatever vLLM raises is the request's end
            self._tell(TokenEvent(request.id, (), failure=vllm.failure(error)))

    def _tell(self, event: TokenEvent) -> None:
        """Tell it with all that the requests say in this turn of the loop, which is one step."""
        if event.id not in self._running:
            return
        if event.finish_reason is not None or event.failure is not None:
            del self._running[event.id]
        if event.id in self._step:
            self._flush()
        if not self._step:
            asyncio.get_running_loop().call_soon(self._flush)
        self._step[event.id] = event

    def _flush(self) -> None:
        step, self._step = self._step, {}
        if step:
            self._emit(tuple(step.values()))

    async def abort(self, ids: Sequence[str]) -> None:
        """See `LLMEngine.abort`."""
        aborted = [task for one in ids if (task := self._running.pop(one, None)) is not None]
        for one in ids:
            self._step.pop(one, None)
        for task in aborted:
            task.cancel()
        await asyncio.gather(*aborted, return_exceptions=True)

    async def control(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """``describe``: how many requests run, and vLLM's figures."""
        if command != "describe":
            raise UnsupportedError(f"LLM engines know no command {command!r}: describe")
        return {"running": len(self._running), **self._alive().figures()}


def _drop(_events: Sequence[TokenEvent]) -> None:
    """Nobody listens."""
