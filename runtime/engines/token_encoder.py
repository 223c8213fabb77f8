"""An embedding of every token of a text, from an encoder model on transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teola.runtime.engines.text_limit import similar_lengths
from teola.runtime.engines.tokenizer import Tokenizer, load_tokenizer
from teola.runtime.engines.torch_settings import torch_settings
from teola.runtime.models import ensure

if TYPE_CHECKING:
    import torch

FORWARD_TEXTS = 8
"""Texts of one forward pass: on a CPU more of them only add padding."""
FORWARD_TEXTS_GPU = 64


class TokenEncoder:
    """Loads the encoder of a model folder. ``limit`` counts special tokens, ``room`` does not."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        import transformers

        transformers.utils.logging.disable_progress_bar()
        settings = torch_settings(config)
        folder = ensure(config)
        self._tokenizer = load_tokenizer(config)
        self._model: Any = transformers.AutoModel.from_pretrained(
            folder, dtype=settings.dtype, local_files_only=True
        )
        self._model.to(settings.device).eval()
        self._before, self._after = special_tokens(self._tokenizer)
        self._forward_texts = FORWARD_TEXTS if settings.device == "cpu" else FORWARD_TEXTS_GPU
        self.details = settings.details
        self.dimension = int(self._model.config.hidden_size)
        self.limit = _limit(folder, int(self._model.config.max_position_embeddings))
        self.room = self.limit - len(self._before) - len(self._after)

    def tokens(self, text: str) -> tuple[int, ...]:
        """Tokens of ``text``, without special ones."""
        return tuple(self._tokenizer.encode(text))

    def embed(self, texts: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """For each text of n tokens, at most ``room``, ``(n, dimension)`` float32 on the CPU; each
        row has length 1."""
        lengths = {at: len(text) for at, text in enumerate(texts)}
        found: dict[int, torch.Tensor] = {}
        for positions in similar_lengths(lengths, self._forward_texts):
            rows = self._forward([texts[position] for position in positions])
            found.update(zip(positions, rows, strict=True))
        return [found[position] for position in range(len(texts))]

    def _forward(self, texts: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        import torch

        framed = [[*self._before, *text, *self._after] for text in texts]
        width = max(map(len, framed))
        ids = torch.zeros((len(framed), width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for place, tokens in enumerate(framed):
            ids[place, : len(tokens)] = torch.tensor(tokens)
            mask[place, : len(tokens)] = 1
        device = self._model.device
        with torch.inference_mode():
            hidden = self._model(input_ids=ids.to(device), attention_mask=mask.to(device))
            rows = hidden.last_hidden_state.float().cpu()
            unit = torch.nn.functional.normalize(rows, dim=-1)
        start = len(self._before)
        return [one[start : start + len(text)] for one, text in zip(unit, texts, strict=True)]


def special_tokens(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """What the model puts before and after a text."""
    text = tokenizer.encode("a")
    framed = tokenizer.encode("a", special=True)
    start = next(place for place in range(len(framed)) if framed[place : place + len(text)] == text)
    return framed[:start], framed[start + len(text) :]


def _limit(folder: Path, positions: int) -> int:
    """The limit that sentence-transformers uses: what the model was trained with, else its own."""
    path = folder / "sentence_bert_config.json"
    if not path.is_file():
        return positions
    return int(json.loads(path.read_text(encoding="utf-8")).get("max_seq_length") or positions)
