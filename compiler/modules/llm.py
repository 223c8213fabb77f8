"""What LLM modules share: the model, sampling, and prompts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from teola.compiler.graph.pgraph import Json
from teola.compiler.modules.definition import Entry, Problem, Prompt, Settings

Text = Annotated[str, Field(min_length=1)]


class Sampling(Settings):
    """How tokens are chosen."""

    noun: ClassVar[str] = "sampling"

    temperature: Annotated[
        float, Field(ge=0, le=2, description="0: always the likeliest token")
    ] = 0
    top_p: Annotated[
        float | None, Field(gt=0, le=1, description="Sample from this share of the probability")
    ] = None
    max_tokens: Annotated[int, Field(ge=1, description="New tokens at most")] = 256
    stop: Annotated[
        Text | list[Text] | None,
        Field(description="Texts that end the answer"),
    ] = None
    seed: Annotated[int | None, Field(ge=0, description="Seed beside the run's own")] = None
    ignore_eos: Annotated[bool, Field(description="Go on to max_tokens: for measuring")] = False

    def config(self) -> dict[str, Json]:
        """What the prefill carries: greedy's fields always, the others where they are set."""
        found: dict[str, Json] = {
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "ignore_eos": self.ignore_eos,
        }
        if self.top_p is not None:
            found["top_p"] = self.top_p
        if self.stop is not None:
            found["stop"] = [self.stop] if isinstance(self.stop, str) else list(self.stop)
        if self.seed is not None:
            found["seed"] = self.seed
        return found


class LLMSettings(Settings):
    """Settings of every LLM module."""

    llm: Annotated[str | None, Field(description="Name of an engine of kind llm")] = None
    sampling: Annotated[Sampling, Field(description="How tokens are chosen")] = Sampling()
    adapter: Annotated[
        str | None, Field(description="One of the engine's adapters: LoRA weights for its calls")
    ] = None
    truncate: Annotated[
        str | None,
        Field(description="Input whose last items are dropped until the prompt fits"),
    ] = None


class Message(Settings):
    """One message of a chat prompt."""

    noun: ClassVar[str] = "a message"

    role: Literal["system", "user", "assistant"]
    content: Annotated[str, Field(description="Jinja template")]


class PromptSettings(LLMSettings):
    """Settings of modules with one prompt."""

    prompt: Annotated[str | None, Field(description="Jinja template of one user message")] = None
    messages: Annotated[
        list[Message | str] | None,
        Field(description="Messages: {role, content}, or the name of an input that holds some"),
    ] = None
    prompt_file: Annotated[
        str | None, Field(description="File with the template, inside the workflow's folder")
    ] = None


PROMPT_KEYS = ("prompt", "messages", "prompt_file")


def prompt_of(
    settings: PromptSettings, default: str | None, variables: Mapping[str, str]
) -> Prompt:
    """The prompt that ``settings`` give, or the built-in one."""
    if settings.messages:
        return Prompt(
            tuple(map(_entry, range(len(settings.messages)), settings.messages)), variables
        )
    if settings.prompt is not None:
        path = ("prompt_file",) if settings.prompt_file is not None else ("prompt",)
        return Prompt((Entry(template=settings.prompt, path=path),), variables)
    return Prompt((Entry(template=default),) if default is not None else (), variables)


def _entry(index: int, message: Message | str) -> Entry:
    if isinstance(message, str):
        return Entry(splice=message, path=("messages", index))
    return Entry(message.role, message.content, path=("messages", index, "content"))


def one_prompt(settings: PromptSettings, *, required: bool = False) -> Iterable[Problem]:
    """At most one of the ways to give a prompt; exactly one where there is no built-in one."""
    given = [key for key in PROMPT_KEYS if key in settings.model_fields_set]
    given = [key for key in given if getattr(settings, key) is not None]
    if len(given) > 1:
        yield Problem((given[1],), f"{' and '.join(given)} are given: one of them is the prompt")
    if required and not given:
        yield Problem((), "there is no prompt", "add prompt:, messages: or prompt_file:")
    if settings.messages == []:
        yield Problem(("messages",), "messages is empty", "write at least one {role, content}")
