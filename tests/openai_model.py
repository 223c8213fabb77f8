"""What the server of tests answers: the parts of an answer of the fake LLM, in OpenAI's words."""

from __future__ import annotations

import json

from teola.runtime.engines.fakes.llm import answer
from teola.runtime.engines.tokenizer.fake import END, ByteTokenizer

PART = 16
"""Tokens of a part of a stream."""
NEWLINE = ord("\n")
"""What an answer that is not cut off ends with."""
VOCABULARY = 100_000


def refusal(body, prompt, context):
    """Why a request cannot be answered, if it cannot."""
    if not prompt or body["max_tokens"] < 1 or max(prompt) >= VOCABULARY:
        return "a prompt, an answer or a token that cannot be"
    if len(prompt) + body["max_tokens"] > context:
        return f"the prompt has {len(prompt)} tokens, the context is of {context} tokens"
    return None


def choices(body, prompt, *, tells_tokens):
    """The parts of an answer, the last with the reason why it ended, and how many tokens it has."""
    tokens, reason = _tokens(body, prompt)
    decoder = ByteTokenizer().detokenizer()
    pieces = [tokens[at : at + PART] for at in range(0, len(tokens), PART)]
    texts = [decoder.push(piece) for piece in pieces]
    texts[-1] += decoder.finish()
    text = "".join(texts)
    found = [at for stop in body.get("stop") or () if (at := text.find(stop)) >= 0]
    room = min(found, default=len(text))
    parts = []
    for piece, said in zip(pieces, texts, strict=True):
        parts.append(_part(body, said[:room], piece if tells_tokens else None))
        room -= len(said)
        if found and room <= 0:
            break
    parts[-1]["finish_reason"] = "stop" if found else reason
    if parts[-1]["finish_reason"] == "stop" and "token_ids" in parts[-1]:
        parts[-1]["token_ids"] = [*parts[-1]["token_ids"], END]
    return parts, len(tokens) + (reason == "stop")


def _tokens(body, prompt):
    """The answer of the fake; above temperature 0 another one for each seed."""
    if (shaped := _shaped(body)) is not None:
        return list(shaped.encode()), "stop"
    ignored = body.get("ignore_eos", False)
    drawn = (body.get("seed", 0) % 256,) if body.get("temperature") else ()
    tokens = list(answer([*prompt, *drawn], body["max_tokens"], ignore_eos=ignored))
    return tokens, "length" if ignored or tokens[-1] != NEWLINE else "stop"


def _shaped(body):
    """The first text that a grammar allows."""
    if "structured_outputs" in body:
        return body["structured_outputs"]["choice"][0]
    if "response_format" in body:
        schema = body["response_format"]["json_schema"]["schema"]
        values = {name: one.get("enum", [0])[0] for name, one in schema["properties"].items()}
        return json.dumps(values)
    return None


def _part(body, text, tokens):
    said = {"delta": {"content": text}} if "messages" in body else {"text": text}
    ids = {"token_ids": tokens} if body.get("return_token_ids") and tokens is not None else {}
    return {"index": 0, "finish_reason": None, **said, **ids}
