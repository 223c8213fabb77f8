"""Simulated engines keep the protocol of real ones."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.runtime.engines import find_entry
from teola.runtime.engines.protocol import Failure, Generate, Request
from teola.runtime.engines.simulated.answers import Answers
from teola.runtime.engines.tokenizer.estimate import FourBytes
from teola.runtime.hosts import connect
from teola.runtime.shapes import JsonListShape, LinesShape
from teola.runtime.simulation.clock import pass_time, run_virtually
from tests.simulation.loads import profile

PREFILL = {"operation": "prefill", "knee": 1, "base_ms": 100, "item_ms": 0, "token_ms": 1}
DECODE = {"operation": "decode", "knee": 8, "base_ms": 10, "item_ms": 0}
PROMPT = list(range(128))


async def started(kind, folder=None, *entries, **config):
    """An engine as a workflow gets it, and what it tells: (time in ms, id, tokens, reason)."""
    path = None if folder is None else str(profile(folder, *entries))
    settings = {"kind": kind, "backend": "simulated", "profile": path, **config}
    handle = connect(find_entry(kind, "simulated"), settings)
    told = []

    def emit(events):
        at = round(asyncio.get_running_loop().time() * 1000, 3)
        told.extend((at, one.id, len(one.tokens), one.finish_reason) for one in events)

    if kind == "llm":
        handle.listen(emit)
    await handle.start()
    return handle, told


def test_what_is_cached_is_not_computed_again(tmp_path):
    """A warm-up of three blocks of 32 tokens saves a call 96 of its 128 tokens."""

    async def main():
        llm, told = await started("llm", tmp_path, PREFILL, DECODE)
        await llm.submit([Generate("w", PROMPT[:100], 1, warm=True)])
        await pass_time(1)
        await llm.submit([Generate("a", PROMPT, 1, ignore_eos=True)])
        await pass_time(1)
        return told

    assert run_virtually(main()) == [(200, "w", 0, "length"), (1132, "a", 1, "length")]


def test_long_prompts_are_computed_in_steps(tmp_path):
    """Of ``batch_tokens`` each; the base counts where a prompt begins. Those that give no token are
    told as well: the engine lives."""

    async def main():
        llm, told = await started("llm", tmp_path, PREFILL, DECODE, stands_for={"batch_tokens": 50})
        steps, hear = [], llm._engine._emit
        llm._engine._emit = lambda events: (steps.append(len(events)), hear(events))
        await llm.submit([Generate("a", PROMPT, 1, ignore_eos=True)])
        await pass_time(0.177)
        assert told == []
        await pass_time(1)
        assert steps == [0, 0, 1]
        return told

    assert run_virtually(main()) == [(228, "a", 1, "length")]


def test_nothing_follows_an_abort(tmp_path):
    """Others go on, at their own pace."""

    async def main():
        llm, told = await started("llm", tmp_path, {**PREFILL, "token_ms": 0}, DECODE)
        calls = [Generate(name, PROMPT, 20, ignore_eos=True) for name in ("a", "b")]
        await llm.submit(calls)
        await pass_time(0.225)
        await llm.abort(["a", "unknown"])
        await pass_time(5)
        assert await llm.control("describe", {}) == {"running": 0}
        return [entry for entry in told if entry[3]]

    # both prefills begin in one step; 19 steps of 10 ms follow
    assert run_virtually(main()) == [(290, "b", 19, "length")]


def test_lines_leave_when_they_are_complete(tmp_path):
    """As the consumers of their items need; they are different lines."""

    async def main():
        settings = {"answer_tokens": {"x": 30}, "answer_lines": {"x": 3}, "spread": 0}
        llm, told = await started("llm", tmp_path, {**PREFILL, "token_ms": 0}, DECODE, **settings)
        tokens = []
        hear = llm._engine._emit
        llm._engine._emit = lambda events: (
            hear(events),
            *(tokens.extend(e.tokens) for e in events),
        )
        await llm.submit([Generate("a", PROMPT, 64, primitive="x")])
        await pass_time(5)
        return told, FourBytes().decode(tokens)

    told, text = run_virtually(main())
    assert [(at, count) for at, _, count, _ in told] == [(100, 1), (190, 9), (290, 10), (390, 10)]
    assert told[-1][3] == "stop"
    _, items = LinesShape(None, ()).push(text)
    assert len(items) == 3


def test_lines_may_end_before_the_answer_does(tmp_path):
    """Where the end of the sequence is ignored, lines of the lengths that were measured come
    first: who wants no more of them need not wait for the rest."""

    async def main():
        settings = {"answer_tokens": {"w:x": 30}, "answer_lines": {"w:x": 3}}
        llm, told = await started("llm", tmp_path, {**PREFILL, "token_ms": 0}, DECODE, **settings)
        call = Generate("a", PROMPT, 64, ignore_eos=True, primitive="x", workflow="w")
        await llm.submit([call])
        await pass_time(5)
        return [(count, reason) for _, _, count, reason in told]

    told = run_virtually(main())
    assert told[:4] == [(1, None), (9, None), (10, None), (10, None)]
    assert sum(count for count, _ in told) == 64
    assert told[-1][1] == "length"


@pytest.mark.parametrize(("batch_size", "expected"), [(None, 7), (3, 3)])
def test_a_batch_is_as_large_as_said_or_as_pays(tmp_path, batch_size, expected):
    """The engine's ``batch_size``, else the knee."""

    async def main():
        entry = {"operation": "embed", "knee": 7, "base_ms": 0, "item_ms": 0}
        settings = {} if batch_size is None else {"stands_for": {"batch_size": batch_size}}
        handle, _ = await started("embedder", tmp_path, entry, **settings)
        return (await handle._engine.start()).max_items

    assert run_virtually(main()) == expected


def test_a_batch_takes_its_items_and_their_tokens(tmp_path):
    """base + items * (item + tokens * token)."""

    async def main():
        entry = {"operation": "score", "knee": 8, "base_ms": 5, "item_ms": 2, "token_ms": 0.5}
        handle, _ = await started("reranker", tmp_path, entry)
        ((one, other),) = await handle.run([Request("score", ["x" * 40, "y" * 80], {"query": "q"})])
        assert one != other
        return asyncio.get_running_loop().time() * 1000

    assert run_virtually(main()) == pytest.approx(5 + 2 * 2 + 30 * 0.5)


@pytest.mark.parametrize(("cores", "expected"), [([1], 2000), ([0], 1000), (None, 1000)])
def test_engines_on_the_same_cores_slow_each_other_down(tmp_path, cores, expected):
    """A second of each takes two where both are pinned to core 1."""

    async def main():
        both = []
        for model, own in (("a", [1]), ("b", cores)):
            entry = {"operation": "embed", "knee": 1, "base_ms": 1000, "item_ms": 0}
            settings = {"stands_for": {"model": model, "cores": own}}
            both.append((await started("embedder", tmp_path, entry, **settings))[0])
        await asyncio.gather(*(one.run([Request("embed", ["x"])]) for one in both))
        return asyncio.get_running_loop().time() * 1000

    assert run_virtually(main()) == pytest.approx(expected)


def test_a_store_finds_what_was_published():
    """Passages of each query's own; of a collection that is not there nothing."""

    async def main():
        store, _ = await started("store", passage_tokens=8)
        rows = [({"text": "a"}, (0.5,)), ({"text": "b"}, (0.25,))]
        names = {"collection": "c", "pending": "c#1"}
        search = Request("search", [(0.5,), (0.25,)], {"collection": "c", "top_k": 2})
        await store.run([Request("ingest", rows, names)])
        ((missing),) = await store.run([search])
        assert isinstance(missing, Failure)
        assert await store.control("publish", names) == {"count": 2}
        (hits,) = await store.run([search])
        assert await store.control("drop", {"collection": "c"}) is True
        assert isinstance((await store.run([search]))[0], Failure)
        return hits

    hits = run_virtually(main())
    assert len({passage["id"] for found in hits for passage in found}) == 4
    assert {len(passage["text"]) for found in hits for passage in found} == {32}


@given(seed=st.integers(0, 99), wanted=st.integers(1, 200), items=st.integers(1, 6))
def test_a_shaped_answer_is_what_its_grammar_allows_and_as_long_as_drawn(seed, wanted, items):
    """Whatever fills it up; each item of a list is told when it is complete."""
    shape = JsonListShape({"type": "object", "properties": {"a": {"type": "integer"}}}, None)
    config = {"answer_tokens": {"a": wanted}, "answer_lines": {"a": items}, "spread": 0}
    request = Generate("q", (seed,), 10_000, primitive="a", grammar=shape.grammar)
    answer = Answers(config).of(request)
    texts = [FourBytes().decode(answer.tokens[:point]) for point in answer.points]
    found = [len(JsonListShape(None, None).push(text)[1]) for text in texts]
    assert found[-1] == items
    assert set(range(1, items + 1)) <= set(found)
    assert answer.finish_reason == "stop"
    assert len(answer.tokens) >= wanted


VLLM = {"kind": "llm", "backend": "vllm", "max_num_seqs": 1, "max_model_len": 512}


def test_one_that_stands_for_vllm_orders_what_waits_in_it(tmp_path):
    """One call runs at a time: the least priority first, equal ones as they came."""

    async def main():
        llm, told = await started("llm", tmp_path, PREFILL, DECODE, stands_for=VLLM)
        priorities = {"a": 5, "b": 9, "c": 1, "d": 1}
        await llm.submit(
            [Generate(one, [ord(one)] * 64, 1, priority=p) for one, p in priorities.items()]
        )
        await pass_time(9)
        return [name for _, name, _, _ in told]

    assert run_virtually(main()) == ["c", "d", "a", "b"]


def test_one_that_stands_for_vllm_has_room_for_what_its_answers_take(tmp_path):
    """What runs keeps its room, whatever comes; what is aborted gives it back."""

    async def main():
        settings = {**VLLM, "max_num_seqs": 8, "kv_tokens": 300}
        llm, told = await started("llm", tmp_path, PREFILL, DECODE, stands_for=settings)
        calls = [Generate(one, [ord(one)] * 128, 9, ignore_eos=True) for one in "abc"]
        await llm.submit(calls)
        await pass_time(0.4)
        assert {name for _, name, _, _ in told} == {"a", "b"}
        await llm.abort(["a"])
        await pass_time(9)
        return [name for _, name, _, reason in told if reason]

    assert run_virtually(main()) == ["b", "c"]


def test_one_that_stands_for_vllm_shares_a_prefix_while_it_is_computed(tmp_path):
    """In one step, and in the steps of a long prompt; transformers computes it twice."""

    async def ms(**settings):
        llm, told = await started("llm", tmp_path, PREFILL, DECODE, stands_for=settings)
        await llm.submit([Generate(one, PROMPT, 1) for one in "ab"])
        await pass_time(9)
        return told[-1][0]

    shared = {**VLLM, "max_num_seqs": 8}
    assert run_virtually(ms(**shared)) == 100 + 128 + 1
    assert run_virtually(ms()) == 100 + 2 * 128
    in_steps = run_virtually(ms(**shared, max_num_batched_tokens=100))
    assert in_steps == (100 + 100) + (100 + 28 + 1)


def test_a_stand_in_says_of_itself_what_the_engine_would():
    """vLLM orders, with the requests and the context of its settings; a server keeps no prefixes
    that are not to be warmed up."""

    async def capabilities(**settings):
        llm, _ = await started("llm", stands_for=settings)
        return await llm._engine.start()

    vllm = run_virtually(capabilities(**VLLM, adapters={"legal": "x"}))
    assert (vllm.priority, vllm.shares_in_flight) == (True, True)
    assert (vllm.max_requests, vllm.context, vllm.adapters) == (1, 512, {"legal"})
    server = {"kind": "llm", "backend": "openai", "max_requests": 3, "context_tokens": 99}
    found = run_virtually(capabilities(**server))
    assert (found.max_requests, found.context, found.prefix_cache) == (3, 99, False)
    assert run_virtually(capabilities(**server, warm_ups=True)).prefix_cache
