"""What an operation may know about the task it serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from teola.runtime.engines.tokenizer import Tokenizer


def _to_nobody(_: Sequence[int]) -> None:
    """Nobody wants to know."""


def _missing(name: str) -> Any:
    raise LookupError(f"no engine {name!r} in this context")


class TaskContext(NamedTuple):
    """``collection`` and ``pending`` are the names an ingest writes under; ``epoch`` is the life of
    the task's engine, ``embedder`` the identity of what makes a collection's vectors; ``tokenizer``
    and ``text_limit`` look up another engine by name; ``counted`` is told the tokens of each item
    that was taken, where the operation counts them."""

    config: Mapping[str, Any]
    engine_name: str = ""
    collection: str = ""
    pending: str = ""
    epoch: int = 0
    embedder: str | None = None
    tokenizer: Callable[[str], Tokenizer] = _missing
    text_limit: Callable[[str], int] = _missing
    counted: Callable[[Sequence[int]], None] = _to_nobody
