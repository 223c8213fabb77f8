"""Fakes that say of themselves what is not so, of each capability, and the checks that catch them.

``pytest -p tests.engines.liars tests/engines/test_llms.py tests/engines/test_items.py`` runs the
suite on them, and on two that are honest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from teola.runtime.engines.fakes.llm import BLOCK_TOKENS, FakeLLM
from teola.runtime.engines.protocol import Figure
from teola.runtime.llm.prefixes import Prefixes
from tests.engines import backends
from tests.engines.backends import FAKE_TIMES, SERVED, Backend


class Forgetful(FakeLLM):
    """Computes every prompt anew."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self._cache = Prefixes(BLOCK_TOKENS, 0)


class Restless(FakeLLM):
    """Takes the beginning of an answer for a part of the question."""

    def _begin(self, request):
        return super()._begin(request._replace(tokens=(*request.tokens, 7)))


class Unruly(FakeLLM):
    """Does without what it is asked for beside the prompt."""

    def _begin(self, request):
        return super()._begin(
            request._replace(grammar=None, sampling=request.sampling._replace(stop=()))
        )


@dataclass(frozen=True)
class Liar:
    """``caught``: the test that fails for a fake that ``says`` something else than the truth of a
    ``capability``, or whose class is not what it says."""

    capability: str
    caught: str
    says: Callable[[Any], Any] | None = None
    factory: type | None = None
    kind: str = "llm"
    backend: str = "fake"
    settings: Mapping[str, Any] = field(default_factory=lambda: FAKE_TIMES)
    made: str | None = None

    @property
    def name(self) -> str:
        return f"liar-{LIARS.index(self)}"

    def as_backend(self) -> Backend:
        found = self.factory
        return Backend(
            self.kind,
            self.backend,
            self.settings,
            {"kv_tokens": 800} if self.backend == "fake" and self.kind == "llm" else {},
            self.made,
            name=self.name,
            factory=f"{found.__module__}:{found.__name__}" if found else "",
            lies={self.capability: self.says} if self.says else {},
        )


def more(truth):
    return truth + 1


def less(truth):
    return truth - 1


def yes(_):
    return True


def no(_):
    return False


ROOM = "test_a_request_of_all_the_room_told_runs_and_one_token_more_is_refused"
CONTEXT = "test_a_request_of_the_context_told_is_answered_and_one_token_more_is_refused"
AT_ONCE = "test_as_many_requests_as_told_run_at_once_and_no_more"
BLOCKS = "test_a_prefix_is_kept_in_whole_blocks_of_the_size_told"
SETTINGS = "test_the_engine_has_what_its_settings_say"
PLAIN = "test_what_an_engine_says_of_itself_is_plain_data"
SAME = "test_a_prompt_gets_the_same_answer_alone_in_a_batch_and_again"
LIMIT = "test_an_embedders_limit_is_what_it_tells"

LIARS = (
    Liar("context", CONTEXT, more),
    Liar("context", CONTEXT, less),
    Liar("kv_tokens", ROOM, more),
    Liar("kv_tokens", ROOM, less),
    Liar("max_requests", AT_ONCE, more),
    Liar("max_requests", AT_ONCE, less),
    Liar("prefix_cache", BLOCKS, factory=Forgetful),
    Liar("block_tokens", BLOCKS, lambda truth: truth * 2),
    Liar("block_tokens", BLOCKS, lambda truth: truth // 2),
    Liar(
        "shares_in_flight",
        "test_one_new_prefix_of_two_prompts_is_computed_once_where_that_is_told",
        yes,
    ),
    Liar(
        "continues",
        "test_an_answer_goes_on_where_a_prompt_ends_with_its_beginning",
        factory=Restless,
    ),
    Liar("takes_tokens", SAME, no),
    Liar("takes_tokens", SAME, yes, backend="openai", settings=SERVED, made="server"),
    Liar("priority", "test_the_least_priority_comes_first_where_the_engine_orders", yes),
    Liar("remote", PLAIN, yes),
    Liar("sampling", SETTINGS, lambda truth: truth | {"top_k"}),
    Liar("sampling", "test_an_answer_ends_before_its_stop_text", factory=Unruly),
    Liar("grammars", SETTINGS, lambda truth: truth | {"regex"}),
    Liar("grammars", "test_an_answer_has_the_shape_of_its_grammar", factory=Unruly),
    Liar("adapters", SETTINGS, lambda truth: truth | {"formal"}),
    Liar("figures", PLAIN, lambda _: {"kv_used_ratio": Figure("Part of the KV that is used")}),
    Liar("details", PLAIN, lambda _: {"device": object()}),
    Liar("max_items", "test_a_full_batch_is_taken", kind="embedder", settings={"memory_items": 31}),
    Liar(
        "batch_tokens",
        "test_a_batch_of_the_tokens_told_is_taken",
        kind="embedder",
        settings={"memory_items": 6, "batch_tokens": 1000},
    ),
    Liar("limit", LIMIT, more, kind="embedder", settings={"limit_tokens": 512}),
    Liar("limit", LIMIT, less, kind="embedder", settings={"limit_tokens": 512}),
    Liar(
        "dimension",
        "test_a_request_gets_one_float32_array_of_unit_vectors",
        more,
        kind="embedder",
        settings={},
    ),
)
HONEST = (
    Backend("llm", "fake", FAKE_TIMES, {"kv_tokens": 800}, name="honest"),
    Backend("embedder", "fake", {"limit_tokens": 512, "batch_tokens": 800}, name="honest"),
)


def pytest_configure() -> None:
    """The suite's backends are these."""
    backends.BACKENDS[:] = [*HONEST, *(one.as_backend() for one in LIARS)]
