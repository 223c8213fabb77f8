"""What an LLM engine must not be asked, because it can never run."""

from __future__ import annotations

from collections.abc import Collection

from teola.runtime.engines.protocol import Failure, Generate


def refusal(
    request: Generate, room: int, vocabulary: int, adapters: Collection[str] = ()
) -> Failure | None:
    """Why a request cannot run in an engine with ``room`` tokens for prompt and answer, whose model
    knows ``vocabulary`` tokens and has these adapters; None where it can."""
    tokens = request.tokens
    if not tokens or request.max_tokens < 1:
        return Failure(
            "item",
            f"a request needs a prompt and at least one new token, not {len(tokens)} tokens and "
            f"max_tokens {request.max_tokens}",
        )
    if len(tokens) + request.max_tokens > room:
        return Failure(
            "item",
            f"the prompt has {len(tokens)} tokens and max_tokens is {request.max_tokens}, together "
            f"more than the {room} that the engine has room for",
        )
    if not (min(tokens) >= 0 and max(tokens) < vocabulary):
        return Failure(
            "item",
            f"the prompt holds tokens from {min(tokens)} to {max(tokens)}, the model knows 0 to "
            f"{vocabulary - 1}",
        )
    return unknown_adapter(request, adapters)


def unknown_adapter(request: Generate, adapters: Collection[str]) -> Failure | None:
    """Why a request cannot run in an engine with these adapters; None where it can."""
    if request.adapter is None or request.adapter in adapters:
        return None
    named = ", ".join(adapters) or "none"
    return Failure("item", f"there is no adapter '{request.adapter}'; there are: {named}")
