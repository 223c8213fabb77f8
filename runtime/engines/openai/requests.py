"""What a request is in the words of OpenAI's protocol, and of vLLM's where it has none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from teola.runtime.engines.openai.strict import strict_form
from teola.runtime.engines.openai.wrapping import is_of_objects, wrapped
from teola.runtime.engines.protocol import Generate, Grammar


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How an LLM is asked: as ``chat``, else with the tokens of the prompt; ``tells_tokens``: it
    answers with tokens, too. ``limit`` is its word for the length of an answer; ``structured``: how
    it is told what an answer must be."""

    chat: bool
    tells_tokens: bool = False
    limit: str = "max_tokens"
    structured: str = "none"

    @property
    def path(self) -> str:
        """Where it is."""
        return "/chat/completions" if self.chat else "/completions"

    def body(self, request: Generate) -> dict[str, Any]:
        """A request's fields; those that are None are left out."""
        sampling = request.sampling
        return {
            **self._prompt(request),
            self.limit: request.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p if sampling.top_p < 1 else None,
            "stop": list(sampling.stop) or None,
            "seed": sampling.seed,
            "ignore_eos": request.ignore_eos or None,
            **self._logprobs(sampling.logprobs),
            **self._grammar(request.grammar),
        }

    def wraps(self, grammar: Grammar | None) -> bool:
        """Whether an answer comes in an object of its own."""
        return (
            grammar is not None
            and self.structured == "objects"
            and not is_of_objects(_schema(grammar))
        )

    def _prompt(self, request: Generate) -> dict[str, Any]:
        if self.chat:
            return {"messages": [dict(message) for message in request.messages]}
        return {"prompt": list(request.tokens), "return_token_ids": self.tells_tokens or None}

    def _logprobs(self, count: int) -> dict[str, Any]:
        if not count:
            return {}
        return {"logprobs": True, "top_logprobs": count} if self.chat else {"logprobs": count}

    def _grammar(self, grammar: Grammar | None) -> dict[str, Any]:
        if grammar is None:
            return {}
        if grammar.json_schema is None and self.structured == "vllm":
            return {"structured_outputs": {"choice": list(grammar.choices)}}
        schema = wrapped(_schema(grammar)) if self.wraps(grammar) else _schema(grammar)
        form = strict_form(schema) if self.structured == "objects" else schema
        told = {"name": "answer", "strict": form is not None, "schema": form or schema}
        return {"response_format": {"type": "json_schema", "json_schema": told}}


def _schema(grammar: Grammar) -> Mapping[str, Any]:
    if grammar.json_schema is None:
        return {"type": "string", "enum": list(grammar.choices)}
    schema: Mapping[str, Any] = json.loads(grammar.json_schema)
    return schema
