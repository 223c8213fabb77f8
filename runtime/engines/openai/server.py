"""A server that speaks OpenAI's protocol: the client, and what its errors mean."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from teola.compiler.engine_settings_openai import OPENAI_URL
from teola.runtime.engines.protocol import Failure
from teola.runtime.errors import ModelError, RunError
from teola.runtime.hosts.errors import EngineStartError

if TYPE_CHECKING:
    import openai

OWN_KEY = "OPENAI_API_KEY"
NO_KEY = "none"
"""Sent to servers that want no key: the client does not go without."""
MOST_WAIT_S = 60.0
"""A server that asks for a longer pause is asked again before it is over."""
MOST_SAID = 500
"""Characters of a server's error that are told."""
UNUSABLE = (401, 502, 503, 504)
"""The key is wrong, or there is only a gateway: no other request will fare better."""
REFUSED = (400, 413, 422)
"""What a server answers where the request itself is wrong: another one may be well."""


class Server:
    """One server and one of its models. The client tries nothing again by itself: what to do about
    an error is for the schedulers to decide."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.model, self.url = str(config["model"]), str(config["base_url"])
        self._timeout_s = float(config["timeout_s"])
        self._variable = config.get("api_key_env") or (OWN_KEY if self.url == OPENAI_URL else None)
        self._more: Mapping[str, Any] = config.get("body") or {}
        self._key = NO_KEY
        self._opened: openai.AsyncOpenAI | None = None

    @property
    def _client(self) -> openai.AsyncOpenAI:
        if self._opened is None:
            raise RunError("the engine has not been started")
        return self._opened

    async def open(self) -> Mapping[str, Any]:
        """Make the client, and ask the server which models it has.

        Returns:
            What it says of ours; nothing where it does not list its models, or not this one.

        Raises:
            ModelError: the package or the key is missing.
            EngineStartError: the server cannot be reached, or refuses the key.
        """
        if self._variable is not None:
            self._key = _key(self._variable)
        self._opened = await asyncio.to_thread(self._make)
        import openai

        try:
            listed = await self._client.models.list()
        except openai.APIStatusError as error:
            if error.status_code in UNUSABLE:
                raise self._cannot_start(error) from error
            return {}  # it has no such list, does not show it, or cannot make it
        except Exception as error:
            raise self._cannot_start(error) from error
        models = getattr(listed, "data", None) or ()
        return next((one.model_dump() for one in models if one.id == self.model), {})

    def _make(self) -> openai.AsyncOpenAI:
        try:
            import openai
        except ImportError as error:
            raise ModelError(
                "the backend openai needs the package openai: pip install 'teola[openai]'"
            ) from error
        return openai.AsyncOpenAI(
            api_key=self._key, base_url=self.url, timeout=self._timeout_s, max_retries=0
        )

    def _cannot_start(self, error: Exception) -> EngineStartError:
        return EngineStartError(f"the server at {self.url}: {self.failure(error).message}")

    async def close(self) -> None:
        """Let all connections go."""
        if self._opened is not None:
            await self._opened.close()

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The answer to a request, as JSON data."""
        return await self._client.post(path, body=self._whole(body), cast_to=object)

    @asynccontextmanager
    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[Any]]:
        """The parts of an answer, as JSON data, as they come; what is left of it when the block
        ends is not sent any more."""
        import openai

        stream = await self._client.post(
            path,
            body=self._whole({**body, "stream": True, "stream_options": {"include_usage": True}}),
            cast_to=object,
            stream=True,
            stream_cls=openai.AsyncStream[object],
        )
        async with stream:
            yield aiter(stream)

    def _whole(self, body: Mapping[str, Any]) -> dict[str, Any]:
        whole = {"model": self.model, **body, **self._more}
        return {name: value for name, value in whole.items() if value is not None}

    def failure(self, error: Exception) -> Failure:
        """What an error of the client means to whoever made the request."""
        import openai

        if not isinstance(error, openai.APIStatusError):
            cause = error.__cause__ or error
            what = f"{type(cause).__name__}: {cause}".rstrip(": ")
            body = getattr(error, "body", None)  # of an error that came as a part of a stream
            if isinstance(body, Mapping) and body.get("code") in REFUSED:
                return Failure("item", self._told(f"it answered {body['code']}: {cause}"))
            return Failure("engine", self._told(f"it gave no whole answer: {what}"))
        status, headers = error.status_code, error.response.headers
        message = self._told(f"it answered {status}: {_said(error)}")
        if status == 429 and error.code != "insufficient_quota":
            return Failure("full", message, after_s=_wait_s(headers))
        if status in REFUSED:
            return Failure("item", message)
        return Failure("engine", message, after_s=_wait_s(headers))

    def _told(self, text: str) -> str:
        """A message that may be shown: some servers repeat the key that they refuse."""
        shown = text if self._key == NO_KEY else text.replace(self._key, "…")
        return shown[:MOST_SAID]


def _key(variable: str) -> str:
    if key := os.environ.get(variable, "").strip():
        return key
    raise ModelError(
        f"the environment variable {variable} holds no key for the server: set it, or name another "
        "one with the engine's setting `api_key_env`"
    )


def _said(error: openai.APIStatusError) -> str:
    said = error.body
    if isinstance(said, Mapping):
        said = said.get("message") or said.get("detail") or said
    return str(said or error.message)


def _wait_s(headers: Mapping[str, str]) -> float:
    """How long a server wants to be left alone: Retry-After in seconds, or as a date."""
    said = headers.get("retry-after", "")
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError):  # it is neither, or not of any zone
            return 0.0
    return min(max(0.0, seconds), MOST_WAIT_S)
