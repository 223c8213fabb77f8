"""Models of a few thousand random weights, made on the spot."""

from __future__ import annotations

from string import ascii_lowercase, digits

SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
WORDS = ("cat", "bread", "passage", "the", "query", "is", "a", "ink", "?", ".")
POSITIONS = 128


def save_bert(folder, *, outputs=1, **settings):
    """A BERT that classifies a text or a pair of texts; ``settings`` are added to its config."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    save_tokenizer(folder)
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(vocabulary()),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=1,  # of 32 numbers, the least that vLLM takes
        intermediate_size=64,
        max_position_embeddings=POSITIONS,
        initializer_range=0.5,
        num_labels=outputs,
        **settings,
    )
    BertForSequenceClassification(config).eval().save_pretrained(folder)
    return folder


def vocabulary():
    """Words, and the letters of all others."""
    letters = (*ascii_lowercase, *digits)
    known = [*SPECIAL.values(), *WORDS, *letters, *(f"##{letter}" for letter in letters)]
    return {word: place for place, word in enumerate(dict.fromkeys(known))}


def save_tokenizer(folder):
    """The tokenizer of a BERT."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = vocabulary()
    tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))  # noqa: S106 - a token of text
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, words[name]) for name in ("[CLS]", "[SEP]")],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=POSITIONS, **SPECIAL
    ).save_pretrained(folder)
