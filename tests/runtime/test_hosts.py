"""Hosts: one engine, the same behaviour on the loop, on a thread and in a process."""

import asyncio
import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from teola.runtime.engines import EngineEntry
from teola.runtime.engines.protocol import Generate, Request
from teola.runtime.errors import InputError, ModelError
from teola.runtime.hosts import (
    EngineCallError,
    EngineDied,
    EngineStartError,
    HostError,
    connect,
    host,
    process,
    thread,
)

HERE = Path(__file__).parent
FACTORY = "echo_engine:EchoEngine"
LIMIT_S = 60


@pytest.fixture(autouse=True)
def _echo_engine_is_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))


@pytest.fixture(params=["loop", "thread", "process"])
def home(request):
    return request.param


def run(coroutine):
    """Run a test's coroutine, bounded: a host that hangs fails."""
    return asyncio.run(asyncio.wait_for(coroutine, LIMIT_S))


@asynccontextmanager
async def engine(home, *, emit=None, statuses=None, weights=False, **config):
    """A started engine, closed at the end."""
    told = [] if statuses is None else statuses
    handle = connect(
        EngineEntry(FACTORY, host=home, weights=weights),
        config,
        on_status=lambda *status: told.append(status),
    )
    if emit is not None:
        handle.listen(emit)
    await handle.start()
    try:
        yield handle
    finally:
        await handle.close()


async def ask(handle, operation, *items):
    """The results of one request."""
    (results,) = await handle.run([Request(operation, items)])
    return results


async def waiting_call(handle):
    """A call that the engine has begun and will not end."""
    before = (await handle.control("count", {}))["waiting"]
    call = asyncio.create_task(ask(handle, "wait"))
    while (await handle.control("count", {}))["waiting"] == before:
        await asyncio.sleep(0)
    return call


def test_start_gives_the_capabilities(home):
    """``start`` returns what the engine can do, and tells of its states."""

    async def scenario():
        statuses = []
        async with engine(home, statuses=statuses) as handle:
            assert handle.capabilities.max_items == 7
            assert handle.epoch == 0
            assert not handle.died.done()
        assert [state for state, _, _ in statuses] == ["loading", "ready"]

    run(scenario())


def test_each_engine_lives_where_its_entry_says():
    """On the caller's thread, on another thread, in another process and session."""

    async def scenario():
        places = {}
        for home in ("loop", "thread", "process"):
            async with engine(home) as handle:
                places[home] = handle.capabilities.details
        own = {"pid": os.getpid()}
        assert places["loop"]["pid"] == places["thread"]["pid"] == own["pid"]
        assert places["process"]["pid"] == places["process"]["session"] != own["pid"]
        assert places["thread"]["thread"] != places["loop"]["thread"]

    run(scenario())


def test_results_come_back_item_by_item(home):
    """A request's items are answered in order."""

    async def scenario():
        async with engine(home) as handle:
            assert await ask(handle, "echo", "a", {"b": [1, None]}, 2.5) == [
                "a",
                {"b": [1, None]},
                2.5,
            ]
            assert await handle.control("count", {"x": 1}) == {
                "waiting": 0,
                "cancelled": 0,
                "x": 1,
            }

    run(scenario())


def test_large_arrays_cross_whole(home):
    """32 MB there and back, with their type; the result may be written to."""

    async def scenario():
        array = np.arange(8 << 20, dtype=np.float32).reshape(1 << 10, -1)
        async with engine(home) as handle:
            (doubled, column) = await ask(handle, "double", array, array[:, 3])
        assert doubled.dtype == np.float32
        np.testing.assert_array_equal(doubled, array * 2)
        np.testing.assert_array_equal(column, array[:, 3] * 2)
        doubled[0, 0] = 1

    run(scenario())


def test_calls_run_beside_each_other(home):
    """A call that waits does not hold up another."""

    async def scenario():
        async with engine(home) as handle:
            call = await waiting_call(handle)
            assert await ask(handle, "echo", 1) == [1]
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    run(scenario())


def test_cancelling_a_call_reaches_the_engine(home):
    """The engine's coroutine is cancelled; the engine lives on."""

    async def scenario():
        async with engine(home) as handle:
            call = await waiting_call(handle)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            while (await handle.control("count", {}))["cancelled"] == 0:
                await asyncio.sleep(0)
            assert not handle.died.done()

    run(scenario())


def test_errors_of_python_and_teola_keep_their_class(home):
    """What an engine raises arrives as it was."""

    async def scenario():
        async with engine(home) as handle:
            with pytest.raises(ValueError, match=r"no good: \[1\]"):
                await ask(handle, "raise_python", 1)
            with pytest.raises(InputError, match="no good either"):
                await ask(handle, "raise_ours")
            assert await ask(handle, "echo", 1) == [1]

    run(scenario())


def test_other_errors_are_described_by_a_process():
    """An error whose class may be missing here arrives as its type and text, with its traceback."""

    async def scenario():
        async with engine("process") as handle:
            with pytest.raises(EngineCallError, match="ForeignError: 7: strange") as caught:
                await ask(handle, "raise_foreign")
            assert "raise_foreign" in "".join(caught.value.__notes__)
            with pytest.raises(EngineCallError, match="no plain data"):
                await ask(handle, "unpicklable", 1)
            assert await ask(handle, "echo", 1) == [1]

    run(scenario())


def test_token_events_arrive_once_per_step(home):
    """One message a step, in order, all of them before the reply to what came after them."""

    async def scenario():
        steps = []
        async with engine(home, emit=steps.append) as handle:
            await handle.submit([Generate("a", [1], 9), Generate("b", [2], 9)])
            await asyncio.sleep(0)
        assert [[(e.id, list(e.tokens)) for e in step] for step in steps] == [
            [("a", [0]), ("b", [0])],
            [("a", [1]), ("b", [1])],
            [("a", [2]), ("b", [2])],
            [("a", []), ("b", [])],
        ]
        assert [event.finish_reason for event in steps[-1]] == ["stop", "stop"]

    run(scenario())


@pytest.mark.parametrize("home", ["thread", "process"])
def test_events_are_delivered_before_the_reply_that_follows_them(home):
    """When ``abort`` returns, every event the engine sent before is delivered: none follows."""

    async def scenario():
        steps = []
        async with engine(home, emit=steps.append) as handle:
            await handle.abort(["a"])
            assert len(steps) == 1
            for _ in range(20):
                await asyncio.sleep(0)
            assert len(steps) == 1

    run(scenario())


def test_death_ends_every_call_and_is_told(home):
    """An engine that gives up resolves ``died``; calls in flight and later ones raise it."""

    async def scenario():
        async with engine(home) as handle:
            call = await waiting_call(handle)
            with pytest.raises(EngineDied, match="out of life"):
                await ask(handle, "die")
            with pytest.raises(EngineDied, match="out of life"):
                await call
            assert "out of life" in str(await handle.died)
            with pytest.raises(EngineDied, match="out of life"):
                await ask(handle, "echo", 1)

    run(scenario())


def test_a_restart_is_a_new_epoch(home):
    """After a death ``restart`` gives an engine without the old one's state."""

    async def scenario():
        steps = []
        async with engine(home, emit=steps.append) as handle:
            await waiting_call(handle)
            with pytest.raises(EngineDied):
                await ask(handle, "die")
            old = handle.died
            await handle.restart()
            assert handle.epoch == 1
            assert handle.died is not old
            assert not handle.died.done()
            assert (await handle.control("count", {}))["waiting"] == 0
            await handle.submit([Generate("a", [1], 9)])
            await asyncio.sleep(0)
            assert len(steps) == 4

    run(scenario())


def test_a_living_engine_can_be_restarted(home):
    """Its calls in flight end with an error."""

    async def scenario():
        async with engine(home) as handle:
            call = await waiting_call(handle)
            await handle.restart()
            with pytest.raises(HostError, match="closed"):
                await call
            assert await ask(handle, "echo", 1) == [1]

    run(scenario())


def test_a_failing_start_says_why(home):
    """The cause's text is in the error and in the last status."""

    async def scenario():
        statuses = []
        with pytest.raises(EngineStartError, match="ValueError: weights of the wrong shape"):
            async with engine(home, statuses=statuses, start="value error"):
                pass
        assert [state for state, _, _ in statuses] == ["loading", "failed"]
        assert "weights of the wrong shape" in statuses[-1][2]

    run(scenario())


def test_a_missing_package_says_what_to_install(home):
    """An import error becomes the command that helps."""

    async def scenario():
        with pytest.raises(EngineStartError, match=r"pip install 'teola\[local\]'") as caught:
            async with engine(home, start="missing package"):
                pass
        assert "a_package_nobody_has" in str(caught.value)

    run(scenario())


def test_an_unknown_engine_class_is_named(home):
    """A wrong factory is a start error."""

    async def scenario():
        handle = connect(EngineEntry("echo_engine:Nobody", host=home), {})
        with pytest.raises(EngineStartError, match="no engine class 'Nobody'"):
            await handle.start()

    run(scenario())


def test_a_start_may_be_tried_again(home):
    """After a failed start ``restart`` starts."""

    async def scenario():
        handle = connect(EngineEntry(FACTORY, host=home), {"start": "value error"})
        with pytest.raises(EngineStartError):
            await handle.start()
        with pytest.raises(HostError):
            await ask(handle, "echo", 1)
        await starts_again(handle)

    run(scenario())


def test_close_ends_calls_and_refuses_new_ones(home):
    """Closing twice is closing once; a closed engine says so."""

    async def scenario():
        async with engine(home) as handle:
            call = await waiting_call(handle)
            await handle.close()
            with pytest.raises(HostError, match="closed"):
                await call
            with pytest.raises(HostError, match="closed"):
                await ask(handle, "echo", 1)
            assert not handle.died.done()

    run(scenario())


def test_an_engine_that_fails_to_close_is_closed(home):
    """What it raises does not reach the caller."""

    async def scenario():
        async with engine(home, close="fail"):
            pass

    run(scenario())


def test_an_unstarted_engine_says_so(home):
    """Nothing works before ``start``, and ``start`` works once."""

    async def scenario():
        handle = connect(EngineEntry(FACTORY, host=home), {})
        with pytest.raises(HostError, match="new"):
            await ask(handle, "echo", 1)
        with pytest.raises(HostError, match="not been started"):
            _ = handle.died
        with pytest.raises(HostError, match="not been started"):
            _ = handle.capabilities
        await handle.start()
        with pytest.raises(HostError, match="already"):
            await handle.start()
        await handle.close()

    run(scenario())


def test_missing_weights_are_found_before_anything_starts(home, tmp_path):
    """An engine with weights starts only when they are there."""

    async def scenario():
        statuses = []
        with pytest.raises(ModelError, match="does not exist"):
            async with engine(home, weights=True, statuses=statuses, path=str(tmp_path / "none")):
                pass
        assert [state for state, _, _ in statuses] == ["failed"]

    run(scenario())


def test_the_tail_of_a_crash_is_in_its_error():
    """A process that ends while it starts: status and what it printed."""

    async def scenario():
        with pytest.raises(EngineStartError, match="status 3") as caught:
            async with engine("process", start="exit"):
                pass
        assert "CUDA driver too old" in str(caught.value)
        assert caught.value.output == ("the engine is starting", "CUDA driver too old")

    run(scenario())


def test_an_engine_that_says_it_has_died_while_starting_shows_its_last_lines():
    """Its process is there yet; why something within it ended stands in what that printed."""

    async def scenario():
        with pytest.raises(EngineStartError, match="the core has ended") as caught:
            async with engine("process", start="die"):
                pass
        assert caught.value.output[-1] == "its core ran out of memory"

    run(scenario())


def test_a_killed_process_is_a_death():
    """``kill -9``: calls raise, the signal and the last lines are named, no zombie stays."""

    async def scenario():
        async with engine("process") as handle:
            pid = handle.capabilities.details["pid"]
            call = await waiting_call(handle)
            with pytest.raises(EngineDied, match="killed by SIGKILL"):
                await ask(handle, "kill")
            with pytest.raises(EngineDied, match="about to be killed"):
                await call
            assert (await handle.died).output[-1] == "about to be killed"
            assert gone(pid)
            await handle.restart()
            assert handle.capabilities.details["pid"] != pid

    run(scenario())


def test_a_process_killed_from_outside_is_a_death():
    """Nobody has to call for it to be noticed."""

    async def scenario():
        async with engine("process") as handle:
            pid = handle.capabilities.details["pid"]
            os.kill(pid, signal.SIGKILL)
            assert "SIGKILL" in str(await handle.died)
            assert gone(pid)

    run(scenario())


@pytest.mark.parametrize("end", ["killed", "closed"])
def test_what_an_engine_has_started_ends_with_its_process(end):
    """However that ends: engines that compute in processes of their own leave none behind."""

    async def scenario():
        async with engine("process") as handle:
            (started,) = await ask(handle, "start_process", "one")
            if end == "killed":
                os.kill(handle.capabilities.details["pid"], signal.SIGKILL)
                await handle.died
            else:
                await handle.close()
        await over(started)

    run(scenario())


@pytest.mark.parametrize("end", ["killed", "closed"])
def test_temporary_files_of_an_engine_go_with_its_process(end):
    """However that ends: they lie in a folder of its own."""

    async def scenario():
        async with engine("process") as handle, engine("process") as other:
            (folder,) = await ask(handle, "leave_file", "socket")
            (others,) = await ask(other, "leave_file", "socket")
            if end == "killed":
                os.kill(handle.capabilities.details["pid"], signal.SIGKILL)
                await handle.died
            else:
                await handle.close()
            assert (left(folder), left(others)) == ([], ["socket"])
        assert left(others) == []

    run(scenario())


def left(folder):
    """What is in a folder, if it is there."""
    return [path.name for path in Path(folder).glob("*")]


async def over(pid):
    """Wait for the end of a process that is not ours."""
    while not gone(pid):
        await asyncio.sleep(0)


def test_a_closed_process_is_gone():
    """Nothing is left after ``close``: no process, no zombie."""

    async def scenario():
        async with engine("process") as handle:
            pid = handle.capabilities.details["pid"]
        assert gone(pid)

    run(scenario())


@pytest.mark.parametrize("trouble", ["close", "run"])
def test_a_hanging_process_is_ended(monkeypatch, trouble):
    """An engine that blocks its whole process is terminated after a while."""

    async def scenario():
        monkeypatch.setattr(process, "CLOSE_S", 0.1)
        config = {"close": "hang"} if trouble == "close" else {}
        async with engine("process", **config) as handle:
            pid = handle.capabilities.details["pid"]
            call = asyncio.create_task(ask(handle, "block" if trouble == "run" else "echo"))
            await asyncio.sleep(0)
            await handle.close()
            assert gone(pid)
            await asyncio.wait([call])
            assert call.exception() is None or isinstance(call.exception(), HostError)

    run(scenario())


def test_a_thread_that_hangs_in_closing_is_left_and_refused(monkeypatch, caplog):
    """A thread cannot be ended: closing returns all the same, and what follows fails at once."""

    async def scenario():
        monkeypatch.setattr(thread, "CLOSE_S", 0.05)
        async with engine("thread", close="hang") as handle:
            await handle.close()
            assert "did not close within 0.05 s" in caplog.text
            with pytest.raises(HostError, match="hangs"):
                await ask(handle, "echo", 1)
            with pytest.raises(EngineStartError, match="hangs.*start the program again"):
                await handle.restart()

    run(scenario())


def test_a_thread_that_does_not_hear_a_cancel_is_broken(monkeypatch):
    """It counts as dead: calls in flight end, later ones and a restart are refused at once."""

    async def scenario():
        monkeypatch.setattr(thread, "CANCEL_S", 0.05)
        async with engine("thread") as handle:
            begun = threading.Event()
            blocked = asyncio.create_task(ask(handle, "block", begun))
            await asyncio.to_thread(begun.wait, LIMIT_S)
            behind = asyncio.create_task(ask(handle, "echo", 1))
            blocked.cancel()
            with pytest.raises(EngineDied, match="did not answer to a cancelled call"):
                await behind
            assert "hangs" in str(await handle.died)
            with pytest.raises(HostError, match="hangs"):
                await ask(handle, "echo", 1)
            with pytest.raises(EngineStartError, match="hangs"):
                await handle.restart()

    run(scenario())


def test_a_cancelled_call_breaks_no_thread():
    """Whether the cancel comes before, with or after the reply, the engine goes on."""

    async def scenario():
        async with engine("thread") as handle:
            for turns in range(12):
                call = asyncio.create_task(ask(handle, "echo", turns))
                for _ in range(turns):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.wait([call])
            while handle._cancelled:  # every cancel is answered, else this does not end
                await asyncio.sleep(0)
            assert await ask(handle, "echo", 1) == [1]

    run(scenario())


def test_a_cancelled_start_leaves_no_process():
    """Whoever gives up waiting for an engine leaves none behind."""

    async def scenario():
        handle = connect(EngineEntry(FACTORY), {"start": "never"})
        starting = asyncio.create_task(handle.start())
        while handle.pid is None:
            await asyncio.sleep(0)
        pid = handle.pid
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert gone(pid)

    run(scenario())


async def starts_again(handle):
    """Without what kept it from starting; it is closed at the end."""
    handle._config.clear()
    await handle.restart()
    assert await ask(handle, "echo", 1) == [1]
    await handle.close()


def test_a_start_that_hangs_is_given_up(home, monkeypatch):
    """With an error that says for how long; nothing is left, and it may be started again."""
    monkeypatch.setattr(host, "START_S", 0.5)

    async def scenario():
        before = resources()
        handle = connect(EngineEntry(FACTORY, host=home), {"start": "never"})
        with pytest.raises(EngineStartError, match=r"not up after 0\.5 s: it hangs"):
            await handle.start()
        assert resources() == before
        monkeypatch.undo()
        monkeypatch.syspath_prepend(str(HERE))
        await starts_again(handle)

    run(scenario())


def test_a_process_that_is_stopped_while_it_starts_is_given_up(monkeypatch):
    """It does not react to anything, and is ended all the same."""
    monkeypatch.setattr(host, "START_S", 3.0)

    async def scenario():
        handle = connect(EngineEntry(FACTORY), {"start": "never"})
        starting = asyncio.create_task(handle.start())
        while handle.pid is None:
            await asyncio.sleep(0)
        pid = handle.pid
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(EngineStartError, match="it hangs"):
            await starting
        assert gone(pid)

    run(scenario())


def resources():
    """What may leak: open descriptors, children and threads."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    engines = [one.name for one in threading.enumerate() if one.name == "teola-engine"]
    return len(list(Path("/proc/self/fd").iterdir())), children, engines


TURNS = 40
"""A start of an engine's process takes fewer turns of the event loop until it waits for it."""


@pytest.mark.parametrize("end", ["cancel", "close"])
def test_a_start_ended_at_any_turn_of_the_loop_leaves_nothing(home, end):
    """Neither a descriptor nor a process nor a thread, and at once."""

    async def scenario():
        started = asyncio.get_running_loop().time()
        await begin(home, 1, end)
        before = resources()
        for turns in range(1, TURNS):
            await begin(home, turns, end)
            assert resources() == before, turns
        assert asyncio.get_running_loop().time() - started < LIMIT_S / 2

    run(scenario())


async def begin(home, turns, end):
    """Begin a start that never ends by itself, and end it after so many turns of the loop."""
    handle = connect(EngineEntry(FACTORY, host=home), {"start": "never"})
    starting = asyncio.create_task(handle.start())
    for _ in range(turns):
        await asyncio.sleep(0)
    if end == "cancel":
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await handle.close()
        return
    await handle.close()
    with pytest.raises(HostError, match="closed"):
        await starting
    with pytest.raises(HostError, match="closed"):
        await ask(handle, "echo", 1)


def test_closing_while_it_starts_closes(home):
    """The start ends with an error that says so; the engine stays closed and can be restarted."""

    async def scenario():
        statuses = []
        handle = connect(
            EngineEntry(FACTORY, host=home),
            {"start": "never"},
            on_status=lambda *status: statuses.append(status),
        )
        starting = asyncio.create_task(handle.start())
        while not statuses:
            await asyncio.sleep(0)
        await handle.close()
        with pytest.raises(HostError, match="closed while it was starting"):
            await starting
        with pytest.raises(HostError, match="the engine is closed"):
            await ask(handle, "echo", 1)
        assert [state for state, _, _ in statuses] == ["loading"]
        await starts_again(handle)

    run(scenario())


def test_a_process_has_its_environment(tmp_path):
    """Thread count, cores, quiet waiting, and no hub where the weights are local."""

    async def scenario():
        (tmp_path / "config.json").write_text("{}")
        core = min(os.sched_getaffinity(0))
        config = {"threads": 3, "cores": [core], "path": str(tmp_path)}
        async with engine("process", weights=True, **config) as handle:
            about = handle.capabilities.details
        assert about["cores"] == [core]
        assert about["environment"] == {
            "OMP_NUM_THREADS": "3",
            "OMP_WAIT_POLICY": "PASSIVE",
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }

    run(scenario())


def test_what_a_process_prints_stays_apart(capfd):
    """Neither its standard output nor its standard error is ours."""

    async def scenario():
        async with engine("process"):
            pass

    run(scenario())
    assert capfd.readouterr() == ("", "")


ORPHANING = """
import asyncio, sys
from teola.runtime.engines import EngineEntry
from teola.runtime.engines.protocol import Request
from teola.runtime.hosts import connect

async def main():
    handle = connect(EngineEntry("echo_engine:EchoEngine"), {})
    await handle.start()
    (request,) = await handle.run([Request("leave_file", ["left"])])
    print(handle.pid, *request, flush=True)
    await asyncio.Event().wait()

sys.path.insert(0, sys.argv[1])
asyncio.run(main())
"""


def test_a_killed_parent_leaves_no_orphan():
    """``kill -9`` of the parent: the engine's process ends by itself, and its files go."""
    command = [sys.executable, "-c", ORPHANING, str(HERE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        child, folder = parent.stdout.readline().split()
        descriptor = os.pidfd_open(int(child))
        assert left(folder) == ["left"]
        try:
            parent.kill()
            ended, _, _ = select.select([descriptor], [], [], LIMIT_S)
        finally:
            os.close(descriptor)
    assert ended
    assert not Path(folder).exists()


def gone(pid):
    """Whether no process has this id, not even one that nobody waited for."""
    return not Path(f"/proc/{pid}").exists()
