"""Prompts of which a part is prefilled early: where each is cut."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from teola.compiler.cost.prompt_tokens import PromptTokens
from teola.compiler.cost.shapes import Shape
from teola.compiler.explain.explanation import Deed
from teola.compiler.explain.words import abbreviated, listed
from teola.compiler.graph.pgraph import PGraph, Primitive
from teola.compiler.prompts import PromptError, template

SHOWN = 120
"""Characters of a part of a prompt that are shown."""


def told_cut(hint: Primitive, graph: PGraph, prompts: PromptTokens) -> Deed:
    """Which part of a call's prompt a warm-up prefills, when, and what comes late."""
    call = graph.by_id.get(str(hint.config.get("hint")))
    if not isinstance(call, Primitive):
        return Deed(f"{hint.id} is new.")
    return Deed(
        f"The prompt of {call.id} is prefilled {_when(hint, call)}{_once(hint, call)}."
        f"{_too_short(hint, call, prompts)}",
        _parts(hint, call, prompts),
    )


def _when(hint: Primitive, call: Primitive) -> str:
    late = listed(name for name in call.inputs if name not in hint.inputs)
    known = list(hint.inputs)
    if not known:
        return f"up to its first value at once, not only when {late} is known"
    verb = "is" if len(known) == 1 else "are"
    return f"up to its late part as soon as {listed(known)} {verb} known, without {late}"


def _once(hint: Primitive, call: Primitive) -> str:
    return " (once for all its rounds)" if hint.region != call.region else ""


def _too_short(hint: Primitive, call: Primitive, prompts: PromptTokens) -> str:
    least = hint.config.get("min_new_tokens")
    early = max(0, prompts.warmed(call, frozenset(hint.inputs)) - prompts.cached(call))
    if not isinstance(least, int) or early >= least:
        return ""
    pages = " in whole pages of the KV cache" if prompts.page(call) else ""
    new = " that no earlier query has left there" if prompts.cached(call) else ""
    return (
        f" With these sizes that is {early} tokens{pages}{new}, fewer than {least} "
        "(min-new-tokens): not worth a request, so nothing is sent."
    )


def _parts(hint: Primitive, call: Primitive, prompts: PromptTokens) -> tuple[tuple[str, ...], ...]:
    """The early and the late text, with the tokens of each."""
    whole = prompts.whole(call)
    early = prompts.prefix(call, frozenset(hint.inputs))
    texts = _texts(call, hint.inputs.keys(), prompts)
    return tuple(
        (word, f"{tokens} tokens", abbreviated(text, SHOWN))
        for word, tokens, text in (
            ("early", early, texts[0]),
            ("late", max(0, whole - early), texts[1]),
        )
    )


def _texts(call: Primitive, known: Collection[str], prompts: PromptTokens) -> tuple[str, str]:
    """The prompt with names in place of values, cut at the first part that needs more than
    ``known``."""
    values = {name: _name(name, prompts.shapes.of(one)) for name, one in call.inputs.items()}
    early, late, cut = "", "", False
    messages = call.config.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if not isinstance(message, dict):
            continue
        before, after = _message(message, frozenset(known), values)
        early, late = (early, f"{late}\n{before}{after}") if cut else (f"{early}\n{before}", after)
        cut = cut or bool(after)
    return early, late


def _message(
    message: Mapping[str, Any], known: frozenset[str], values: Mapping[str, Any]
) -> tuple[str, str]:
    if "splice" in message:
        text = f"«{message['splice']}»"
        return (text, "") if str(message["splice"]) in known else ("", text)
    source = str(message.get("template"))
    try:
        made = template(source)
        ready = made.ready_prefix(known)
        early = made.render_prefix(ready, values) if ready else ""
        whole = made.render(values)
    except PromptError:  # a name cannot stand for the value here: the template itself can
        return "", source
    return early, whole[len(early) :]


def _name(name: str, shape: Shape) -> Any:
    """A stand-in that prints as its name."""
    text = f"«{name}»"
    if shape.dims:
        return [_name(name, shape.item)]
    if shape.kind in ("chunk", "passage"):
        return {"id": name, "text": text, "document": name, "index": 0, "score": 0.0, "rank": 1}
    if shape.kind == "document":
        return {"name": name, "text": text}
    if shape.kind == "message":
        return {"role": "user", "content": text}
    return text
