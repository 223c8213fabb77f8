"""What tokens a grammar allows, from llguidance; imported only by a running engine."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import llguidance
import numpy as np
import torch

from teola.runtime.engines.protocol import Grammar
from teola.runtime.errors import UnsupportedError

JSON: Any = {"whitespace_flexible": False, "lenient": True}
"""Small models write blanks for ever where they may; what llguidance does not know of a schema is
left to whoever reads the answer."""


class Grammars:
    """Makes grammars for the vocabulary of a model folder, of ``vocabulary`` tokens in the model's
    output; answers end with one of ``ends``."""

    def __init__(self, folder: Path, vocabulary: int, ends: Collection[int]) -> None:
        self._vocabulary = vocabulary
        self._tokenizer = llguidance.LLTokenizer(
            (folder / "tokenizer.json").read_text(encoding="utf-8"),
            n_vocab=vocabulary,
            eos_token=sorted(ends) or None,
        )

    def begin(self, grammar: Grammar) -> GrammarState:
        """The grammar before the first token.

        Raises:
            UnsupportedError: it cannot be followed.
        """
        matcher = llguidance.LLMatcher(self._tokenizer, _source(grammar), log_level=0)
        if matcher.is_error():
            raise UnsupportedError(f"the grammar cannot be followed: {matcher.get_error()}")
        return GrammarState(matcher, self._vocabulary)


def _source(grammar: Grammar) -> str:
    if grammar.json_schema is not None:
        return str(llguidance.LLMatcher.grammar_from_json_schema(grammar.json_schema, None, JSON))
    choices = (json.dumps(choice, ensure_ascii=False) for choice in grammar.choices)
    return str(llguidance.LLMatcher.grammar_from_lark(f"start: {' | '.join(choices)}"))


class GrammarState:
    """How far one answer is in its grammar."""

    def __init__(self, matcher: llguidance.LLMatcher, vocabulary: int) -> None:
        self._matcher, self._vocabulary = matcher, vocabulary
        self._taken = 0

    def tokens(self, answer: Sequence[int]) -> torch.Tensor | None:
        """Which tokens may follow an answer that begins so, (vocabulary,) bool; None where nothing
        is known: its reader finds out what is wrong with it."""
        self._matcher.consume_tokens(list(answer[self._taken :]))
        self._taken = len(answer)
        if self._matcher.is_error():
            return None
        packed = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        allowed = np.unpackbits(packed, bitorder="little")[: self._vocabulary].astype(np.bool_)
        return torch.from_numpy(allowed) if allowed.any() else None
