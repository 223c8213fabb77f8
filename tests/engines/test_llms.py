"""What every LLM engine does."""

import asyncio
from time import perf_counter

import pytest

from teola.runtime.engines.protocol import TokenEvent
from teola.runtime.engines.tokenizer import load_tokenizer

REAL = [pytest.param("real", marks=pytest.mark.models)]
QUESTIONS = [
    "What is the capital of France?",
    "Name three colours.",
    "Is water wet? Answer yes or no.",
    "Why is the sky blue? " * 12,
]


@pytest.fixture
def prompts(llm):
    tokenizer = load_tokenizer(llm.config)
    return [
        tokenizer.encode_chat([{"role": "user", "content": question}]) for question in QUESTIONS
    ]


def test_a_prompt_gets_the_same_answer_alone_in_a_batch_and_again(llm, prompts):
    together = llm.generate(*((prompt, 16, {}) for prompt in prompts))
    alone = [llm.generate((prompt, 16, {}))[0] for prompt in prompts]
    again = llm.generate(*((prompt, 16, {}) for prompt in reversed(prompts)))[::-1]
    assert [one.tokens for one in together] == [one.tokens for one in alone]
    assert [one.tokens for one in together] == [one.tokens for one in again]
    assert len({tuple(one.tokens) for one in together}) == len(prompts)


def test_two_equal_prompts_at_once_get_equal_answers(llm, prompts):
    first, second = llm.generate((prompts[3], 8, {}), (prompts[3], 8, {}))
    assert first.tokens == second.tokens


def test_one_token_is_an_answer(llm, prompts):
    (answer,) = llm.generate((prompts[0], 1, {}))
    assert len(answer.tokens) == 1
    assert answer.finish_reason == "length"
    (longer,) = llm.generate((prompts[0], 8, {"ignore_eos": True}))
    assert longer.tokens[:1] == answer.tokens or llm.config["backend"] == "fake"


def test_an_answer_ends_by_itself_without_the_end_token(llm, prompts):
    (answer,) = llm.generate((prompts[0], 200, {}))
    assert answer.finish_reason == "stop"
    assert 0 < len(answer.tokens) < 200
    assert load_tokenizer(llm.config).eos not in answer.tokens


def test_an_answer_goes_on_where_a_prompt_ends_with_its_beginning(llm, prompts):
    assert llm.capabilities.continues
    (whole,) = llm.generate((prompts[1], 24, {}))
    for count in (1, 7, len(whole.tokens) - 1):
        begun, rest = [*prompts[1], *whole.tokens[:count]], 24 - count
        (continued,) = llm.generate((begun, rest, {}))
        assert [*whole.tokens[:count], *continued.tokens] == whole.tokens
        assert continued.finish_reason == whole.finish_reason


def test_an_answer_whose_end_is_ignored_has_the_length_asked_for(llm, prompts):
    (full,) = llm.generate((prompts[0], 40, {"ignore_eos": True}))
    assert (len(full.tokens), full.finish_reason) == (40, "length")


@pytest.mark.parametrize("llm", REAL, indirect=True)
def test_an_answer_that_does_not_end_is_cut(llm, prompts):
    (short,) = llm.generate((prompts[3], 3, {}))
    assert (len(short.tokens), short.finish_reason) == (3, "length")


def test_tokens_come_in_steps_and_the_last_event_says_why_it_ended(llm, prompts):
    (answer,) = llm.generate((prompts[1], 30, {"ignore_eos": True}))
    assert len(answer.events) > 1
    assert [event.finish_reason for event in answer.events[:-1]] == [None] * (
        len(answer.events) - 1
    )
    assert all(event.tokens for event in answer.events)


@pytest.mark.parametrize("llm", REAL, indirect=True)
def test_who_does_not_stream_gets_one_event(llm, prompts):
    streamed, whole = llm.generate((prompts[1], 12, {}), (prompts[1], 12, {"stream": False}))
    assert len(whole.events) == 1
    assert whole.tokens == streamed.tokens


@pytest.mark.parametrize("llm", REAL, indirect=True)
def test_as_many_requests_as_told_run_at_once(llm, prompts):
    count = llm.capabilities.max_requests
    answers = llm.generate(
        *((prompts[0] + [number + 100], 3, {"ignore_eos": True}) for number in range(count))
    )
    assert [answer.failure for answer in answers] == [None] * count
    assert [len(answer.tokens) for answer in answers] == [3] * count


@pytest.mark.parametrize("llm", REAL, indirect=True)
def test_a_long_prompt_is_answered_beside_short_ones(llm, prompts):
    long = [100 + place % 1000 for place in range(1100)]
    answers = llm.generate((long, 2, {"ignore_eos": True}), (prompts[0], 4, {}))
    assert [len(answer.tokens) for answer in answers] == [2, 4]


def test_nothing_is_heard_of_an_aborted_request(llm, prompts):
    stopped = llm.request(prompts[0], 400, ignore_eos=True)
    kept = llm.request(prompts[1], 30, ignore_eos=True)
    at_once = llm.request(prompts[2], 400, ignore_eos=True)

    async def abort_one():
        await llm.handle.submit([stopped, kept, at_once])
        await llm.handle.abort([at_once.id])
        while not llm.answers[stopped.id].events:
            await asyncio.sleep(0)
        await llm.handle.abort([stopped.id, "nobody's"])
        heard = len(llm.answers[stopped.id].events)
        await llm.answers[kept.id].over.wait()
        await llm.handle.abort([kept.id, stopped.id])
        return heard

    heard = llm.run(abort_one())
    assert len(llm.answers[kept.id].tokens) == 30
    assert len(llm.answers[stopped.id].events) == heard
    assert not llm.answers[stopped.id].over.is_set()
    assert llm.answers[at_once.id].events == []
    assert llm.run(llm.handle.control("describe", {})) == {"running": 0}


@pytest.mark.parametrize("llm", REAL, indirect=True)
def test_a_request_that_cannot_run_fails_alone(llm, prompts):
    context = llm.capabilities.context
    long, empty, nothing, strange, fine = llm.generate(
        ([5] * context, 1, {}),
        ([], 1, {}),
        (prompts[0], 0, {}),
        ([10**6], 1, {}),
        (prompts[0], 4, {}),
    )
    assert [one.failure.kind for one in (long, empty, nothing, strange)] == ["item"] * 4
    assert f"the prompt has {context} tokens and max_tokens is 1" in long.failure.message
    assert f"more than the {context} that the engine has room for" in long.failure.message
    assert len(fine.tokens) == 4


@pytest.mark.models
def test_a_request_of_all_the_room_told_runs_and_one_token_more_is_refused(small_llm):
    room = small_llm.capabilities.kv_tokens
    assert room < small_llm.capabilities.context
    prompt = [100 + place % 1000 for place in range(room - 4)]
    fits, larger = small_llm.generate((prompt, 4, {"ignore_eos": True}), (prompt, 5, {}))
    assert len(fits.tokens) == 4
    assert larger.failure is not None


@pytest.mark.models
def test_an_aborted_request_gives_its_room_back(small_llm):
    room = small_llm.capabilities.kv_tokens
    for _ in range(3):
        request = small_llm.request([7] * (room // 2), room // 2, ignore_eos=True)

        async def start_and_abort(request=request):
            await small_llm.handle.submit([request])
            while not small_llm.answers[request.id].events:
                await asyncio.sleep(0)
            await small_llm.handle.abort([request.id])

        small_llm.run(start_and_abort())
    (answer,) = small_llm.generate(([8] * (room - 4), 2, {}))
    assert answer.failure is None


@pytest.mark.models
def test_more_than_fits_at_once_waits_and_is_answered_the_same(small_llm):
    prompts = [[100 + number] * 150 for number in range(10)]
    assert sum(map(len, prompts)) > small_llm.capabilities.kv_tokens
    together = small_llm.generate(*((prompt, 8, {"ignore_eos": True}) for prompt in prompts))
    (alone,) = small_llm.generate((prompts[9], 8, {"ignore_eos": True}))
    assert [len(answer.tokens) for answer in together] == [8] * 10
    assert together[9].tokens == alone.tokens


def test_a_warm_up_ends_in_one_event(llm, prompts):
    (warm_up,) = llm.generate((prompts[3], 1, {"warm": True}))
    assert len(warm_up.events) == 1
    assert warm_up.finish_reason == "length"


def long_prompt(seed):
    return [1000 + (seed * 977 + place * 31) % 9000 for place in range(500)]


@pytest.mark.parametrize("llm", REAL, indirect=True)
def test_a_warmed_prompt_gets_the_answer_of_a_cold_one(llm, small_llm):
    for seed in range(3):
        prompt = long_prompt(seed)
        llm.generate((prompt[:400], 1, {"warm": True}))
        (warmed,) = llm.generate((prompt, 24, {"ignore_eos": True}))
        (cold,) = small_llm.generate((prompt, 24, {"ignore_eos": True}))
        assert warmed.tokens == cold.tokens


@pytest.mark.parametrize("llm", REAL, indirect=True)
def test_a_warmed_prompt_gives_its_first_token_sooner(llm):
    def first_token_s(prompt):
        began = perf_counter()
        llm.generate((prompt, 1, {}))
        return perf_counter() - began

    cold_s = min(first_token_s(long_prompt(seed)) for seed in (10, 11))
    for seed in (12, 13):
        llm.generate((long_prompt(seed)[:400], 1, {"warm": True}))
    warmed_s = min(first_token_s(long_prompt(seed)) for seed in (12, 13))
    assert llm.capabilities.prefix_cache
    assert warmed_s < 0.7 * cold_s


def test_events_are_plain_data(llm, prompts):
    (answer,) = llm.generate((prompts[0], 2, {}))
    assert all(type(event) is TokenEvent for event in answer.events)
    assert all(type(token) is int for token in answer.tokens)
