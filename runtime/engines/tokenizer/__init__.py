"""The one way prompts become tokens: `load_tokenizer` gives the tokenizer of an engine's model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from teola.runtime.engines.tokenizer.chat import TemplateError
from teola.runtime.engines.tokenizer.fake import ByteTokenizer
from teola.runtime.engines.tokenizer.model import ModelTokenizer
from teola.runtime.engines.tokenizer.protocol import Detokenizer, Message, Tokenizer
from teola.runtime.engines.tokenizer.simulated import FourCharacters
from teola.runtime.models import ensure

__all__ = [
    "ByteTokenizer",
    "Detokenizer",
    "Message",
    "ModelTokenizer",
    "TemplateError",
    "Tokenizer",
    "load_tokenizer",
]


WITHOUT_MODEL: Mapping[str, type[Tokenizer]] = {
    "fake": ByteTokenizer,
    "simulated": FourCharacters,
}
"""Backend -> its tokenizer."""


def load_tokenizer(config: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer of an engine's canonical config; one object for each model folder.

    Raises:
        ModelError: the model is not there and cannot be fetched, or has no usable tokenizer.
    """
    if own := WITHOUT_MODEL.get(str(config.get("backend"))):
        return own()
    return _of_folder(ensure(config).resolve())


@lru_cache(maxsize=16)
def _of_folder(folder: Path) -> Tokenizer:
    return ModelTokenizer(folder)
