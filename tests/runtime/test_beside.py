"""Long work of the runtime's own (cutting, rendering) goes on beside the loop, under its clock."""

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest

from teola.compiler.prompts import Budget, render_messages
from teola.runtime import pool_engine
from teola.runtime.engines.registry import ENGINES
from teola.runtime.engines.tokenizer import ByteTokenizer
from teola.runtime.errors import ModelError, ModuleError, QueryCancelled, RunError, TaskTimeout
from teola.runtime.hosts import host
from teola.runtime.operations import chunks
from teola.runtime.simulation.clock import pass_time
from teola.runtime.work import prompt
from tests.runtime.workbench import Bench, call, plan, reply, virtual

LONG = "x" * (prompt.INLINE_CHARACTERS + 1)


def asking(decode="", template="{{ q }}", **llm):
    return plan(
        f"""
        input q: text
        {call("a", template, "q=%inputs:q", decode="{engine = llm" + decode + "}")}
        output out: text = %a.decode:text
        """,
        llm={"context_tokens": 1_000_000, "kv_tokens": 4_000_000, **llm},
    )


CUTTING = """
    input documents: list<document>
    %c.chunk = chunk documents=%inputs:documents {{size = 40, by = "characters"{settings}}} @c
    output chunks: list<chunk> = %c.chunk:chunks
"""
BOOK = [{"name": "book", "text": "word " * 8000}]


@contextmanager
def held(monkeypatch, module, name):
    """While the block lasts, what a thread calls of a module waits at its beginning."""
    original, go = getattr(module, name), threading.Event()
    began = threading.Event()

    def waiting(*args, **named):
        if threading.current_thread() is not threading.main_thread():
            began.set()
            go.wait()
        return original(*args, **named)

    monkeypatch.setattr(module, name, waiting)
    try:
        yield began
    finally:
        go.set()


def in_a_real_loop(test):
    """Threads are threads here: the virtual clock knows none."""

    async def main():
        bench = Bench()
        async with asyncio.timeout(60), bench.pool:
            await test(bench)

    asyncio.run(main())


def test_other_queries_go_on_while_a_long_prompt_is_rendered(monkeypatch):
    """A short prompt that comes later is answered first."""

    async def test(bench):
        async with bench.runner(asking()) as runner:
            with held(monkeypatch, prompt, "render_messages") as began:
                long = asyncio.ensure_future(runner.run(q=LONG))
                await asyncio.to_thread(began.wait)
                assert (await runner.run(q="short"))["out"] == reply("short")
                assert not long.done()
            assert (await long)["out"] == reply(LONG)

    in_a_real_loop(test)


def test_a_timeout_bounds_rendering(monkeypatch):
    """The query ends with its module's error though the thread is still busy."""

    async def test(bench):
        async with bench.runner(asking(", timeout_s = 0.02")) as runner:
            with held(monkeypatch, prompt, "render_messages"):
                with pytest.raises(TaskTimeout, match="'a'.*timeout of 0.02 s passed") as caught:
                    await runner.run(q=LONG)
                assert caught.value.kind == "timeout"

    in_a_real_loop(test)


def test_a_timeout_bounds_cutting(monkeypatch):
    """Cutting documents into chunks has a clock, too."""

    async def test(bench):
        source = plan(CUTTING.format(settings=", timeout_s = 0.02"))
        passed = pytest.raises(TaskTimeout, match="'c'.*timeout of 0.02 s passed")
        with held(monkeypatch, chunks, "chunk"), passed:
            await bench.run(source, documents=BOOK)

    in_a_real_loop(test)


@pytest.mark.parametrize("broken", [False, True])
def test_what_a_thread_gives_too_late_is_dropped(monkeypatch, broken):
    """A cancelled query does not wait for its thread; nothing is told of what that gives."""

    async def test(bench):
        problems = []
        asyncio.get_running_loop().set_exception_handler(lambda _, c: problems.append(c))
        template = "{{ q }}{{ q.absent.x }}" if broken else "{{ q }}"
        async with bench.runner(asking(template=template)) as runner:
            with held(monkeypatch, prompt, "render_messages") as began:
                query = asyncio.ensure_future(runner.run(q=LONG))
                await asyncio.to_thread(began.wait)
                query.cancel()
                with pytest.raises((asyncio.CancelledError, QueryCancelled)):
                    await query
            await asyncio.get_running_loop().shutdown_default_executor()
            await pass_time(0)
        assert bench.spy("llm").submitted == []
        assert problems == []

    in_a_real_loop(test)


@virtual
async def test_the_time_of_rendering_counts(bench, monkeypatch):
    """An LLM call's timeout runs from the moment its inputs are there: rendering is part of it."""
    loop = asyncio.get_running_loop()

    def slow(*args):
        loop._clock.now += 3
        return render_messages(*args)

    monkeypatch.setattr(prompt, "render_messages", slow)
    source = asking(", timeout_s = 5", latency_ms=1000)
    with pytest.raises(TaskTimeout, match="timeout of 5 s passed"):
        await bench.run(source, q=LONG)


@virtual
async def test_a_prompt_that_never_ends_is_an_error(bench):
    """It names workflow, module, the prompt's line, and the limit."""
    forever = (
        "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}{{ q }}"
    )
    with pytest.raises(ModuleError) as caught:
        await bench.run(asking(template=forever), q="x")
    said = str(caught.value)
    assert said.startswith("t: module 'a' (line ")
    assert "the prompt takes more than 1,000,000 loop steps" in said
    assert "(line 1 of its prompt)" in said


@virtual
async def test_a_prompt_is_rendered_with_a_small_budget_first(bench, monkeypatch):
    """A short prompt needs one rendering, on the loop; a longer one a second, beside it."""
    budgets = []

    def counted(entries, values, budget):
        budgets.append(budget.max_steps)
        return render_messages(entries, values, budget)

    monkeypatch.setattr(prompt, "render_messages", counted)
    source = asking(template="{% for i in range(3000) %}{{ q }}{% endfor %}")
    await bench.run(asking(), q="x")
    assert budgets == [prompt.INLINE_STEPS]
    await bench.run(source, q="x")
    assert budgets[1:] == [prompt.INLINE_STEPS, Budget().max_steps]


CUT = """
    input xs: list<text>
    %a.prefill = prefill xs=%inputs:xs {engine = llm, messages = [{"role": "user", \
        "template": "{{ xs | join(',') }}"}], sampling = {"max_tokens": 64}, truncate = "xs"} @a
    %a.decode = decode state=%a.prefill:state {engine = llm} @a
    output out: text = %a.decode:text
"""


@virtual
async def test_truncate_finds_what_fits_by_bisection(bench, monkeypatch):
    """The longest list of first items that fits, in a dozen renderings of 800 items."""
    renderings = []

    def counted(*args):
        renderings.append(args)
        return render_messages(*args)

    monkeypatch.setattr(prompt, "render_messages", counted)
    around = len(ByteTokenizer().encode_chat([{"role": "user", "content": ""}]))
    for count in (1, 2, 399, 640, 799, 800):
        renderings.clear()
        context = around + len(",".join(["abcd"] * count)) + 64
        result = await bench.run(plan(CUT, llm={"context_tokens": context}), xs=["abcd"] * 800)
        assert result["out"] == reply(",".join(["abcd"] * count))
        assert len(renderings) <= 13


@pytest.mark.parametrize("readable", [True, False])
def test_a_tokenizer_is_read_beside_the_loop_before_anybody_asks(monkeypatch, tmp_path, readable):
    """It is there when the first text comes; that it cannot be read, that text's module says."""
    readers = []

    def read(config):
        readers.append(threading.current_thread() is threading.main_thread())
        if not readable:
            raise ModelError("no tokenizer.json")
        return ByteTokenizer()

    monkeypatch.setattr(pool_engine, "load_tokenizer", read)
    monkeypatch.setattr(pool_engine, "ensure", lambda *_, **__: tmp_path)
    monkeypatch.setattr(host, "ensure", lambda *_, **__: tmp_path)
    entry = replace(ENGINES["llm", "fake"], weights=True)
    monkeypatch.setitem(ENGINES, ("llm", "fake"), entry)

    async def test(bench):
        if readable:
            assert (await bench.run(asking(), q="q"))["out"] == reply("q")
            assert readers == [False]
        else:
            with pytest.raises(RunError, match=r"no tokenizer\.json"):
                await bench.run(asking(), q="q")

    in_a_real_loop(test)
