"""What vLLM says of a request, as token events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teola.runtime.engines.protocol import Chances, Failure, Generate, TokenEvent

ENDS = ("stop", "length")


def event_of(request: Generate, output: Any, eos: int | None, *, first: bool) -> TokenEvent:
    """The event of one output of vLLM (``RequestOutput``), the ``first`` of a request or not.

    Where texts end an answer, it comes as text too: vLLM cuts the text there, but not the tokens.
    """
    (made,) = output.outputs
    reason = made.finish_reason
    cached = output.num_cached_tokens if first else None
    waited_s = None if reason is None else _waited_s(output)
    if reason is not None and reason not in ENDS:
        failure = Failure("engine", f"vLLM ended the request: {reason}")
        return TokenEvent(request.id, (), failure=failure, cached=cached)
    if request.warm:
        return TokenEvent(request.id, (), reason, cached=cached, waited_s=waited_s)
    tokens = list(made.token_ids)
    if reason == "stop" and tokens and _ends(made.stop_reason, tokens[-1], eos):
        tokens.pop()
    text = made.text if request.sampling.stop else None
    chances = [
        _chances(came, could)
        for came, could in zip(made.token_ids, made.logprobs or (), strict=False)
    ]
    return TokenEvent(
        request.id, tokens, reason, text=text, cached=cached, chances=chances, waited_s=waited_s
    )


def _waited_s(output: Any) -> float | None:
    """From queued to scheduled, where this version of vLLM tells (``RequestStateStats``)."""
    times = getattr(output, "metrics", None)
    queued_s = getattr(times, "queued_ts", 0.0)
    scheduled_s = getattr(times, "scheduled_ts", 0.0)
    return max(0.0, scheduled_s - queued_s) if queued_s and scheduled_s else None


def _chances(came: int, could: Mapping[int, Any]) -> Chances:
    """The token that came, and the others that vLLM tells of (``Logprob``)."""
    others = ((token, one.logprob) for token, one in could.items() if token != came)
    return [(came, could[came].logprob), *others]


def _ends(stop_reason: int | str | None, last: int, eos: int | None) -> bool:
    """Whether the last token is the end of the answer and no part of it."""
    return last == (eos if stop_reason is None else stop_reason)
