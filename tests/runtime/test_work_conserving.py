"""No replica is idle while something waits that it could do: under any policy, whatever fails."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from teola.runtime.circuit import Circuit
from teola.runtime.engine_scheduler import BatchScheduler
from teola.runtime.engines.protocol import Capabilities, Failure
from teola.runtime.errors import Place
from teola.runtime.hosts import EngineDied
from teola.runtime.limits import Limits
from teola.runtime.policies import POLICIES, make_policy
from teola.runtime.rank import Rank
from teola.runtime.simulation.clock import pass_time, run_virtually
from teola.runtime.task import TOKEN_BYTES, Task
from tests.runtime.conserving import batch_schedulers, work_is_conserved
from tests.runtime.workbench import SEARCH, now, plan, virtual

PLACE = Place("w", "m", 1, "m.embed", "emb")
RESTART_S = 0.5
FAULTS = {
    "raises": ValueError("no good"),
    "memory": MemoryError("too much"),
    "died": EngineDied("gone"),
    "full": Failure("full", "later"),
    "engine": Failure("engine", "spoilt"),
}


class Replica:
    """Takes a second a batch and one an item; goes wrong as ``plan`` says, batch by batch."""

    def __init__(self, scene, outcomes):
        self.scene, self.outcomes = scene, list(outcomes)
        self.circuit = Circuit()
        self.start()

    def start(self):
        self.scene.scheduler.start(self, self.scene.capabilities, self.circuit, lambda _: None)

    async def run(self, batch):
        await pass_time(1 + sum(len(request.items) for request in batch))
        outcome = FAULTS.get(self.outcomes.pop(0)) if self.outcomes else None
        if isinstance(outcome, EngineDied):
            self.circuit.died(now())
            asyncio.get_running_loop().call_later(RESTART_S, self.start)
        if isinstance(outcome, Exception):
            raise outcome
        return [outcome or list(request.items) for request in batch]


class Scene:
    """A scheduler before so many replicas, and tasks that come at their times."""

    def __init__(self, policy, max_wait_s, most, tokens, plans):
        self.scheduler = BatchScheduler(make_policy(policy, max_wait_s, now))
        self.capabilities = Capabilities(max_items=most, batch_tokens=tokens)
        self.replicas = [Replica(self, outcomes) for outcomes in plans]
        self.tasks = []

    def come(self, items, query, depth, left_ms, knee, limits):
        rank = Rank(query, 1000 * now(), depth, left_ms, left_ms, 10.0, knee)
        texts = ["x" * TOKEN_BYTES * (1 + n % 3) for n in range(items)]
        task = Task("embed", texts, {}, PLACE, limits, lambda _: None, lambda _: None)
        task.rank = rank
        self.tasks.append(task)
        self.scheduler.submit(task)


tasks = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.integers(1, 9),
        st.integers(0, 3),
        st.integers(0, 3),
        st.integers(0, 900).map(float),
        st.integers(0, 5),
    ),
    min_size=1,
    max_size=12,
)
limits = st.sampled_from(
    [Limits(), Limits(max_retries=2, initial_s=0.5), Limits(timeout_s=4.5), Limits(6.5, None, 1)]
)


@settings(max_examples=300)
@given(
    policy=st.sampled_from(sorted(POLICIES)),
    max_wait_s=st.sampled_from([None, 3.0]),
    tasks=tasks,
    plans=st.lists(
        st.lists(st.sampled_from(["well", *FAULTS]), min_size=2, max_size=6), min_size=1, max_size=3
    ),
    faults=st.booleans(),
    limits=limits,
    most=st.integers(1, 6),
    tokens=st.sampled_from([None, 4]),
)
def test_no_replica_is_idle_beside_work(
    policy, max_wait_s, tasks, plans, faults, limits, most, tokens
):
    """At no moment, and all tasks end; with and without failures, retries and clocks."""

    async def story():
        scene = Scene(policy, max_wait_s, most, tokens, plans if faults else [()] * len(plans))
        with work_is_conserved(lambda: [scene.scheduler]) as looked:
            for after_s, items, query, depth, left_ms, knee in tasks:
                if after_s:
                    await pass_time(after_s)
                scene.come(items, query, depth, left_ms, knee, limits)
            await pass_time(10_000)
        assert len(looked) > 1
        assert all(task.over for task in scene.tasks)
        await scene.scheduler.close()

    run_virtually(story())


@given(
    policy=st.sampled_from(sorted(POLICIES)),
    texts=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    replicas=st.integers(1, 3),
)
def test_no_store_is_idle_beside_work_of_its_own(policy, texts, replicas):
    """A collection lives on one replica: what waits for it counts for that one alone."""

    @virtual
    async def scene(bench):
        bench.pool.policy = policy
        slow = {"latency_ms": 1000, "per_item_ms": 300, "batch_size": 2, "replicas": replicas}
        chunks = [
            [{"id": f"{n}.{k}", "document": "d", "text": f"{n}.{k}"} for k in range(count)]
            for n, count in enumerate(texts)
        ]

        async with bench.runner(plan(SEARCH, store=slow, emb=slow), share=False) as runner:
            with work_is_conserved(lambda: batch_schedulers(bench.pool)):
                await asyncio.gather(
                    *(
                        runner.run(chunks=some, texts=[one["text"] for one in some])
                        for some in chunks
                    )
                )

    scene()
