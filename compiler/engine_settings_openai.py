"""The settings of engines on servers that speak OpenAI's protocol."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from teola.compiler.engine_settings import SAMPLING, BatchTokens, Count, EngineSettings

OPENAI_URL = "https://api.openai.com/v1"
"""OpenAI's own server."""


class OpenAISettings(EngineSettings):
    """What engines on a server share: where it is, and which of its models they use."""

    backend: Literal["openai"] = "openai"
    model: Annotated[str, Field(min_length=1, description="The model, as the server calls it")]
    base_url: Annotated[
        str, Field(description="Where the server is, to its /v1; by default OpenAI's own")
    ] = OPENAI_URL
    api_key_env: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
            description="Environment variable that holds the key; by default OPENAI_API_KEY for "
            "OpenAI's own server, and no key for others",
        ),
    ] = None
    path: Annotated[
        str | None, Field(description="Local folder with the model's tokenizer; else it is guessed")
    ] = None
    timeout_s: Annotated[float, Field(gt=0, description="Longest silence of the server")] = 300
    body: Annotated[
        dict[str, JsonValue] | None,
        Field(description="Fields that every request has besides; null leaves one of ours out"),
    ] = None

    @model_validator(mode="after")
    def _locate_server(self) -> Self:
        if (wrong := _wrong(self.base_url)) is not None:
            raise PydanticCustomError(
                "bad-setting",
                "{what}",
                {"what": wrong, "at": "base_url", "help": "base_url: http://localhost:8000/v1"},
            )
        return self


def _wrong(url: str) -> str | None:
    """What is wrong with the address of a server."""
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        return "'base_url' is no address"
    if parts.scheme not in ("http", "https") or not host:
        return "'base_url' must be an address that begins with http:// or https://"
    if parts.username is not None or parts.password is not None:
        return "'base_url' holds a name or a password: they would reach plans and logs"
    return None


class OpenAILLM(OpenAISettings):
    """A language model on a server that speaks OpenAI's protocol."""

    noun: ClassVar[str] = "an engine of kind llm on openai"
    sampling: ClassVar[frozenset[str] | None] = SAMPLING
    grammars: ClassVar[frozenset[str] | None] = frozenset()

    kind: Literal["llm"]
    api: Annotated[
        Literal["auto", "chat", "completions"],
        Field(
            description="chat: prompts as messages; completions: as tokens, needs path; auto: as "
            "tokens where there is a path and the server takes them"
        ),
    ] = "auto"
    context_tokens: Annotated[
        Count | None,
        Field(description="Prompt and answer, at most; by default what the server says of it"),
    ] = None
    max_requests: Annotated[Count, Field(description="Requests that run at once, at most")] = 32
    structured_outputs: Annotated[
        Literal["none", "json_schema", "objects", "vllm"] | None,
        Field(
            description="How the server is told what an answer must be; objects: by schemas of "
            "objects only, as OpenAI's servers have it; none: it is not, and answers are checked "
            "only. Without it json, json_list, choice and bool are refused"
        ),
    ] = None
    adapters: Annotated[
        dict[str, str],
        Field(
            default_factory=dict,
            description="Name -> what the server calls the model with that adapter",
        ),
    ]
    warm_ups: Annotated[
        bool,
        Field(
            description="Compute beginnings of prompts early; for a server of your own that keeps "
            "them, where prompts are sent as tokens"
        ),
    ] = False

    @model_validator(mode="after")
    def _fit_warm_ups(self) -> Self:
        if self.warm_ups and self.api == "chat":
            raise PydanticCustomError(
                "bad-setting",
                "{what}",
                {
                    "what": "'warm_ups' has no effect on prompts that go as messages",
                    "at": "warm_ups",
                    "help": "leave it out, or write api: completions and path: FOLDER",
                },
            )
        return self


class OpenAIEmbedder(OpenAISettings):
    """An embedding model on a server that speaks OpenAI's protocol."""

    noun: ClassVar[str] = "an engine of kind embedder on openai"

    kind: Literal["embedder"]
    dimensions: Annotated[
        Count | None, Field(description="Numbers of an embedding, where the model lets one choose")
    ] = None
    limit_tokens: Annotated[
        Count | None, Field(description="Longest text; the server may refuse shorter ones")
    ] = None
    batch_size: Annotated[Count, Field(description="Texts of one request, at most")] = 64
    batch_tokens: BatchTokens = None
    encoding: Annotated[
        Literal["base64", "float"], Field(description="How the server writes numbers")
    ] = "base64"
