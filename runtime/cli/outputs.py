"""Values of outputs as a reader wants them: texts plain, passages numbered, records as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Any

from teola.runtime.cli.terminal import printable

SNIPPET_CHARACTERS = 160
TITLE_CHARACTERS = 60
INDENT = "    "


def format_value(value: Any, kind: str, width: int = 80) -> str:
    """Return a whole value of type ``kind`` as text, without a line break at its end."""
    if isinstance(value, list):
        return "\n".join(format_item(item, kind, n, width) for n, item in enumerate(value, 1))
    return format_item(value, kind, 1, width)


def format_item(value: Any, kind: str, number: int, width: int = 80) -> str:
    """Return one item of a list (its ``number`` from 1), or a single value."""
    if "passage" in kind or "chunk" in kind:
        return _passage(value, number, width)
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _passage(value: Mapping[str, Any], number: int, width: int) -> str:
    """``1. handbook.md “Handbook” (score 0.830)``, and the beginning of its text below."""
    facts = [value.get("document") or value.get("url") or value.get("id") or "?"]
    if title := (value.get("meta") or {}).get("title"):
        facts.append(f"“{textwrap.shorten(str(title), TITLE_CHARACTERS, placeholder=' …')}”")
    if isinstance(score := value.get("score"), (int, float)):
        facts.append(f"(score {score:.3f})")
    text = " ".join(printable(str(value.get("text", ""))).split())
    snippet = textwrap.shorten(text, SNIPPET_CHARACTERS, placeholder=" …") or text[:160]
    body = textwrap.fill(snippet, max(width, 40), initial_indent=INDENT, subsequent_indent=INDENT)
    head = f"{number:>2}. {' '.join(printable(str(fact)) for fact in facts)}"
    return f"{head}\n{body}" if body else head
