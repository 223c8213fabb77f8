"""An engine that says for how long it wants nothing is left alone for so long."""

import pytest

from teola.runtime.engines.protocol import Failure, TokenEvent
from teola.runtime.simulation.clock import pass_time, run_virtually
from tests.runtime.faulty import embedding, together
from tests.runtime.llm_desk import prompt
from tests.runtime.llm_fleet import Fleet, turn
from tests.runtime.workbench import now, virtual


def refuse(machine, task, kind, after_s):
    """The engine does not take a call."""
    machine.live.pop(task.id)
    failure = Failure(kind, "later", after_s=after_s)
    machine.replica.events([TokenEvent(task.id, (), failure=failure)])


def on_fleet(test):
    """Run a test before one scripted replica, under the virtual clock."""

    async def main():
        await test(Fleet(1))

    def run():
        run_virtually(main())

    run.__doc__, run.__name__ = test.__doc__, test.__name__
    return run


@on_fleet
async def test_a_call_comes_again_when_the_engine_wants_it(fleet):
    """Not before, though a replica that is full is offered something after 0.1 s else."""
    (machine,) = fleet.machines
    task = await fleet.call(prompt(("A", 2)))
    refuse(machine, task, "full", 20)
    await pass_time(19.9)
    assert machine.calls == []
    await pass_time(0.2)
    assert machine.calls == [task.id]
    await fleet.finish()


@on_fleet
async def test_the_longest_pause_counts(fleet):
    (machine,) = fleet.machines
    tasks = [await fleet.call(prompt((mark, 2))) for mark in "ABC"]
    for task, after_s in zip(tasks, (5, 20, 1), strict=True):
        refuse(machine, task, "full", after_s)
    await pass_time(19.9)
    assert machine.calls == []
    await pass_time(0.2)
    assert set(machine.calls) == {task.id for task in tasks}
    await fleet.finish()


@on_fleet
async def test_an_engine_that_fails_may_want_a_pause_too(fleet):
    """The call has failed; others wait."""
    (machine,) = fleet.machines
    task = await fleet.call(prompt(("A", 2)))
    refuse(machine, task, "engine", 3)
    await turn()
    assert task.call.error.cause == "later"
    other = await fleet.call(prompt(("B", 2)))
    await pass_time(2.9)
    assert machine.calls == []
    await pass_time(0.2)
    assert machine.calls == [other.id]
    await fleet.finish()


@pytest.mark.parametrize("kind", ["full", "engine"])
@virtual
async def test_a_batch_comes_again_when_the_engine_wants_it(kind, bench):
    """Items that were not taken wait; where they have failed, those of others do."""
    refused = []

    def change(spy):
        async def before(batch):
            if refused:
                return None
            refused.append(now())
            return [Failure(kind, "later", after_s=20)] * len(batch)

        spy.before_run = before

    bench.prepared.append(change)
    async with bench.runner(embedding(batch_size=1), share=False) as runner:
        results = await together(runner, ["a"], ["b"])
    assert now() == 20
    assert [isinstance(result, Exception) for result in results] == [kind == "engine", False]


@virtual
async def test_who_closes_does_not_wait_for_the_end_of_a_pause(bench):
    """Nor does a query whose time is up."""

    def change(spy):
        async def before(batch):
            return [Failure("full", "later", after_s=50)] * len(batch)

        spy.before_run = before

    bench.prepared.append(change)
    async with bench.runner(embedding("timeout_s = 7")) as runner:
        (result,) = await together(runner, ["a"])
    assert "timeout of 7 s" in str(result)
    assert now() == 7
