"""Tokenizers trained in a second on the bundled documents."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from teola.compiler.locations import gallery

EOS = 1
TRAINED = 8192
SAID = 2048
"""Tokens of the text that the language model says."""
LINE = 16
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """``trained`` tokens, then those that are said, each after the one before it."""

    trained: int

    @property
    def known(self) -> int:
        """All."""
        return self.trained + SAID

    def after(self, token: int) -> int:
        """What the model says after a token."""
        place = token - self.trained + 1 if token >= self.trained else token * 31
        return self.trained + place % SAID


def save_byte_level(folder: Path, size: int) -> Vocabulary:
    """A byte-level BPE of at most ``size`` tokens; of what is said, each 16th word ends a line."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=min(TRAINED, size - SAID),
        special_tokens=["<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    found = Vocabulary(tokenizer.get_vocab_size())
    whole = json.loads(tokenizer.to_str())
    for place in range(SAID):
        end = "Ċ" if place % LINE == LINE - 1 else ""
        whole["model"]["vocab"][f"Ġsaid{place}{end}"] = found.trained + place
    (folder / "tokenizer.json").write_text(json.dumps(whole), encoding="utf-8")
    _describe(folder, eos_token="<|im_end|>")  # noqa: S106 - a token of text
    return found


def save_word_pieces(folder: Path, size: int, limit: int) -> None:
    """A BERT's word pieces."""
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 - a token of text
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=SPECIAL, show_progress=False
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {f"{name.strip('[]').lower()}_token": name for name in SPECIAL}
    _describe(folder, model_max_length=limit, **names)


def _describe(folder: Path, **settings: object) -> None:
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def _texts() -> list[str]:
    return [path.read_text("utf-8") for path in sorted((gallery() / "data/sqlite").glob("*.*"))]
