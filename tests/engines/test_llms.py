"""What every LLM engine does."""

import asyncio
import json
import re
from contextlib import ExitStack
from math import exp

import pytest

from teola.compiler.needs import GREEDY, backends_with, declared, needs
from teola.runtime.engines.protocol import Grammar, Sampling, TokenEvent
from teola.runtime.engines.tokenizer import load_tokenizer
from teola.runtime.errors import UnsupportedError
from teola.runtime.hosts import EngineDied
from teola.runtime.requirements import check_requirements
from tests.engines.clients import Prompt
from tests.openai_server import serving
from tests.runtime.workbench import call, plan

pytestmark = pytest.mark.engines("llm")

KNOWN = 400
"""Tokens of a long prompt that are known early."""


def long_prompt(seed):
    """500 tokens like nobody else's."""
    return [1000 + (seed * 977 + place * 31) % 9000 for place in range(500)]


@pytest.fixture
def of_tokens(engine):
    """An engine that takes tokens and gives them."""
    if not engine.capabilities.takes_tokens:
        pytest.skip("it takes messages only")
    return engine


@pytest.fixture
def cramped(other):
    """An engine that has no room for two of its longest requests."""
    if other.capabilities.kv_tokens >= 2 * other.longest:
        pytest.skip("of its room nothing is known")
    return other


# The same request, the same answer


def test_a_prompt_gets_the_same_answer_alone_in_a_batch_and_again(engine, prompts):
    together = engine.generate(*((prompt, 16, {}) for prompt in prompts))
    alone = [engine.generate((prompt, 16, {}))[0] for prompt in prompts]
    again = engine.generate(*((prompt, 16, {}) for prompt in reversed(prompts)))[::-1]
    assert [one.said for one in together] == [one.said for one in alone]
    assert [one.said for one in together] == [one.said for one in again]
    assert len({str(one.said) for one in together}) == len(prompts)


def test_another_replica_gives_the_same_answers(engine, other, prompts):
    mine = engine.generate(*((prompt, 16, {}) for prompt in prompts))
    theirs = other.generate(*((prompt, 16, {}) for prompt in prompts))
    assert [one.said for one in mine] == [one.said for one in theirs]


def test_two_equal_prompts_at_once_get_equal_answers(engine, prompts):
    first, second = engine.generate((prompts[3], 8, {}), (prompts[3], 8, {}))
    assert first.said == second.said


def test_a_warmed_prompt_gets_the_answer_of_a_cold_one(of_tokens, other):
    for seed in range(3):
        prompt = long_prompt(seed)
        of_tokens.generate((prompt[:KNOWN], 1, {"warm": True}))
        (warmed,) = of_tokens.generate((prompt, 24, {"ignore_eos": True}))
        (cold,) = other.generate((prompt, 24, {"ignore_eos": True}))
        assert warmed.said == cold.said


def test_an_answer_goes_on_where_a_prompt_ends_with_its_beginning(of_tokens, prompts):
    if not of_tokens.capabilities.continues:
        pytest.skip("it does not say that it goes on")
    prompt = prompts[1].tokens
    (whole,) = of_tokens.generate((prompt, 24, {}))
    for count in (1, 7, len(whole.tokens) - 1):
        begun, rest = [*prompt, *whole.tokens[:count]], 24 - count
        (continued,) = of_tokens.generate((begun, rest, {}))
        assert [*whole.tokens[:count], *continued.tokens] == whole.tokens
        assert continued.finish_reason == whole.finish_reason


# Ends and lengths


@pytest.mark.engines("llm", simulated=False)
def test_one_token_is_an_answer(engine, prompts):
    (answer,) = engine.generate((prompts[0], 1, {"ignore_eos": True}))
    assert answer.finish_reason == "length"
    (longer,) = engine.generate((prompts[0], 8, {"ignore_eos": True}))
    assert longer.said[: len(answer.said)] == answer.said


def test_an_answer_ends_by_itself_without_the_end_token(of_tokens, prompts):
    (answer,) = of_tokens.generate((prompts[0], 200, {}))
    assert answer.finish_reason == "stop"
    assert 0 < len(answer.tokens) < 200
    assert load_tokenizer(of_tokens.config).eos not in answer.tokens


def test_an_answer_whose_end_is_ignored_has_the_length_asked_for(of_tokens, prompts):
    (full,) = of_tokens.generate((prompts[0], 40, {"ignore_eos": True}))
    assert (len(full.tokens), full.finish_reason) == (40, "length")


@pytest.mark.engines("llm", real=True)
def test_an_answer_that_does_not_end_is_cut(engine, prompts):
    (short,) = engine.generate((prompts[3], 3, {}))
    assert (len(short.tokens) <= 3, short.finish_reason) == (True, "length")


# Events


def test_tokens_come_in_steps_and_the_last_event_says_why_it_ended(engine, prompts):
    (answer,) = engine.generate((prompts[1], 40, {"ignore_eos": True}))
    assert len(answer.events) > 1
    assert {event.finish_reason for event in answer.events[:-1]} == {None}
    assert all(event.tokens or event.text for event in answer.events[:-1])


@pytest.mark.engines("llm", simulated=False)
def test_who_does_not_stream_gets_one_event(engine, prompts):
    streamed, whole = engine.generate((prompts[1], 12, {}), (prompts[1], 12, {"stream": False}))
    assert len(whole.events) == 1
    assert whole.said == streamed.said


def test_a_warm_up_ends_in_one_event(of_tokens, prompts):
    (warm_up,) = of_tokens.generate((prompts[3], 1, {"warm": True}))
    assert len(warm_up.events) == 1
    assert warm_up.finish_reason == "length"


def test_events_are_plain_data(engine, prompts):
    (answer,) = engine.generate((prompts[0], 2, {}))
    assert all(type(event) is TokenEvent for event in answer.events)
    assert all(type(token) is int for token in answer.tokens)


# Room


def test_a_long_prompt_is_answered_beside_short_ones(of_tokens, prompts):
    long = [100 + place % 1000 for place in range(1100)]
    answers = of_tokens.generate(
        (long, 2, {"ignore_eos": True}), (prompts[0], 4, {"ignore_eos": True})
    )
    assert [len(answer.tokens) for answer in answers] == [2, 4]


def test_nothing_is_heard_of_an_aborted_request_and_nothing_held_for_it(engine, prompts):
    stopped = engine.request(prompts[0], 400, ignore_eos=True)
    kept = engine.request(prompts[1], 40, ignore_eos=True)
    at_once = engine.request(prompts[2], 400, ignore_eos=True)

    async def abort_one():
        await engine.handle.submit([stopped, kept, at_once])
        await engine.handle.abort([at_once.id])
        heard = {at_once.id: len(engine.answers[at_once.id].events)}
        await engine.answers[stopped.id].begun.wait()
        await engine.handle.abort([stopped.id, "nobody's"])
        heard[stopped.id] = len(engine.answers[stopped.id].events)
        await engine.answers[kept.id].over.wait()
        await engine.handle.abort([kept.id, stopped.id])
        return heard

    for aborted, heard in engine.run(abort_one()).items():
        assert len(engine.answers[aborted].events) == heard
        assert not engine.answers[aborted].over.is_set()
    assert engine.answers[kept.id].finish_reason == "length"
    assert engine.control("describe")["running"] == 0


def test_a_request_that_never_fits_fails_alone(of_tokens, prompts):
    """Its neighbours have their answers."""
    room = of_tokens.longest
    long, empty, nothing, fine = of_tokens.generate(
        ([5] * room, 1, {}), ([], 1, {}), (prompts[0], 0, {}), (prompts[0], 4, {})
    )
    assert [one.failure.kind for one in (long, empty, nothing)] == ["item"] * 3
    assert f"the prompt has {room} tokens" in long.failure.message
    assert fine.failure is None
    assert fine.tokens


@pytest.mark.engines("llm", real=True)
def test_a_token_that_the_model_does_not_know_fails_alone(of_tokens, prompts):
    strange, fine = of_tokens.generate(([10**6], 1, {}), (prompts[0], 4, {}))
    assert strange.failure.kind == "item"
    assert fine.failure is None


def test_a_request_of_all_the_room_told_runs_and_one_token_more_is_refused(cramped):
    room = cramped.longest
    prompt = [100 + place % 1000 for place in range(room - 4)]
    fits, larger = cramped.generate((prompt, 4, {"ignore_eos": True}), (prompt, 5, {}))
    assert len(fits.tokens) == 4
    assert larger.failure.kind == "item"


def test_requests_that_fill_the_room_told_run_at_once(cramped):
    """Four of them, whole blocks each: all have a token before any has ended, and none is set
    back."""
    block = cramped.capabilities.block_tokens or 1
    size = cramped.capabilities.kv_tokens // 4 // block * block
    new = size // 2 if cramped.backend.simulated else 16
    requests = [
        cramped.request([100 + number] * (size - new), new, ignore_eos=True) for number in range(4)
    ]
    before = cramped.control("describe").get("preemptions")
    assert cramped.at_once(requests) == 4
    assert cramped.control("describe").get("preemptions") == before


def test_an_aborted_request_gives_its_room_back(cramped):
    """As the next ones show, and the engine's figures, where it has them."""
    room = cramped.longest
    for _ in range(3):
        request = cramped.request([7] * (room // 2), room // 2, ignore_eos=True)

        async def start_and_abort(request=request):
            await cramped.handle.submit([request])
            await cramped.answers[request.id].begun.wait()
            told = await cramped.handle.control("describe", {})
            await cramped.handle.abort([request.id])
            return told.get("kv_used_ratio")

        used = cramped.run(start_and_abort())
    (answer,) = cramped.generate(([8] * (room - 4), 2, {}))
    assert answer.failure is None
    cramped.generate(([9], 1, {}))
    assert used is None or cramped.control("describe")["kv_used_ratio"] < 0.1 < used


def test_more_than_fits_at_once_waits_and_is_answered_the_same(cramped):
    size = cramped.capabilities.kv_tokens // 4
    prompts = [[100 + number] * size for number in range(10)]
    together = cramped.generate(*((prompt, 8, {"ignore_eos": True}) for prompt in prompts))
    (alone,) = cramped.generate((prompts[9], 8, {"ignore_eos": True}))
    assert [len(answer.tokens) for answer in together] == [8] * 10
    assert together[9].tokens == alone.tokens


# Capabilities are true


def test_what_an_engine_says_of_itself_is_plain_data(engine):
    """And it is remote where others start it."""
    assert json.loads(json.dumps(engine.capabilities.details)) == engine.capabilities.details
    assert engine.capabilities.remote == ("base_url" in engine.config)
    described = engine.control("describe")
    assert all(isinstance(described.get(name), int | float) for name in engine.capabilities.figures)


def test_a_request_of_the_context_told_is_answered_and_one_token_more_is_refused(engine, prompts):
    """Both numbers are named. A server may cut such an answer instead."""
    context = engine.capabilities.context
    if not 0 < context <= engine.capabilities.kv_tokens:
        pytest.skip("it tells of none, or its room is less")
    prompt = [100 + place % 1000 for place in range(context - 2)]
    new = 2
    if not engine.capabilities.takes_tokens:
        prompt = prompts[0]
        new = context - engine.generate((prompt, 1, {}))[0].prompt
    fits, larger = engine.generate((prompt, new, {}), (prompt, new + 1, {}))
    assert fits.failure is None
    if larger.failure is None and engine.capabilities.remote:
        return
    assert larger.failure.kind == "item"
    assert str(context) in larger.failure.message
    assert str(context - new) in larger.failure.message


def test_as_many_requests_as_told_run_at_once_and_no_more(engine, prompts):
    """But for a server, which is only sent so many."""
    most, remote = engine.capabilities.max_requests, engine.capabilities.remote
    asked = [prompts[0]] * most if remote else numbered(prompts[0], most + 1)
    new = 2000 if engine.backend.served else 64 if engine.backend.simulated else 16
    requests = [engine.request(prompt, new, ignore_eos=True) for prompt in asked]
    assert engine.at_once(requests) == most


def numbered(prompt, count):
    return [Prompt((*prompt.tokens, 100 + number), prompt.messages) for number in range(count)]


def test_a_prefix_is_kept_in_whole_blocks_of_the_size_told(of_tokens):
    """What is left over is computed again; a server's blocks may be larger."""
    block = of_tokens.capabilities.block_tokens
    if not of_tokens.capabilities.prefix_cache:
        pytest.skip("it does not say that it keeps prefixes")
    for known in (block - 1, block, 3 * block - 1, 3 * block):
        prompt = long_prompt(20 + known)
        of_tokens.generate((prompt[:known], 1, {"warm": True}))
        (answer,) = of_tokens.generate((prompt, 1, {}))
        if of_tokens.capabilities.remote:
            assert answer.cached in (None, *range(0, known + 1, block))
        else:
            assert answer.cached == known // block * block


def test_one_new_prefix_of_two_prompts_is_computed_once_where_that_is_told(of_tokens):
    """Hardly a block of it is shared by any other engine, where both prompts come in with one step:
    mostly, for it computes a third meanwhile."""
    told = of_tokens.capabilities
    if told.remote:
        pytest.skip("who shares a server with us is not known")

    def shared(seed):
        prefix, third = long_prompt(seed), long_prompt(seed + 10) * 2
        _, *both = of_tokens.generate((third, 1, {}), *(([*prefix, n], 1, {}) for n in (5, 6)))
        return sum(one.cached for one in both) // max(1, told.block_tokens)

    if told.shares_in_flight:
        assert shared(30) == len(long_prompt(30)) // told.block_tokens
    else:
        assert any(shared(seed) <= 2 for seed in range(30, 36))


def test_a_prefix_that_is_said_to_be_kept_is_not_computed_again(of_tokens):
    """The engine tells so, or its first token comes sooner; minima, as other load only adds."""
    if not of_tokens.capabilities.prefix_cache:
        pytest.skip("it does not say that it keeps prefixes")

    def first_token(prompt):
        async def measured():
            clock = asyncio.get_running_loop().time
            began = clock()
            (answer,) = await of_tokens.finish([of_tokens.request(prompt, 1)])
            return clock() - began, answer.cached

        return of_tokens.run(measured())

    cold = [first_token(long_prompt(seed)) for seed in (10, 11)]
    for seed in (12, 13):
        of_tokens.generate((long_prompt(seed)[:KNOWN], 1, {"warm": True}))
    warmed = [first_token(long_prompt(seed)) for seed in (12, 13)]
    if warmed[0][1] is not None:
        least = KNOWN - of_tokens.capabilities.block_tokens
        assert all(cached == 0 for _, cached in cold)
        assert all(least <= cached <= KNOWN for _, cached in warmed)
    else:
        assert min(seconds for seconds, _ in warmed) < 0.7 * min(seconds for seconds, _ in cold)


def test_the_engine_has_what_its_settings_say(engine):
    """The compiler reads the settings, the scheduler the capabilities."""
    for group, names in declared(engine.config).items():
        assert names is None or getattr(engine.capabilities, group) == set(names)


def test_what_a_backend_lacks_is_refused_before_it_starts(engine):
    """Naming the backends that have it."""
    asked = {"temperature": 0.5, "top_p": 0.5, "stop": ["."], "seed": 3}
    assert asked.keys() == GREEDY.keys()
    wanted = [
        *needs({"sampling": asked}, {}),
        *needs({"output": {"shape": "json"}}, {}),
        *needs({"output": {"shape": "choice"}}, {}),
        *needs({"adapter": "formal"}, {}),
    ]
    assert len(wanted) == 7
    for need in wanted:
        names = declared(engine.config)[need.group]
        if names is not None and need.name not in names:
            with pytest.raises(UnsupportedError, match=re.escape(need.what)) as caught:
                check_requirements(asking(need, asked, engine.config))
            if need.group != "adapters" or "adapters" not in engine.config:
                assert all(backend in str(caught.value) for backend in backends_with(need))


def asking(need, sampling, config):
    """A graph with one call that needs something of an engine."""
    more = f", {json.dumps(need.name)}: {json.dumps(sampling.get(need.name))}"
    lines = call("a", "x", "", sampling=more if need.group == "sampling" else "")
    if need.group == "grammars":
        shape = "json" if need.name == "json_schema" else "choice"
        output = {"shape": shape, "choices": ["a", "b"]}
        lines = call("a", "x", "", decode=f"{{engine = llm, output = {json.dumps(output)}}}")
    if need.group == "adapters":
        lines = lines.replace(
            "{engine = llm, messages", '{engine = llm, adapter = "formal", messages'
        )
    return plan(lines + "\noutput o: text = %a.decode:text", llm=config).graph


def test_a_request_for_an_adapter_that_is_not_there_fails_alone(engine, prompts):
    lost, fine = engine.generate((prompts[0], 4, {"adapter": "nobody's"}), (prompts[0], 4, {}))
    assert lost.failure.kind == "item"
    assert "there is no adapter 'nobody's'" in lost.failure.message
    assert fine.failure is None


@pytest.fixture
def adapted(engine, start):
    """An engine with two adapters, each of which changes its answers."""
    if engine.backend.adapted is None:
        pytest.skip("it has no adapters")
    with ExitStack() as until:
        yield start(engine.backend, until, **engine.backend.adapted)


def test_an_adapter_answers_where_it_is_named(adapted, prompts):
    """The calls of one batch keep apart, and nothing that one has computed serves another."""
    assert adapted.capabilities.adapters == {"one", "two"}
    asked = [{}, {"adapter": "one"}, {"adapter": "two"}]
    together = adapted.generate(*((prompts[1], 12, how) for how in asked))
    again = [adapted.generate((prompts[1], 12, how))[0] for how in asked]
    assert [one.said for one in together] == [one.said for one in again]
    assert len({str(one.said) for one in together}) == 3


@pytest.fixture
def sampled(engine):
    """An engine that samples."""
    if not {"temperature", "seed"} <= engine.capabilities.sampling:
        pytest.skip("it does not say that it samples")
    return engine


@pytest.mark.engines("llm", simulated=False)
def test_a_seed_gives_the_same_draw_alone_and_in_a_batch(sampled, prompts):
    def draw(seed, prompt=prompts[3]):
        return (prompt, 16, {"sampling": Sampling(temperature=1.5, seed=seed)})

    together = sampled.generate(*(draw(seed) for seed in range(4)), (prompts[0], 16, {}))
    alone = [sampled.generate(draw(seed))[0] for seed in range(4)]
    assert [one.said for one in together[:4]] == [one.said for one in alone]
    assert len({str(one.said) for one in alone}) > 1


@pytest.mark.engines("llm", simulated=False)
def test_an_answer_ends_before_its_stop_text(engine, prompts):
    if "stop" not in engine.capabilities.sampling:
        pytest.skip("it does not say that it stops")
    (whole,) = engine.generate((prompts[1], 32, {}))
    text = text_of(engine, whole)
    stop = text[len(text) // 2 :][:3]
    (cut,) = engine.generate((prompts[1], 32, {"sampling": Sampling(stop=(stop,))}))
    assert text_of(engine, cut) == text[: text.index(stop)]
    assert cut.finish_reason == "stop"


@pytest.mark.engines("llm", simulated=False)
def test_an_answer_has_the_shape_of_its_grammar(engine, prompts):
    names = engine.capabilities.grammars
    if not names:
        pytest.skip("it does not say that it has grammars")
    wanted = {
        "choices": (Grammar(choices=("yes", "no")), lambda text: text in ("yes", "no")),
        "json_schema": (
            Grammar(json_schema='{"type": "object", "properties": {"a": {"enum": [1, 2]}}, '
                    '"required": ["a"], "additionalProperties": false}'),
            lambda text: json.loads(text)["a"] in (1, 2),
        ),
    }  # fmt: skip
    for name in names & wanted.keys():
        grammar, fits = wanted[name]
        (answer,) = engine.generate((prompts[2], 32, {"grammar": grammar}))
        assert answer.finish_reason == "stop"
        assert fits(text_of(engine, answer))


def told(engine, prompt, **asked):
    """The answer to a call that asks for chances, and what it tells of each step."""
    if "logprobs" not in engine.capabilities.sampling:
        pytest.skip("it does not say that it tells chances")
    (answer,) = engine.generate((prompt, 8, {**asked, "sampling": Sampling(logprobs=20)}))
    (plain,) = engine.generate((prompt, 8, asked))
    assert plain.said == answer.said
    assert not any(event.chances for event in plain.events)
    steps = [could for event in answer.events for could in event.chances]
    assert all(len({one for one, _ in could}) == len(could) for could in steps)
    return answer, steps


def test_of_what_a_grammar_allows_the_chances_are_told(engine, prompts):
    """They are 1 together; the first of each step came."""
    answer, steps = told(engine, prompts[2], grammar=Grammar(choices=("yes", "no", "never")))
    assert 0 < len(steps) <= len(answer.tokens) + 1
    for could in steps:
        assert sum(exp(log) for _, log in could) == pytest.approx(1, abs=1e-4)
        assert could[0][1] == max(log for _, log in could)
    came = [could[0][0] for could in steps]
    if isinstance(came[0], int):
        assert came[: len(answer.tokens)] == answer.tokens
    else:
        assert "".join(came) == text_of(engine, answer).strip()


@pytest.mark.engines("llm", meaning=True)
def test_the_likeliest_tokens_of_any_answer_are_told(engine, prompts):
    """With one event for all of them, too."""
    answer, steps = told(engine, prompts[1], stream=False)
    assert [could[0][0] for could in steps][: len(answer.tokens)] == answer.tokens
    assert all(len(could) == 20 for could in steps)
    assert all(0 < sum(exp(log) for _, log in could) <= 1 + 1e-4 for could in steps)


def text_of(engine, answer):
    said = answer.said
    return said if isinstance(said, str) else load_tokenizer(engine.config).decode(said)


def test_the_least_priority_comes_first_where_the_engine_orders(cramped):
    if not cramped.capabilities.priority:
        pytest.skip("it does not say that it orders")
    size = cramped.capabilities.kv_tokens * 2 // 3
    requests = [
        cramped.request([100 + at] * size, 8, ignore_eos=True, priority=priority)
        for at, priority in enumerate((0, 9, 1))
    ]

    async def ended():
        await cramped.handle.submit(requests)
        await cramped.answers[requests[2].id].over.wait()
        early = cramped.answers[requests[1].id].over.is_set()
        await cramped.answers[requests[1].id].over.wait()
        return early

    assert not cramped.run(ended())


# Death


@pytest.mark.engines("llm", mortal=True)
def test_a_death_in_the_middle_of_answers_is_told_and_a_new_engine_gives_the_same(
    engine, mortal, prompts
):
    before = mortal.generate((prompts[3], 8, {}))[0].said

    async def die():
        request = mortal.request(prompts[0], 400, ignore_eos=True)
        try:
            await mortal.handle.submit([request])
            await mortal.answers[request.id].begun.wait()
        except EngineDied:
            pass
        mortal.kill()
        told = await mortal.handle.died
        assert not mortal.answers[request.id].over.is_set()
        with pytest.raises(EngineDied):
            await mortal.handle.submit([request])
        return told

    assert isinstance(mortal.wait(die()), EngineDied)
    mortal.restart()
    assert mortal.generate((prompts[3], 8, {}))[0].said == before
    assert engine.generate((prompts[3], 8, {}))[0].said == before


@pytest.mark.engines("llm", served=True)
def test_a_server_that_dies_in_the_middle_of_answers_is_told_and_one_in_its_place_gives_the_same(
    engine, start, prompts
):
    """The engine lives: its calls have errors of their own until there is a server again."""
    with ExitStack() as until:
        server = until.enter_context(serving(pace_s=0.005))
        client = start(engine.backend, until, base_url=server.url)
        asked = (prompts[3], 8, {})
        before = client.generate(asked)[0].said
        requests = [client.request(prompt, 2000, ignore_eos=True) for prompt in prompts[:3]]
        answers = [client.answers[one.id] for one in requests]

        async def die():
            await client.handle.submit(requests)
            await asyncio.gather(*(one.begun.wait() for one in answers))
            await asyncio.to_thread(server.die)
            await asyncio.gather(*(one.over.wait() for one in answers))

        client.wait(die())
        assert [one.failure.kind for one in answers] == ["engine"] * 3
        assert all(0 < len(one.said) < 2000 for one in answers)
        assert client.generate(asked)[0].failure.kind == "engine"
        until.enter_context(serving(port=server.server_port))
        assert client.generate(asked)[0].said == engine.generate(asked)[0].said == before
