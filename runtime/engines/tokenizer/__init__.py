"""The one way prompts become tokens: `load_tokenizer` gives the tokenizer of an engine's model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from teola.runtime.engines.tokenizer.chat import TemplateError
from teola.runtime.engines.tokenizer.estimate import FourBytes
from teola.runtime.engines.tokenizer.fake import ByteTokenizer
from teola.runtime.engines.tokenizer.model import ModelTokenizer
from teola.runtime.engines.tokenizer.protocol import Detokenizer, Message, Tokenizer
from teola.runtime.models import ensure

__all__ = [
    "ByteTokenizer",
    "Detokenizer",
    "FourBytes",
    "Message",
    "ModelTokenizer",
    "TemplateError",
    "Tokenizer",
    "load_tokenizer",
]


WITHOUT_MODEL: Mapping[str, type[Tokenizer]] = {
    "fake": ByteTokenizer,
    "openai": FourBytes,
    "simulated": FourBytes,
}
"""Backend -> its tokenizer, where no folder has one."""


def load_tokenizer(config: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer of an engine's canonical config; one object for each model folder.

    Raises:
        ModelError: the model is not there and cannot be fetched, or has no usable tokenizer.
    """
    own = WITHOUT_MODEL.get(str(config.get("backend")))
    if own is not None and not config.get("path"):
        return own()
    folder = ensure(config) if own is None else Path(str(config["path"])).expanduser()
    return _of_folder(folder.resolve())


@lru_cache(maxsize=16)
def _of_folder(folder: Path) -> Tokenizer:
    return ModelTokenizer(folder)
