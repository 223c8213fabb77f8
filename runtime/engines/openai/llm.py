"""A language model on a server that speaks OpenAI's protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from teola.compiler.engine_settings import GRAMMARS, SAMPLING
from teola.compiler.engine_settings_openai import OPENAI_URL
from teola.runtime.engines.openai.answer import Answer
from teola.runtime.engines.openai.requests import Endpoint
from teola.runtime.engines.openai.server import REFUSED, Server
from teola.runtime.engines.protocol import Capabilities, Emit, Failure, Generate, TokenEvent
from teola.runtime.engines.refusal import refusal, unknown_adapter
from teola.runtime.errors import RunError, UnsupportedError

BLOCK_TOKENS = 16
"""Of the prefix cache of a server of one's own: vLLM's, on a GPU."""
BOUNDLESS = 1 << 20
"""Tokens of a request, or of a vocabulary, where nobody says how many there may be: the server
refuses what it must."""
PROBE = Generate("probe", (0, 0, 0), max_tokens=1)
NO_ENDPOINT = (404, 405, 501)


class OpenAILLM:
    """Asks a server, one request for each call; what it cannot do the server says in its errors.

    Prompts go as tokens where the tokenizer is known and the server takes them, else as messages.
    Of its KV nothing is known: as many requests run at once as the settings say.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._server = Server(config)
        self._adapters: Mapping[str, str] = config.get("adapters") or {}
        self._endpoint = Endpoint(chat=True)
        self._context = 0
        self._emit: Emit = _drop
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def listen(self, emit: Emit) -> None:
        """See `LLMEngine.listen`."""
        self._emit = emit

    async def start(self) -> Capabilities:
        """Find out what the server can do: one token is generated where prompts may go as tokens.

        Raises:
            RunError: prompts are to go as tokens, and the server does not take them.
        """
        about = await self._server.open()
        endpoint = await self._choose()
        self._endpoint = replace(endpoint, structured=self._structured)
        told = self._config.get("context_tokens") or about.get("max_model_len")
        self._context = context = int(told or 0)
        most = int(self._config["max_requests"])
        takes_tokens = not self._endpoint.chat
        return Capabilities(
            context=context,
            kv_tokens=most * (context or BOUNDLESS),
            max_requests=most,
            prefix_cache=takes_tokens and bool(self._config.get("warm_ups")),
            block_tokens=BLOCK_TOKENS,
            continues=self._endpoint.tells_tokens,
            takes_tokens=takes_tokens,
            remote=True,
            sampling=SAMPLING,
            grammars=frozenset() if self._structured == "none" else GRAMMARS,
            adapters=frozenset(self._adapters),
            details={"api": self._endpoint.path, "server": self._server.url},
        )

    @property
    def _own(self) -> bool:
        """Whether it is OpenAI's server."""
        return self._server.url == OPENAI_URL

    @property
    def _structured(self) -> str:
        """How the server is told what an answer must be: OpenAI's schemas are those of objects."""
        said = str(self._config["structured_outputs"] or "none")
        return "objects" if self._own and said == "json_schema" else said

    @property
    def _must_take_tokens(self) -> str | None:
        """The setting that has no effect on prompts that go as messages."""
        if self._config["api"] == "completions":
            return "api: completions"
        return "warm_ups: true" if self._config.get("warm_ups") else None

    async def _choose(self) -> Endpoint:
        wanted, known = self._must_take_tokens, self._config.get("path")
        chat = Endpoint(chat=True, limit="max_completion_tokens" if self._own else "max_tokens")
        if self._config["api"] == "chat" or not (wanted or known):
            return chat
        if not known:
            raise RunError(
                f"{wanted} sends prompts as tokens, and it is not known whose: give the engine the "
                "folder of the model's tokenizer, path: FOLDER"
            )
        for tells_tokens in (True, False):
            endpoint = Endpoint(chat=False, tells_tokens=tells_tokens)
            if await self._takes(endpoint):
                return endpoint
        if wanted is None:
            return chat
        raise RunError(
            f"{wanted} sends prompts as tokens, and the server at {self._server.url} takes none: "
            "leave it out"
        )

    async def _takes(self, endpoint: Endpoint) -> bool:
        """Whether the server takes the tokens of a prompt for what they are."""
        import openai

        try:
            reply = await self._server.post(endpoint.path, endpoint.body(PROBE))
        except openai.APIStatusError as error:
            if error.status_code in (*REFUSED, *NO_ENDPOINT):
                return False
            raise RunError(self._server.failure(error).message) from error
        except openai.APIError as error:
            raise RunError(self._server.failure(error).message) from error
        if not isinstance(reply, Mapping) or not reply.get("choices"):
            return False
        counted = (reply.get("usage") or {}).get("prompt_tokens", len(PROBE.tokens))
        tells_tokens = "token_ids" in reply["choices"][0]
        return counted == len(PROBE.tokens) and (tells_tokens or not endpoint.tells_tokens)

    async def close(self) -> None:
        """Break off what runs."""
        await self.abort(list(self._running))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.close()

    async def submit(self, requests: Sequence[Generate]) -> None:
        """See `LLMEngine.submit`."""
        loop = asyncio.get_running_loop()
        for request in requests:
            if (refused := self._refusal(request)) is not None:
                self._emit([TokenEvent(request.id, (), failure=refused)])
                continue
            self._running[request.id] = task = loop.create_task(self._run(request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _refusal(self, request: Generate) -> Failure | None:
        """Why a request need not be sent; of prompts that go as messages the server knows."""
        if self._endpoint.chat:
            return unknown_adapter(request, self._adapters)
        return refusal(request, self._context or BOUNDLESS, BOUNDLESS, self._adapters)

    async def _run(self, request: Generate) -> None:
        wrapped = self._endpoint.wraps(request.grammar)
        by_token = self._endpoint.tells_tokens and not (request.sampling.stop or wrapped)
        answer = Answer(request, by_token=by_token, wrapped=wrapped)
        try:
            body = self._endpoint.body(request)
            if request.adapter is not None:
                body["model"] = self._adapters[request.adapter]
            async with self._server.stream(self._endpoint.path, body) as parts:
                async for part in parts:
                    self._tell(answer.take(part))
            last = answer.end()
        except Exception as error:  # noqa: BLE001 - whatever the client raises becomes the call's error
            last = answer.broken(self._server.failure(error))
        if self._running.pop(request.id, None) is not None:
            self._emit([_warmed(last) if request.warm else last])

    def _tell(self, event: TokenEvent | None) -> None:
        if event is not None and event.id in self._running:
            self._emit([event])

    async def abort(self, ids: Sequence[str]) -> None:
        """See `LLMEngine.abort`; the server sees the connection close."""
        for one in ids:
            if (task := self._running.pop(one, None)) is not None:
                task.cancel()

    async def control(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """``describe``: how many requests run."""
        if command != "describe":
            raise UnsupportedError(f"LLM engines know no command {command!r}: describe")
        return {"running": len(self._running)}


def _warmed(event: TokenEvent) -> TokenEvent:
    """Nobody wants what a warm-up gave."""
    if event.failure is not None:
        return event
    return TokenEvent(event.id, (), "length", cached=event.cached)


def _drop(_events: Sequence[TokenEvent]) -> None:
    """Nobody listens."""
