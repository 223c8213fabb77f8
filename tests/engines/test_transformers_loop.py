"""The LLM engine on transformers, its generation loop replaced by a scripted one."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from teola.runtime.engines.kv_budget import KVBudget
from teola.runtime.engines.protocol import Generate, Grammar, Sampling
from teola.runtime.engines.tokenizer import ByteTokenizer
from teola.runtime.engines.transformers.llm import WARM_UP, TransformersLLM
from teola.runtime.errors import RunError, UnsupportedError
from teola.runtime.hosts.errors import EngineDied

END = 2


@dataclass
class Output:
    """As transformers gives it: all tokens so far."""

    request_id: str
    generated_tokens: list[int] = field(default_factory=list)
    finished: bool = False
    error: str | None = None

    def is_finished(self):
        return self.finished


class ScriptedLoop:
    """Takes requests and says nothing by itself, but for the warm-up."""

    context, vocabulary, ends, details = 100, 50, frozenset([END]), {}
    shares_prefixes, state = True, {}
    budget = KVBudget(pages=8, page_tokens=16, batch_tokens=64)

    def __init__(self, take, ended, warm_up_error=None):
        self.take, self.ended, self.warm_up_error = take, ended, warm_up_error
        self.added, self.requests, self.cancelled, self.accepts = [], [], [], True
        self.grammars, self.told = {}, {}

    def begin(self, grammar):
        if not grammar.choices:
            raise UnsupportedError("only choices")
        return f"state of {'|'.join(grammar.choices)}"

    def add(self, request, grammar=None, told=None):
        self.grammars[request.id], self.told[request.id] = grammar, told
        if request is WARM_UP:
            self.take([Output(request.id, [5, 5], finished=True, error=self.warm_up_error)])
        else:
            self.added.append(request.id)
            self.requests.append(request)
        return self.accepts

    def cancel(self, request_id):
        self.cancelled.append(request_id)

    def stop(self):
        self.ended(None)


def test_room_is_what_fits_with_every_last_page_nearly_empty():
    budget = KVBudget.of({"kv_pages": 512, "kv_page_tokens": 32})
    assert budget.max_requests == 32
    assert budget.kv_tokens == (435 - 32) * 32
    with pytest.raises(UnsupportedError, match="kv_pages: 7"):
        KVBudget.of({"kv_pages": 7})


def play(scene, **settings):
    """Run ``scene(engine, loop, events)`` on an engine with a scripted loop."""

    async def main():
        engine, steps = TransformersLLM({}), []

        def load(loop):
            return ScriptedLoop(
                lambda outputs: loop.call_soon(engine._take, outputs),
                lambda error: loop.call_soon(engine._loop_ended, error),
                **settings,
            )

        engine._load = load
        engine._thread = SimpleNamespace(call=_at_once, close=lambda: None)
        engine.listen(steps.append)
        await engine.start()
        await scene(engine, engine._generation, steps)

    asyncio.run(main())


async def _at_once(function, *arguments):
    return function(*arguments)


async def pause():
    """Let everything that is due on the loop happen."""
    for _ in range(3):
        await asyncio.sleep(0)


def request(name, tokens=(7, 8), max_tokens=4, **settings):
    return Generate(name, tokens, max_tokens, **settings)


def test_one_step_is_one_message_and_outputs_become_what_is_new():
    async def scene(engine, loop, steps):
        await engine.submit([request("a"), request("b")])
        loop.take([Output("a", [10]), Output("b", [20])])
        loop.take([Output("a", [10, 11]), Output("b", [20, END], finished=True)])
        loop.take([Output("a", [10, 11, 12, 13], finished=True)])
        await pause()
        plain = [[(e.id, list(e.tokens), e.finish_reason) for e in step] for step in steps]
        assert plain == [
            [("a", [10], None), ("b", [20], None)],
            [("a", [11], None), ("b", [], "stop")],
            [("a", [12, 13], "length")],
        ]

    play(scene)


def test_a_step_that_gives_no_token_is_told():
    """The engine lives, however long its prompts are."""

    async def scene(engine, loop, steps):
        await engine.submit([request("a")])
        loop.take([])
        await pause()
        assert steps == [[]]

    play(scene)


def test_what_of_a_prompt_was_cached_is_told_once():
    """With the first of a request's tokens, or a warm-up's end, as the loop has counted it."""

    async def scene(engine, loop, steps):
        await engine.submit([request("a"), request("w", warm=True)])
        loop.told["a"].cached, loop.told["w"].cached = 32, 0
        loop.take([Output("a", [10])])
        loop.take([Output("a", [10, 11])])
        loop.take([Output("w", [5, 5], finished=True)])
        await pause()
        assert [event.cached for step in steps for event in step] == [32, None, 0]

    play(scene)


def said(steps):
    return [(e.id, len(e.tokens), e.text, e.finish_reason) for step in steps for e in step]


def test_nothing_follows_a_stop_text_and_its_request_is_cancelled():
    """The text says how much of an answer counts; one that others share a step with goes on."""

    async def scene(engine, loop, steps):
        engine._tokenizer = ByteTokenizer()
        stops = Sampling(stop=("+,", "never"))
        await engine.submit([request("a", sampling=stops), request("b")])
        loop.take([Output("a", [40]), Output("b", [41])])
        loop.take([Output("a", [40, 43])])
        loop.take([Output("a", [40, 43, 44, 45]), Output("b", [41, 42])])
        loop.take([Output("a", [40, 43, 44, 45, 46])])
        await pause()
        assert said(steps) == [
            ("a", 1, "(", None), ("b", 1, None, None),
            ("a", 1, "", None),
            ("a", 2, "", "stop"), ("b", 1, None, None),
        ]  # fmt: skip
        assert set(loop.cancelled) == {"a"}
        assert await engine.control("describe", {}) == {"running": 1}

    play(scene)


@pytest.mark.parametrize(("last", "reason"), [(END, "stop"), (45, "length")])
def test_what_was_held_back_leaves_when_an_answer_ends(last, reason):
    async def scene(engine, loop, steps):
        engine._tokenizer = ByteTokenizer()
        await engine.submit([request("a", sampling=Sampling(stop=("+,",)))])
        loop.take([Output("a", [40, 43])])
        loop.take([Output("a", [40, 43, last], finished=True)])
        await pause()
        whole = "".join(event.text for step in steps for event in step)
        assert whole == ("(+" if last == END else "(+-")
        assert steps[-1][0].finish_reason == reason
        assert loop.cancelled == []

    play(scene)


def test_a_request_carries_its_grammar_and_one_that_cannot_be_followed_fails_alone():
    async def scene(engine, loop, steps):
        await engine.submit(
            [
                request("a", grammar=Grammar(choices=("x", "y"))),
                request("b", grammar=Grammar(json_schema="{}")),
                request("c"),
            ]
        )
        assert loop.added == ["a", "c"]
        assert (loop.grammars["a"], loop.grammars["c"]) == ("state of x|y", None)
        ((refused,),) = steps
        assert (refused.id, refused.failure.message) == ("b", "only choices")

    play(scene)


def test_a_request_that_is_aborted_while_its_grammar_is_made_never_reaches_the_loop():
    """Making one takes seconds; who comes with it is not held up by the abort."""

    async def scene(engine, loop, steps):
        made = asyncio.Event()

        async def slowly(function, *arguments):
            await made.wait()
            return function(*arguments)

        engine._thread.call = slowly
        grammar = Grammar(choices=("x", "y"))
        asked = [request("a", grammar=grammar), request("b", grammar=grammar)]
        submitted = asyncio.create_task(engine.submit(asked))
        await pause()
        await engine.abort(["a"])
        made.set()
        await submitted
        assert loop.added == ["b"]
        assert steps == []

    play(scene)


def test_the_end_token_is_a_token_where_it_is_ignored():
    async def scene(engine, loop, steps):
        await engine.submit([request("a", ignore_eos=True)])
        loop.take([Output("a", [9, 9, 9, END], finished=True)])
        await pause()
        assert steps[0][0].tokens == [9, 9, 9, END]
        assert steps[0][0].finish_reason == "length"

    play(scene)


def test_a_warm_up_runs_long_enough_for_its_pages_to_be_kept():
    async def scene(engine, loop, steps):
        await engine.submit([request("w", max_tokens=1, warm=True)])
        (asked,) = loop.requests
        assert (asked.max_tokens, asked.ignore_eos, asked.stream) == (2, True, False)
        loop.take([Output("w", [5, END], finished=True)])
        await pause()
        assert [(event.id, event.finish_reason) for event in steps[0]] == [("w", "length")]

    play(scene)


def test_an_aborted_request_the_loop_had_not_seen_is_cancelled_when_it_shows_up():
    async def scene(engine, loop, steps):
        await engine.submit([request("a")])
        await engine.abort(["a", "unknown"])
        assert loop.cancelled == ["a"]
        loop.take([Output("a", [10])])
        await pause()
        assert loop.cancelled == ["a", "a"]
        loop.take([Output("a", [10, 11], finished=True)])
        await pause()
        assert loop.cancelled == ["a", "a"]
        assert steps == []

    play(scene)


def test_what_can_never_fit_never_reaches_the_loop():
    async def scene(engine, loop, steps):
        room = min(loop.context, loop.budget.kv_tokens)
        await engine.submit(
            [request("large", [1] * room, 1), request("fits", [1] * (room - 1), 1),
             request("strange", [-1]), request("strange too", [50])]
        )  # fmt: skip
        assert loop.added == ["fits"]
        assert [event.id for event in steps[0]] == ["large", "strange", "strange too"]
        assert {event.failure.kind for event in steps[0]} == {"item"}

    play(scene)


def test_when_the_loop_ends_every_request_fails_and_later_calls_say_so():
    async def scene(engine, loop, steps):
        await engine.submit([request("a"), request("b")])
        loop.ended(MemoryError("no page left"))
        await pause()
        assert [event.id for event in steps[0]] == ["a", "b"]
        assert all("MemoryError: no page left" in event.failure.message for event in steps[0])
        assert {event.failure.kind for event in steps[0]} == {"died"}
        with pytest.raises(EngineDied, match="no page left"):
            await engine.submit([request("c")])
        await engine.abort(["a"])
        await engine.close()

    play(scene)


def test_a_loop_that_takes_no_more_is_dead():
    async def scene(engine, loop, steps):
        loop.accepts = False
        with pytest.raises(EngineDied):
            await engine.submit([request("a")])

    play(scene)


def test_an_engine_that_cannot_generate_does_not_start():
    async def scene(engine, loop, steps):
        pytest.fail("it started")

    with pytest.raises(RunError, match="does not generate.*out of memory"):
        play(scene, warm_up_error="out of memory")


def test_a_closed_engine_says_nothing_more():
    async def scene(engine, loop, steps):
        await engine.submit([request("a")])
        await engine.close()
        loop.take([Output("a", [1], finished=True)])
        await pause()
        assert steps == []
        with pytest.raises(RunError, match="not been started"):
            await engine.submit([request("b")])

    play(scene)
