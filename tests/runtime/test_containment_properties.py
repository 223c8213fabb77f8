"""Whatever items do to their engines: every query ends, and the innocent have their results."""

import asyncio
from collections import Counter
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from teola.runtime.engines.fakes.embedder import embed
from teola.runtime.engines.protocol import Failure
from teola.runtime.errors import ModuleError
from teola.runtime.policies import POLICIES
from teola.runtime.simulation.clock import pass_time
from teola.runtime.task import Task
from tests.runtime.conserving import batch_schedulers, work_is_conserved
from tests.runtime.faulty import Faults, embedding
from tests.runtime.workbench import virtual

WELL = "well"
marks = st.sampled_from([WELL] * 6 + ["raises", "fails", "kills"])
queries = st.lists(
    st.tuples(st.lists(marks, min_size=1, max_size=9), st.integers(0, 40)), min_size=1, max_size=7
)
engines = st.fixed_dictionaries(
    {
        "batch_size": st.integers(1, 8),
        "replicas": st.integers(1, 3),
        "latency_ms": st.sampled_from([0, 1, 10]),
    }
)


def told_once(found):
    """Count the results of each item of each task in ``found``."""
    take = Task._take

    def counted(task, indices, results, again):
        pairs = zip(indices, results, strict=True)
        found.update((task, index) for index, one in pairs if not isinstance(one, Failure))
        return take(task, indices, results, again)

    return patch.object(Task, "_take", counted)


async def run_all(bench, source, asked):
    """Run queries that come after so many milliseconds: their texts, and what became of them."""
    async with bench.runner(source, share=False) as runner:

        async def ask(number, items, after_ms):
            await pass_time(after_ms / 1000)
            texts = [f"{number}.{place} {mark}" for place, mark in enumerate(items)]
            return texts, *await asyncio.gather(runner.run(texts=texts), return_exceptions=True)

        return await asyncio.gather(
            *(ask(number, items, after_ms) for number, (items, after_ms) in enumerate(asked))
        )


def check(texts, result, given_up):
    """A query of items that are well has its vectors, another one an error of its module."""
    well = all(WELL in text for text in texts)
    if isinstance(result, Exception):
        assert isinstance(result, ModuleError), result
        assert not well or (given_up and "died" in result.cause), result
        assert result.place.module == "e"
    else:
        assert well
        assert np.array_equal(np.array(result["vectors"]), embed(texts, 32))


@settings(max_examples=300)
@given(
    asked=queries,
    engine=engines,
    memory=st.none() | st.integers(1, 5),
    most=st.none() | st.integers(1, 7),
    full=st.integers(0, 4),
    policy=st.sampled_from(sorted(POLICIES)),
    group=st.none() | st.integers(1, 4),
)
def test_the_innocent_have_their_results(asked, engine, memory, most, full, policy, group):
    """Items that raise, fail, kill or want too much memory, alone or together, over several
    replicas: the others are done, none twice, and no replica is idle beside work. One query alone,
    whatever is in it, gets no engine given up."""
    found = Counter()

    @virtual
    async def run(bench):
        bench.pool.policy = policy
        faults = Faults(["raises"], ["kills"], memory=memory, most=most, full=full).into(bench)
        source = embedding(group=group, fail_items=["fails"], **engine)
        poisonous = [items.count("kills") for items, _ in asked if "kills" in items]
        with work_is_conserved(lambda: batch_schedulers(bench.pool)):
            results = await run_all(bench, source, asked)
        for texts, result in results:
            check(texts, result, given_up=len(poisonous) > 1 or most is not None)
        assert faults.deaths <= 2 * sum(poisonous) or most is not None

    with told_once(found):
        run()
    assert set(found.values()) <= {1}


@settings(max_examples=100)
@given(
    asked=queries,
    hangs=st.lists(st.integers(0, 40), max_size=3),
    engine=engines,
    retries=st.integers(0, 2),
)
def test_every_query_ends(asked, hangs, engine, retries):
    """With a timeout it does so whatever its engine does, hanging included."""
    retry = f'timeout_s = 20, retry = {{"max": {retries}, "initial_s": 1}}'
    asked = [*asked, *((["hangs"], after_ms) for after_ms in hangs)]

    @virtual
    async def run(bench):
        Faults(["raises"], ["kills"], ["hangs"]).into(bench)
        source = embedding(retry, fail_items=["fails"], **engine)
        results = await run_all(bench, source, asked)
        assert len(results) == len(asked)
        for texts, result in results if not hangs else ():
            check(texts, result, given_up=True)
        await pass_time(2000)
        async with bench.runner(source, share=False) as runner:
            assert len((await runner.run(texts=["a", "b"]))["vectors"]) == 2

    run()
