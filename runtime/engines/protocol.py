"""What an engine is: the few methods the schedulers call, and the messages that cross a host.

Every message is plain data (str, numbers, lists, dicts, numpy arrays): it may be pickled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

NOTHING: Mapping[str, Any] = {}
"""What items without a common part have in common; never changed."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that an engine tells of itself, with ``about`` what it says; a ``total`` grows from
    the engine's start on, others are of the moment. Its name ends with its unit, as those of
    metrics do (``_seconds``, ``_ratio``, ``_tokens``)."""

    about: str
    total: bool = False


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a started engine can do; schedulers read it, workflows are checked against it.

    ``max_items``: items the engine takes in one batch, with ``batch_tokens`` together (estimated;
    an item that has more goes alone; None: any number).
    For LLMs: ``context`` tokens of one request (prompt and answer), ``kv_tokens`` of all running
    requests together, ``max_requests`` at once;
    ``prefix_cache``: the KV of a prompt stays for later ones that begin alike, in whole blocks of
    ``block_tokens``; ``shares_in_flight``: even while it is being computed; ``continues``: a prompt
    may end within an answer, which then goes on as if it had never been broken off.
    ``limit``: longest text in tokens, special tokens included (embedders). ``takes_tokens``: else a
    call's ``messages`` are what it is asked; ``priority``: it orders what waits in it itself;
    ``sampling`` and ``grammars`` name what it has of `Sampling` beyond greedy, and of `Grammar`,
    ``adapters`` are those that a call may name; ``remote``: it is a server that we do not start,
    whose silence says nothing. ``figures`` are among what its command ``describe`` tells, by name:
    whoever observes the engine is told them.
    """

    max_items: int = 32
    batch_tokens: int | None = None
    limit: int | None = None
    context: int = 0
    kv_tokens: int = 0
    max_requests: int = 0
    prefix_cache: bool = False
    block_tokens: int = 0
    shares_in_flight: bool = False
    continues: bool = False
    takes_tokens: bool = True
    priority: bool = False
    remote: bool = False
    sampling: frozenset[str] = frozenset()
    grammars: frozenset[str] = frozenset()
    adapters: frozenset[str] = frozenset()
    dimension: int | None = None
    figures: Mapping[str, Figure] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


class Request(NamedTuple):
    """A slice of one task: ``items`` of ``operation`` with what they have in common.

    operation -> items, common -> one result an item
      embed     str; {}                                    -> (d,) float32, rows of one array
      score     str; {query: str}                          -> float
      ingest    (chunk dict, (d,) float32 or None); {collection, pending: str}   -> None
      search    (d,) float32; {collection, top_k: int, min_score?, where?}
                                                           -> list of passage dicts, best first
      keyword_search
                str; {collection, top_k: int, min_score?, where?}   -> as search

    ``where`` is what ``teola.compiler.where`` makes of an expression, its inputs bound.
    """

    operation: str
    items: Sequence[Any]
    common: Mapping[str, Any] = NOTHING


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an item or a request failed, as data. ``kind``: item (it alone is at fault), memory
    (try a smaller batch, or fewer calls at once), full (not begun, there is no room now: it is put
    back), died (the engine is no more), engine (anything else). ``after_s``: the engine wants
    nothing for so many seconds."""

    kind: str
    message: str
    detail: str = ""
    after_s: float = 0.0


class Counted(list[Any]):
    """What a batch gave, one result a request, and the ``tokens`` of the items of each request,
    special ones included."""

    def __init__(self, results: Sequence[Any] = (), tokens: Sequence[Sequence[int]] = ()) -> None:
        super().__init__(results)
        self.tokens = tokens


class Engine(Protocol):
    """What all engines share."""

    async def start(self) -> Capabilities:
        """Load everything; return when the first request can run."""
        ...

    async def close(self) -> None:
        """Let everything go."""
        ...


class BatchEngine(Engine, Protocol):
    """An engine whose work is items: embedder, reranker, store."""

    async def run(self, batch: Sequence[Request]) -> Sequence[Sequence[Any] | Failure]:
        """Run one batch; per request one result an item (a result may itself be a Failure), or one
        Failure for the request. An exception says nothing of single items: parts of the batch are
        run again to find which are at fault. An engine that counts tokens gives them too
        (``Counted``)."""
        ...

    async def control(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """Do something that is no item: a store's publish, drop, describe."""
        ...


class Sampling(NamedTuple):
    """How tokens are chosen: greedily, unless ``temperature`` is more than 0. An answer ends before
    the first of the texts in ``stop``; the same ``seed`` gives the same tokens. The engine tells
    the chances of so many likeliest ones at each step (``logprobs``; 0: of none)."""

    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: int = 0


GREEDY = Sampling()


@dataclass(frozen=True, slots=True)
class Grammar:
    """What an answer must be: a JSON text that a JSON Schema (itself as a text) allows, or one of
    ``choices``. Exactly one of them is given."""

    json_schema: str | None = None
    choices: tuple[str, ...] = ()


class Generate(NamedTuple):
    """One LLM request: ``tokens`` of the whole prompt, at most ``max_tokens`` new ones.

    ``warm``: only the prompt's KV is wanted, for requests that begin alike; the engine says so in
    one final event, whatever it has to generate for it. ``primitive`` of ``workflow`` is what asks,
    for engines that tell or simulate what goes on. ``messages`` are the prompt before it became
    tokens, for engines that take none; the least ``priority`` comes first, where it counts;
    ``adapter`` names the weights beside the model's (LoRA) that answer: nothing of the KV is shared
    between adapters.
    """

    id: str
    tokens: Sequence[int]
    max_tokens: int
    ignore_eos: bool = False
    stream: bool = True
    warm: bool = False
    primitive: str = ""
    workflow: str = ""
    sampling: Sampling = GREEDY
    grammar: Grammar | None = None
    messages: Sequence[Mapping[str, str]] = ()
    priority: int = 0
    adapter: str | None = None


Chances: TypeAlias = Sequence[tuple[int | str, float]]
"""Tokens (texts, of an engine that speaks in text) that could have come at one step, among what the
grammar allows and before any sampling, with the logarithms of their probabilities; the first came.
"""


class TokenEvent(NamedTuple):
    """New ``tokens`` of request ``id``; the last event has a ``finish_reason`` (stop, length) or a
    ``failure``. The end-of-sequence token is not among ``tokens``. ``text``: what an engine says
    that speaks in text; ``tokens`` only count then, or are empty. ``cached``: tokens of the prompt
    whose KV was there already, in one event of a request, where the engine tells; ``prompt``: all
    of them, where it alone has counted them; ``chances`` of the steps that made the tokens, and the
    end, where they were asked for; ``waited_s``: how long the request waited in the engine before
    anything was computed for it, in one event of a request, where the engine tells."""

    id: str
    tokens: Sequence[int]
    finish_reason: str | None = None
    failure: Failure | None = None
    text: str | None = None
    cached: int | None = None
    prompt: int | None = None
    chances: Sequence[Chances] = ()
    waited_s: float | None = None


Emit = Callable[[Sequence[TokenEvent]], None]
"""Takes the events of one engine step, which may be none: that is a sign of life while long prompts
are computed. Called on the engine's event loop."""


class LLMEngine(Engine, Protocol):
    """An engine with continuous batching: requests come and go while it runs."""

    def listen(self, emit: Emit) -> None:
        """Send all token events to ``emit`` from now on; called once, before ``start``."""
        ...

    async def submit(self, requests: Sequence[Generate]) -> None:
        """Queue requests; every one gets exactly one final event, unless aborted."""
        ...

    async def abort(self, ids: Sequence[str]) -> None:
        """Stop requests and free what they hold; unknown and ended ids are ignored. No event of
        an aborted id follows."""
        ...
