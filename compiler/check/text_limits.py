"""Chunks that are too long for their embedder, where its limit is known before it starts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from teola.compiler.check.context import Context
from teola.compiler.engine_settings import (
    EngineSettings,
    FakeEmbedder,
    SentenceTransformersEmbedder,
)
from teola.compiler.model_names import TEXT_LIMITS
from teola.compiler.modules.chunk import ChunkSettings

LIMIT_FILE, LIMIT_KEY = "sentence_bert_config.json", "max_seq_length"
"""Where a folder of sentence-transformers says it."""


def lint_limits(context: Context, engines: Mapping[str, EngineSettings]) -> None:
    """A chunk of the size that is asked for is one that the embedder takes."""
    for module in context.modules.values():
        settings, name = module.settings, module.engines.get("tokenizer", "")
        size = settings.size if isinstance(settings, ChunkSettings) else None
        limit = _limit(engines.get(name))
        if size is not None and limit is not None and size > limit:
            context.lint(
                "too-long",
                f"'size' is more than the {limit} tokens that {name!r} takes: longer chunks fail "
                "when they are embedded",
                (*module.path, "with", "size"),
                help=f"size: {limit}, or an embedder with `truncate: true`",
            )


def _limit(engine: EngineSettings | None) -> int | None:
    """The longest text in tokens that an embedder does not refuse; None where that is not known,
    or where it cuts what is longer."""
    if isinstance(engine, FakeEmbedder):
        return engine.limit_tokens
    if not isinstance(engine, SentenceTransformersEmbedder) or engine.truncate:
        return None
    if engine.path is not None:
        return _of_folder(Path(engine.path))
    return TEXT_LIMITS.get(engine.model or "")


def _of_folder(folder: Path) -> int | None:
    try:
        said = json.loads((folder / LIMIT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # whoever loads the model says what is wrong with its folder
        return None
    found = said.get(LIMIT_KEY) if isinstance(said, dict) else None
    return found if type(found) is int else None
