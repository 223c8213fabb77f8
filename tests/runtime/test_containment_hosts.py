"""Containment on real processes and threads: crashes, hangs, memory, and errors that cross."""

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from teola.runtime import EnginePool, Runner, circuit, watchdog
from teola.runtime.engines import ENGINES, EngineEntry
from teola.runtime.errors import ModuleError, TaskTimeout
from teola.runtime.hosts import process, thread
from tests.runtime.faulty import embedding
from tests.runtime.workbench import call, plan, reply

HERE = Path(__file__).parent
LIMIT_S = 60


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Short graces: what hangs here hangs for ever."""
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setattr(watchdog, "GRACE_S", 0.05)
    monkeypatch.setattr(process, "CLOSE_S", 0.05)
    monkeypatch.setattr(thread, "CLOSE_S", 0.05)
    monkeypatch.setattr(circuit, "RESTART_DELAY_S", 0.01)


@pytest.fixture
def home(monkeypatch):
    """Let fake embedders and LLMs be troubled ones, at home somewhere."""

    def live(host):
        for kind, name in (("embedder", "TroubledEmbedder"), ("llm", "TroubledLLM")):
            entry = EngineEntry(f"troubled_engine:{name}", host=host)
            monkeypatch.setitem(ENGINES, (kind, "fake"), entry)

    return live


def run(coroutine):
    """Run a test's coroutine, bounded."""
    return asyncio.run(asyncio.wait_for(coroutine, LIMIT_S))


@asynccontextmanager
async def running(settings="", **engine):
    """A runner, and a way to ask several queries at once."""
    async with (
        EnginePool() as pool,
        Runner(embedding(settings, **engine), pool=pool, share=False) as runner,
    ):

        async def ask(*queries):
            asked = (runner.run(texts=texts) for texts in queries)
            return await asyncio.gather(*asked, return_exceptions=True)

        yield ask
        assert pool.check_integrity() == []


def test_a_poisonous_item_kills_a_process_twice(home):
    """Its query fails and says what happened; the others in its batch have their results."""
    home("process")

    async def scenario():
        async with running() as ask:
            one, two = await ask(["a", "kill me"], ["b"])
            assert isinstance(one, ModuleError)
            assert "twice" in one.cause
            assert "SIGKILL" in one.cause
            assert len(two["vectors"]) == 1
            (again,) = await ask(["kill me"])
            assert "refused" in again.cause

    run(scenario())


def test_an_item_that_raises_in_a_process_fails_alone(home):
    """Errors cross, and what ran out of memory there is done in smaller batches."""
    home("process")

    async def scenario():
        async with running() as ask:
            one, two, three = await ask(["a", "raise"], ["b"], ["c"])
            assert isinstance(one, ModuleError)
            assert one.kind == "item"
            assert "OverflowError: no good" in one.cause
            assert len(two["vectors"]) == len(three["vectors"]) == 1
            results = await ask(["memory 1", "a"], ["memory 2", "b"])
            assert [len(result["vectors"]) for result in results] == [2, 2]

    run(scenario())


def test_a_process_that_hangs_is_replaced(home):
    """Its query times out, the process is ended, and a new one does what waits."""
    home("process")

    async def scenario():
        async with running("timeout_s = 1", batch_size=1) as ask:
            (hung,) = await ask(["block"])
            assert isinstance(hung, TaskTimeout)
            for _ in range(100):
                (result,) = await ask(["a"])
                if not isinstance(result, Exception):
                    return
                assert isinstance(result, TaskTimeout)
            pytest.fail("the engine did not come back")

    run(scenario())


def test_a_thread_that_hangs_is_refused(home, caplog):
    """It cannot be ended: whoever comes later is told so, at once."""
    home("thread")

    async def scenario():
        async with running("timeout_s = 1", batch_size=1) as ask:
            (hung,) = await ask(["block"])
            assert isinstance(hung, TaskTimeout)
            for _ in range(100):
                (result,) = await ask(["a"])
                assert isinstance(result, ModuleError)
                if result.kind == "engine":
                    assert "the engine's thread hangs" in result.cause
                    assert "start the program again" in result.cause
                    return
            pytest.fail("the engine was not refused")

    run(scenario())
    assert "hangs" in caplog.text


@asynccontextmanager
async def answering():
    """A way to ask an LLM, with a timeout."""
    source = plan(
        f"""
        input q: text
        {call("a", "{{ q }}", "q=%inputs:q", decode="{engine = llm, timeout_s = 1}")}
        output out: text = %a.decode:text
        """
    )
    async with EnginePool() as pool, Runner(source, pool=pool, share=False) as runner:

        async def ask(question):
            (found,) = await asyncio.gather(runner.run(q=question), return_exceptions=True)
            return found

        yield ask
        assert pool.check_integrity() == []


def test_an_llm_that_sticks_in_a_process_is_replaced(home):
    """It answers aborts, but gives no token of any call: the process is ended, and a new one
    answers."""
    home("process")

    async def scenario():
        async with answering() as ask:
            assert isinstance(await ask("stick"), TaskTimeout)
            for _ in range(100):
                found = await ask("a")
                if not isinstance(found, Exception):
                    assert found["out"] == reply("a")
                    return
                assert isinstance(found, TaskTimeout)
            pytest.fail("the engine did not come back")

    run(scenario())


def test_an_llm_that_sticks_on_a_thread_is_refused(home, caplog):
    """It does not close either, and a thread cannot be ended."""
    home("thread")

    async def scenario():
        async with answering() as ask:
            assert isinstance(await ask("stick"), TaskTimeout)
            for _ in range(100):
                found = await ask("a")
                assert isinstance(found, ModuleError)
                if found.kind == "engine":
                    assert "the engine's thread hangs: it did not close" in found.cause
                    assert "start the program again" in found.cause
                    return
            pytest.fail("the engine was not refused")

    run(scenario())
    assert "hangs" in caplog.text
