"""How much an LLM engine may be given at once, from the size of its paged KV cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from teola.runtime.errors import UnsupportedError

PAGES = 1024
PAGE_TOKENS = 16
BATCH_TOKENS = 1024
BATCH_TOKENS_GPU = 2048
LEAST_PAGES = 8
USABLE = 0.85
"""Below 15 % of free pages transformers throws all cached prefixes away and stops new prompts."""
MOST_REQUESTS = 32
MOST_REQUESTS_GPU = 64
PAGES_A_REQUEST = 8


@dataclass(frozen=True, slots=True)
class KVBudget:
    """``pages`` of ``page_tokens`` tokens; one step computes at most ``batch_tokens``."""

    pages: int
    page_tokens: int
    batch_tokens: int
    most_requests: int = MOST_REQUESTS

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> KVBudget:
        """Read the settings ``kv_pages``, ``kv_page_tokens`` and ``batch_tokens``.

        Raises:
            UnsupportedError: fewer than 8 pages.
        """
        return cls(
            _enough(int(config.get("kv_pages") or PAGES)),
            int(config.get("kv_page_tokens") or PAGE_TOKENS),
            int(config.get("batch_tokens") or BATCH_TOKENS),
        )

    @classmethod
    def on_gpu(cls, config: Mapping[str, Any], fitting: Callable[[KVBudget], int]) -> KVBudget:
        """The same on a GPU, where ``fitting`` gives the pages if the settings do not, for a budget
        that has none yet.

        Raises:
            UnsupportedError: fewer than 8 pages.
        """
        empty = cls(
            0,
            int(config.get("kv_page_tokens") or PAGE_TOKENS),
            int(config.get("batch_tokens") or BATCH_TOKENS_GPU),
            MOST_REQUESTS_GPU,
        )
        return replace(empty, pages=_enough(int(config.get("kv_pages") or fitting(empty))))

    @property
    def max_requests(self) -> int:
        """Requests at once."""
        return min(self.most_requests, self.batch_tokens, max(1, self.pages // PAGES_A_REQUEST))

    @property
    def kv_tokens(self) -> int:
        """Tokens of all requests together that always fit: the last page of each may be nearly
        empty."""
        return (int(self.pages * USABLE) - self.max_requests) * self.page_tokens


def _enough(pages: int) -> int:
    if pages < LEAST_PAGES:
        raise UnsupportedError(
            f"engine setting kv_pages: {pages} is too few, at least {LEAST_PAGES} are needed"
        )
    return pages
