"""What the server of tests answers: the parts of an answer of the fake LLM, in OpenAI's words."""

from __future__ import annotations

import json

from teola.runtime.engines.fakes.llm import answer
from teola.runtime.engines.made_up import likely, made_up
from teola.runtime.engines.protocol import Grammar
from teola.runtime.engines.tokenizer.fake import END, ByteTokenizer

PART = 16
"""Tokens of a part of a stream."""
ADAPTED = "tiny-"
"""What the names of models with an adapter begin with."""
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


def no_object(body):
    """Why a server that holds answers to objects only, as OpenAI's do, cannot be asked so."""
    if "response_format" not in body:
        return None
    told = body["response_format"]["json_schema"]
    kind = told["schema"].get("type")
    if kind != "object":
        return f"schema must be of 'type: \"object\"', got {kind!r}"
    return not_strict(told["schema"]) if told["strict"] else None


REFUSED = {"allOf", "default", "else", "if", "maxLength", "minLength", "not", "oneOf", "then",
           "dependentRequired", "dependentSchemas", "patternProperties", "prefixItems",
           "uniqueItems"}  # fmt: skip


def not_strict(schema):
    """Why OpenAI's servers would refuse a schema for their strict mode."""
    if not isinstance(schema, dict) or not schema.keys() & {"type", "anyOf", "$ref"}:
        return "schema must have a 'type' key"
    if found := schema.keys() & REFUSED:
        return f"{sorted(found)} is not permitted"
    parts = schema.get("properties", {})
    if "object" in schema.get("type", ()):
        if schema.get("additionalProperties") is not False:
            return "'additionalProperties' is required to be supplied and to be false"
        if sorted(schema.get("required", ())) != sorted(parts):
            return "'required' is required to be an array including every key in properties"
    inner = [*parts.values(), *schema.get("$defs", {}).values(), *schema.get("anyOf", ())]
    inner += [schema.get("items")] if "array" in schema.get("type", ()) else []
    return next((wrong for one in inner if (wrong := not_strict(one))), None)


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
    if body.get("logprobs") and "structured_outputs" in body:
        parts[0]["logprobs"] = _told(body, text)
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
    model = body["model"]
    adapter = model.removeprefix(ADAPTED) if model.startswith(ADAPTED) else None
    asked = [*prompt, *drawn]
    tokens = list(answer(asked, body["max_tokens"], ignore_eos=ignored, adapter=adapter))
    return tokens, "length" if ignored or tokens[-1] != NEWLINE else "stop"


def _shaped(body):
    """A text that a grammar allows."""
    if "structured_outputs" in body:
        return body["structured_outputs"]["choice"][0]
    if "response_format" in body:
        schema = body["response_format"]["json_schema"]["schema"]
        if "enum" in schema:
            return json.dumps(schema["enum"][0])
        return made_up(Grammar(json_schema=json.dumps(schema)), b"server")
    return None


def _told(body, text):
    """How likely each choice was, as if it were one token."""
    (step,) = likely(Grammar(choices=tuple(body["structured_outputs"]["choice"])), text)
    could = [{"token": token, "logprob": log} for token, log in step]
    if "messages" in body:
        return {"content": [{**could[0], "top_logprobs": could[: body["top_logprobs"]]}]}
    top = dict(step[: body["logprobs"]])
    return {"tokens": [text], "token_logprobs": [step[0][1]], "top_logprobs": [top]}


def _part(body, text, tokens):
    said = {"delta": {"content": text}} if "messages" in body else {"text": text}
    ids = {"token_ids": tokens} if body.get("return_token_ids") and tokens is not None else {}
    return {"index": 0, "finish_reason": None, **said, **ids}
