"""Sizes that cannot be kept, as far as the file shows: chunks beside their tokenizer's marks."""

from __future__ import annotations

from collections.abc import Mapping

from teola.compiler.check.context import Context, Draft
from teola.compiler.check.engines import backend_of
from teola.compiler.engine_settings import FakeSettings
from teola.compiler.model_names import SPECIAL_TOKENS
from teola.compiler.modules.chunk import ChunkSettings


def check_sizes(context: Context, module: Draft) -> None:
    """A chunk holds its special tokens and some text, and more than it shares with the next."""
    settings, engine = module.settings, module.engines.get("tokenizer")
    if not isinstance(settings, ChunkSettings) or settings.size is None or not module.sound:
        return
    special = _special_tokens(context, engine) if engine is not None else 0
    room = settings.size - special
    path = (*module.path, "with")
    if room < 1:
        context.error(
            "bad-value",
            f"'size' must be at least {special + 1}, got the int {settings.size}",
            (*path, "size"),
            notes=[f"{engine!r} adds {special} special tokens to each chunk"],
        )
    elif settings.overlap >= room:
        context.error(
            "bad-value",
            f"'overlap' must be less than {room}, got the int {settings.overlap}",
            (*path, "overlap"),
            notes=[f"{settings.size} tokens hold {special} special tokens of {engine!r}"],
        )


def _special_tokens(context: Context, engine: str) -> int:
    """Tokens that the engine's tokenizer adds to each text; 0 where that is not known."""
    if backend_of(context, engine) == "fake":
        return FakeSettings.special_tokens
    declared = context.engines.get(engine)
    model = declared.get("model") if isinstance(declared, Mapping) else None
    return SPECIAL_TOKENS.get(str(model), 0)
