"""The tokenizer of a model folder, on the light `tokenizers` library."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teola.runtime.engines.tokenizer.chat import ChatTemplate, Frame, TemplateError
from teola.runtime.engines.tokenizer.detokenizer import (
    ByteDetokenizer,
    WindowDetokenizer,
    byte_of_character,
)
from teola.runtime.engines.tokenizer.protocol import Detokenizer, Message
from teola.runtime.errors import ModelError

if TYPE_CHECKING:
    import tokenizers

SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token")
KEPT_FRAMES = 256


class ModelTokenizer:
    """The tokenizer of a folder with ``tokenizer.json``.

    Two readers of one vocabulary: one recognises special tokens (for the chat template's text),
    one reads them as plain characters (for data).

    Raises:
        ModelError: the folder has no usable ``tokenizer.json``, or `tokenizers` is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._framing = _read_vocabulary(folder)
        self._data = _read_vocabulary(folder)
        self._data.encode_special_tokens = True
        settings = _read_settings(folder)
        self._special = _special_tokens(settings)
        self._chat = _chat_template(folder, settings, self._special)
        self._bytes = _ByteTable(self._data) if _is_byte_level(self._data) else None
        self._frame = lru_cache(KEPT_FRAMES)(self._encode_frame)

    @property
    def eos(self) -> int | None:
        """The token that ends an answer."""
        name = self._special.get("eos_token")
        return None if name is None else self._framing.token_to_id(name)

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """See `Tokenizer.encode_chat`."""
        tokens: list[int] = []
        for part in self._frame(tuple(message["role"] for message in messages)):
            if isinstance(part, tuple):
                tokens.extend(part)
            else:
                content = messages[part.message]["content"]
                tokens.extend(self.encode(content.strip() if part.trimmed else content))
        return tokens

    def _encode_frame(self, roles: tuple[str, ...]) -> Sequence[Any]:
        if self._chat is None:
            raise TemplateError(
                f"the model in {self._folder} has no chat template (chat_template.jinja, or "
                "`chat_template` in tokenizer_config.json): it cannot take messages"
            )
        frame: Frame = self._chat.frame(roles)
        return tuple(
            tuple(self._framing.encode(part, add_special_tokens=False).ids)
            if isinstance(part, str)
            else part
            for part in frame
        )

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """See `Tokenizer.encode`."""
        return list(self._data.encode(text, add_special_tokens=special).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """See `Tokenizer.decode`."""
        return self._data.decode(list(tokens), skip_special_tokens=True)

    def count(self, text: str) -> int:
        """See `Tokenizer.count`."""
        return len(self._data.encode(text, add_special_tokens=True))

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """See `Tokenizer.offsets`."""
        return list(self._data.encode(text, add_special_tokens=False).offsets)

    def detokenizer(self) -> Detokenizer:
        """See `Tokenizer.detokenizer`."""
        if self._bytes is None:
            return WindowDetokenizer(self.decode)
        return ByteDetokenizer(self._bytes.__getitem__)


class _ByteTable(dict[int, bytes]):
    """Bytes of each token of a byte-level vocabulary, filled on first use."""

    def __init__(self, vocabulary: tokenizers.Tokenizer) -> None:
        super().__init__()
        self._vocabulary = vocabulary
        added = vocabulary.get_added_tokens_decoder()
        self._skipped = {token for token, entry in added.items() if entry.special}

    def __missing__(self, token: int) -> bytes:
        text = None if token in self._skipped else self._vocabulary.id_to_token(token)
        self[token] = b"" if text is None else _as_bytes(text)
        return self[token]


def _as_bytes(text: str) -> bytes:
    table = byte_of_character()
    known = [table.get(character) for character in text]
    if None in known:  # an added token is plain text
        return text.encode()
    return bytes(byte for byte in known if byte is not None)


def _read_vocabulary(folder: Path) -> tokenizers.Tokenizer:
    try:
        import tokenizers
    except ImportError as error:
        raise ModelError("tokenizing needs tokenizers: pip install 'teola[local]'") from error
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ModelError(f"the model folder {folder} has no tokenizer.json")
    try:
        vocabulary = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception for a file it cannot read
        raise ModelError(f"{path} cannot be read: {error}") from error
    vocabulary.no_truncation()  # a file may cut and pad as its training did
    vocabulary.no_padding()
    return vocabulary


def _read_settings(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return {}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    return settings if isinstance(settings, dict) else {}


def _special_tokens(settings: dict[str, Any]) -> dict[str, str]:
    found = {name: settings.get(name) for name in SPECIAL_NAMES}
    texts = {
        name: value.get("content") if isinstance(value, dict) else value
        for name, value in found.items()
    }
    return {name: text for name, text in texts.items() if isinstance(text, str)}


def _chat_template(
    folder: Path, settings: dict[str, Any], special: dict[str, str]
) -> ChatTemplate | None:
    path = folder / "chat_template.jinja"
    if path.is_file():
        return ChatTemplate(path.read_text(encoding="utf-8"), special)
    source = settings.get("chat_template")
    if isinstance(source, list):  # several, by name
        source = next((one["template"] for one in source if one.get("name") == "default"), None)
    return ChatTemplate(source, special) if isinstance(source, str) else None


def _is_byte_level(vocabulary: tokenizers.Tokenizer) -> bool:
    import tokenizers.decoders

    return isinstance(vocabulary.decoder, tokenizers.decoders.ByteLevel)
