"""Values written bare where a map belongs: what was meant."""

from __future__ import annotations


def as_map(key: str, value: object) -> str | None:
    """Write ``retry: 3`` and ``outputs: answer.text`` as the maps that they stand for."""
    if key == "retry" and isinstance(value, int) and not isinstance(value, bool):
        return f"retry: {{max: {value}}}"
    if key == "sampling" and isinstance(value, int | float) and not isinstance(value, bool):
        return f"sampling: {{temperature: {value}}}"
    if not isinstance(value, str) or not value.replace(".", "").isidentifier():
        return None
    root, _, port = value.partition(".")
    if key == "outputs":
        return f"outputs: {{{root}: {root}.{port or 'text'}}}"
    if key == "inputs":
        return f"inputs: {{{port}: {value}}}" if port else f"inputs: {{{root}: text}}"
    return None
