"""Engine schedulers: batches across queries, budgets, order, and what they leave."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.runtime.engines.protocol import Failure
from teola.runtime.errors import ModuleError, Place
from teola.runtime.limits import Limits
from teola.runtime.once import Once
from teola.runtime.policies import POLICIES, Budget, Fifo
from teola.runtime.simulation.clock import pass_time
from teola.runtime.task import TOKEN_BYTES, Task
from tests.runtime.workbench import call, plan, reply, virtual

PLACE = Place("w", "m", 1, "m.embed", "emb")


def task(items, done=None):
    """A task of so many items."""
    on_done = done or (lambda _: None)
    return Task("embed", list(range(items)), {}, PLACE, Limits(), on_done, lambda _: None)


def text(tokens):
    """A task of one text with so many tokens."""
    made = task(1)
    made.items = ["x" * (TOKEN_BYTES * tokens)]
    return made


def queued(tasks):
    """A queue that serves them in order of arrival."""
    queue = Fifo()
    for one in tasks:
        queue.add(one)
    return queue


sizes = st.lists(st.integers(1, 9), min_size=1, max_size=8)


@given(sizes=sizes, budget=st.integers(1, 12))
def test_fifo_takes_every_item_once_in_order(sizes, budget):
    """Batches split and join tasks; each is as full as can be until the queue is empty."""
    tasks = [task(size) for size in sizes]
    queue = queued(tasks)
    taken, batches = [], []
    while (batch := queue.next_batch(Budget(budget))) is not None:
        batches.append(sum(len(part.indices) for part in batch))
        taken += [(tasks.index(part.task), index) for part in batch for index in part.indices]
    assert taken == [(n, index) for n, size in enumerate(sizes) for index in range(size)]
    assert all(size == budget for size in batches[:-1])
    assert not queue


@given(sizes=sizes, over=st.sets(st.integers(0, 7)))
def test_fifo_passes_over_what_is_over(sizes, over):
    """A task that nobody wants any more is not served."""
    tasks = [task(size) for size in sizes]
    for number in over & set(range(len(tasks))):
        tasks[number].cancel()
    queue = queued(tasks)
    batch = queue.next_batch(Budget(1000)) or []
    assert [tasks.index(part.task) for part in batch] == [
        number for number in range(len(tasks)) if number not in over
    ]
    assert not queue


@given(
    tokens=st.lists(st.integers(1, 50), min_size=1, max_size=8),
    items=st.integers(0, 5),
    room=st.integers(0, 100),
)
def test_fifo_keeps_the_token_budget(tokens, items, room):
    """The longest head of the queue that fits both budgets; nobody overtakes."""
    tasks = [text(count) for count in tokens]
    queue = queued(tasks)
    batch = queue.next_batch(Budget(items, room)) or []
    count = len(batch)
    assert [part.task for part in batch] == tasks[:count]
    assert queue.clear() == tasks[count:]
    assert count <= items
    assert sum(tokens[:count]) <= room
    if count < min(items, len(tasks)):
        assert sum(tokens[: count + 1]) > room


EMBED = """
    input texts: list<text>
    %e.embed = embed texts=%inputs:texts {engine = emb} @e
    output vectors: list<embedding> = %e.embed:embeddings
"""


SCORE = """
    input query: text
    input passages: list<passage>
    %r.score = score query=%inputs:query passages=%inputs:passages {engine = rr} @r
    output best: list<passage> = %r.score:passages
"""


@virtual
async def test_items_of_many_queries_join_in_one_batch(bench):
    """What waits when the engine is free runs together, under ``fifo`` in order of arrival."""
    bench.pool.policy = "fifo"
    source = plan(EMBED, emb={"latency_ms": 1000, "batch_size": 4})
    async with bench.runner(source) as runner:
        names = ["a", "bcd", "ef", "ghi"]
        await asyncio.gather(*(runner.run(texts=list(name)) for name in names))
    batches = ["".join(made.items) for made in bench.spy("embedder").calls]
    assert "".join(batches) == "abcdefghi"
    assert [made.at_s for made in bench.spy("embedder").calls] == list(range(len(batches)))
    assert batches[1:] == [
        "".join(batches[1:])[at : at + 4] for at in range(0, len("".join(batches[1:])), 4)
    ]


@virtual
async def test_a_free_engine_with_work_starts(bench):
    """Work-conserving: nothing waits for a fuller batch."""
    source = plan(EMBED, emb={"latency_ms": 1000, "batch_size": 100})
    async with bench.runner(source) as runner:
        first = asyncio.ensure_future(runner.run(texts=["a"]))
        await pass_time(0.5)
        second = asyncio.ensure_future(runner.run(texts=["b"]))
        await asyncio.gather(first, second)
    assert [made.at_s for made in bench.spy("embedder").calls] == [0, 1]


@pytest.mark.parametrize("policy", POLICIES)
@virtual
async def test_batches_keep_the_budget_of_tokens(bench, policy):
    """Of many queries together; a text over it goes alone, and nothing waits for a fuller batch."""
    bench.pool.policy = policy
    source = plan(EMBED, emb={"latency_ms": 1000, "batch_size": 8, "batch_tokens": 10})
    sizes = ([3, 25, 4], [9, 2], [5, 5, 1, 1])
    texts = [[letter * 4 * n for letter, n in zip("abcd", some, strict=False)] for some in sizes]
    async with bench.runner(source, share=False) as runner:
        results = await asyncio.gather(*(runner.run(texts=some) for some in texts))
    assert [len(result["vectors"]) for result in results] == [3, 2, 4]
    calls = bench.spy("embedder").calls
    assert sorted(len(text) for made in calls for text in made.items) == sorted(
        len(text) for some in texts for text in some
    )
    for made in calls:
        assert len(made.items) == 1 or sum(len(text) // 4 for text in made.items) <= 10
    assert [made.at_s for made in calls] == list(range(len(calls)))


@virtual
async def test_scores_keep_the_budget_of_tokens(bench):
    """Passages are counted; the query of each is not."""
    source = plan(SCORE, rr={"batch_tokens": 10})
    texts = [letter * 4 * size for letter, size in zip("pqrst", (6, 4, 5, 20, 5), strict=True)]
    await bench.run(source, query="?" * 400, passages=texts)
    found = [[len(text) // 4 for text in made.items] for made in bench.spy("reranker").calls]
    assert found == [[6, 4], [5], [20], [5]]


@virtual
async def test_what_has_waited_too_long_is_next(bench):
    """Two of the shorter queries that came with a long one do not overtake it any more."""

    async def order(max_wait_s):
        bench.pool.max_wait_s = max_wait_s
        source = plan(EMBED, emb={"latency_ms": 1000, "batch_size": 1, "model": str(max_wait_s)})
        async with bench.runner(source, share=False) as runner:
            await asyncio.gather(*(runner.run(texts=list(some)) for some in ("abcdef", *"0123")))
        return "".join(text for made in bench.spies[-1].calls for text in made.items)

    assert await order(None) == "0123abcdef"
    assert await order(2.0) == "01abcdef23"


@virtual
async def test_results_go_back_to_their_own_queries(bench):
    """Two hundred queries share batches; each gets its own vectors."""
    source = plan(EMBED, emb={"per_item_ms": 1, "batch_size": 7})
    async with bench.runner(source) as runner:
        names = [[f"{n}-{k}" for k in range(n % 4)] for n in range(200)]
        results = await asyncio.gather(*(runner.run(texts=texts) for texts in names))
        for texts, result in zip(names, results, strict=True):
            alone = await runner.run(texts=texts)
            assert [list(v) for v in alone["vectors"]] == [list(v) for v in result["vectors"]]


@virtual
async def test_a_failing_item_fails_its_own_query_only(bench):
    """Neighbours in the same batch have their results."""

    async def answer(batch):
        results = [list(part) for part in await spy().handle.run(batch)]
        for request, found in zip(batch, results, strict=True):
            for index, item in enumerate(request.items):
                if item == "bad":
                    found[index] = Failure("item", "cannot embed this")
        return results

    def spy():
        return bench.spy("embedder")

    bench.prepared.append(lambda made: setattr(made, "before_run", answer))
    source = plan(EMBED, emb={"latency_ms": 1000})
    async with bench.runner(source) as runner:
        results = await asyncio.gather(
            *(runner.run(texts=texts) for texts in (["a"], ["b", "bad"], ["c"])),
            return_exceptions=True,
        )
    assert isinstance(results[1], ModuleError)
    assert "cannot embed this" in results[1].cause
    assert [len(result["vectors"]) for result in (results[0], results[2])] == [1, 1]


ASK = f"""
    input q: text
    {call("a", "{{ q }}", "q=%inputs:q")}
    output out: text = %a.decode:text
"""


@pytest.mark.parametrize(
    ("settings", "at_once"),
    [({"max_requests": 3}, 3), ({"kv_tokens": 250}, 2), ({"kv_tokens": 90}, 1), ({}, 10)],
)
@virtual
async def test_calls_are_admitted_by_requests_and_kv(bench, settings, at_once):
    """Never more at once than the engine's request and token limits allow; the rest waits."""
    source = plan(ASK, llm={"latency_ms": 1000, **settings})
    async with bench.runner(source) as runner:
        results = await asyncio.gather(*(runner.run(q=f"q{n}") for n in range(10)))
    assert [result["out"] for result in results] == [reply(f"q{n}") for n in range(10)]
    changes = sorted(
        change
        for result in results
        for entry in result.timeline
        for change in ((entry.started_s, 1), (entry.ended_s, -1))
    )
    alive = most = 0
    for _, change in changes:
        alive += change
        most = max(most, alive)
    assert most == at_once
    assert bench.pool.engines
    (calls,) = [engine.calls for engine in bench.pool.engines.values()]
    assert (calls.held, calls.running) == (0, 0)


@virtual
async def test_calls_are_admitted_in_order(bench):
    """First come, first served: a small call does not overtake a large one that waits."""
    source = plan(ASK, llm={"latency_ms": 1000, "kv_tokens": 300})
    async with bench.runner(source) as runner:
        prompts = ["a" * 100, "b" * 150, "c"]
        await asyncio.gather(*(runner.run(q=prompt) for prompt in prompts))
    asked = [bytes(t for t in r.tokens if t < 256) for r in bench.spy("llm").submitted]
    assert [prompt[5:6] for prompt in asked] == [b"a", b"b", b"c"]


@given(
    marks=st.lists(st.lists(st.sampled_from("abc") | st.none(), max_size=4), max_size=5),
    order=st.randoms(use_true_random=False),
)
def test_equal_items_are_sent_once(marks, order):
    """Whatever order results come back in: every group gets the results of its own items."""
    once, sent, done = Once(), [], {}

    class Work:
        def __init__(self, number):
            self.number = number

        def send(self, items, computed):
            sent.append((items, computed))

        def done(self, results):
            assert self.number not in done
            done[self.number] = results

    items = [[(mark, (n, k)) for k, mark in enumerate(group)] for n, group in enumerate(marks)]
    for number, group in enumerate(items):
        once.gather(group, marks[number], Work(number))
    order.shuffle(sent)
    for new, computed in sent:
        computed([f"result of {mark or place}" for mark, place in new])
    assert done == {
        n: [f"result of {mark or place}" for mark, place in group] for n, group in enumerate(items)
    }
    computed_marks = [mark for new, _ in sent for mark, _ in new if mark is not None]
    assert len(computed_marks) == len(set(computed_marks))
