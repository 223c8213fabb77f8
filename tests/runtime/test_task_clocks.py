"""Clocks: timeouts of tasks, retries with backoff, deadlines; every query ends, and says why."""

import asyncio

import pytest

from teola.runtime import runner as runner_module
from teola.runtime.engines.protocol import Failure
from teola.runtime.errors import (
    DeadlineExceeded,
    ModuleError,
    StreamInterrupted,
    TaskTimeout,
)
from teola.runtime.events import TextDelta
from teola.runtime.inputs import bind_inputs
from teola.runtime.simulation.clock import pass_time
from tests.runtime.workbench import call, now, plan, reply, virtual

EMBED = """
    input texts: list<text>
    %e.embed = embed texts=%inputs:texts {{engine = emb{settings}}} @e
    output vectors: list<embedding> = %e.embed:embeddings
"""
SLOW = {"latency_ms": 1000, "batch_size": 1}
"""An engine that takes one item a second."""


def embedding(settings="", engine=SLOW):
    return plan(EMBED.format(settings=f", {settings}" if settings else ""), emb=engine)


def asking(settings="", *, text="{{ q }}", sampling="", deadline_s=None, **llm):
    """One LLM call; each of its steps takes a second unless said otherwise."""
    decode = "{engine = llm" + settings + "}"
    return plan(
        f"""
        input q: text
        {call("a", text, "q=%inputs:q", sampling=sampling, decode=decode)}
        output out: text = %a.decode:text
        """,
        deadline_s=deadline_s,
        llm={"latency_ms": 1000, **llm},
    )


STEPS = -(-len(reply("q").encode()) // 16)
"""Steps that the fake takes for its answer to q."""


def first_bytes(count):
    """The answer to q as far as whole characters of its first bytes go."""
    return reply("q").encode()[:count].decode(errors="ignore")


async def read(bench, source, events):
    """Read the events of a query into a list, as far as they come."""
    async with bench.runner(source) as runner:
        async for event in runner.stream(q="q"):
            events += [event]


async def failing(bench, source, kind=ModuleError, **inputs):
    """The error a query ends with, and when."""
    began = now()
    with pytest.raises(kind) as caught:
        await bench.run(source, **inputs)
    return caught.value, now() - began


@virtual
async def test_a_timeout_ends_a_task_that_runs(bench):
    """The error names workflow, module, line, primitive, engine and cause."""
    error, at = await failing(bench, embedding("timeout_s = 0.5"), TaskTimeout, texts=["a"])
    assert at == 0.5
    assert str(error) == (
        "t: module 'e' (line 7), e.embed on engine 'emb': timeout of 0.5 s passed while running"
    )
    assert (error.place.module, error.place.line, error.place.engine) == ("e", 7, "emb")
    assert error.kind == "timeout"


@virtual
async def test_queueing_counts(bench):
    """A task that waits for its turn behind others times out while it waits."""
    bench.pool.policy = "fifo"
    async with bench.runner(embedding()) as busy:
        first = asyncio.ensure_future(busy.run(texts=list("abcd")))
        await pass_time(0)
        error, at = await failing(bench, embedding("timeout_s = 2.5"), TaskTimeout, texts=["x"])
        assert at == 2.5
        assert "while queued" in error.cause
        await first
    assert bench.spy("embedder").items("embed") == list("abcd")


@virtual
async def test_a_call_that_waits_for_its_turn_times_out(bench):
    """Queueing counts for LLM calls, too; a call that never ran is never sent."""
    async with bench.runner(asking(max_requests=1)) as busy:
        first = asyncio.ensure_future(busy.run(q="q"))
        await pass_time(0)
        error, at = await failing(
            bench, asking(", timeout_s = 1.5", max_requests=1), TaskTimeout, q="other"
        )
        assert at == 1.5
        assert "while queued" in error.cause
        await first
    assert len(bench.spy("llm").submitted) == 1


@virtual
async def test_waiting_for_inputs_does_not_count(bench):
    """The clock starts when all inputs are there."""
    source = plan(
        f"""
        input q: text
        {call("a", "{{ q }}", "q=%inputs:q")}
        %e.wrap = wrap value=%a.decode:text @e
        %e.embed = embed texts=%e.wrap:items {{engine = emb, timeout_s = 1.5}} @e
        output vectors: list<embedding> = %e.embed:embeddings
        """,
        llm={"latency_ms": 60_000},
        emb=SLOW,
    )
    assert len((await bench.run(source, q="q"))["vectors"]) == 1
    assert now() == STEPS * 60 + 1


@pytest.mark.parametrize("source", [embedding("timeout_s = 1.5"), asking(", timeout_s = 20")])
@virtual
async def test_waiting_for_an_engine_to_start_does_not_count(bench, source):
    """An engine may take its time to start."""
    bench.prepared.append(lambda spy: setattr(spy, "start_s", 600))
    inputs = {"texts": ["a"]} if "texts" in source.graph.inputs[0].name else {"q": "q"}
    await bench.run(source, **inputs)
    assert now() > 600


@virtual
async def test_a_call_times_out_though_its_tokens_come(bench):
    """`timeout` goes from queued to done: a call that trickles on for ever ends, too."""
    assert STEPS > 3
    error, at = await failing(bench, asking(", timeout_s = 2.5"), TaskTimeout, q="q")
    assert at == 2.5
    assert "timeout of 2.5 s" in error.cause
    await bench.settle()
    assert bench.spy("llm").aborted == [bench.spy("llm").submitted[0].id]


@virtual
async def test_idle_timeout_is_restarted_by_each_token(bench):
    """A call that takes longer than `idle_timeout` in all is well as long as tokens come."""
    result = await bench.run(asking(", idle_timeout_s = 1.5"), q="q")
    assert result["out"] == reply("q")
    assert now() == STEPS


@virtual
async def test_idle_timeout_starts_with_the_first_token(bench):
    """The time until the first token is not idle."""
    result = await bench.run(asking(", idle_timeout_s = 1.5", per_token_ms=1000), q="q")
    assert result["out"] == reply("q")


@pytest.mark.parametrize("told", [1, 2])
@virtual
async def test_a_call_that_falls_silent_times_out(bench, told):
    """After the last token `idle_timeout` passes, the call is aborted and the query ends."""
    silenced = []

    def silence(events):
        silenced.append(events)
        return events if len(silenced) <= told else []

    bench.prepared.append(lambda spy: setattr(spy, "on_events", silence))
    error, at = await failing(bench, asking(", idle_timeout_s = 1.25"), TaskTimeout, q="q")
    assert at == told + 1.25
    assert "idle_timeout of 1.25 s" in error.cause
    await bench.settle()
    assert bench.spy("llm").aborted


def retry(maximum, *, initial=0.5, backoff="exponential", on=()):
    """A retry as the compiler writes it."""
    names = ", ".join(f'"{name}"' for name in on)
    return (
        f'retry = {{"max": {maximum}, "backoff": "{backoff}", "initial_s": {initial}, '
        f'"on": [{names}]}}'
    )


def fail_runs(*numbers, kind="engine"):
    """Let the batches of these numbers (from 0) fail after their time."""

    def change(spy):
        async def before(_batch):
            if len(spy.calls) - 1 in numbers:
                return [Failure(kind, "spoilt")] * len(_batch)
            return None

        spy.before_run = before

    return change


@pytest.mark.parametrize(
    ("backoff", "times"), [("exponential", [0, 0.5, 1.5, 3.5]), ("constant", [0, 0.5, 1, 1.5])]
)
@virtual
async def test_backoff_is_exact(bench, backoff, times):
    """Waits are doubled each time, or not at all; the last attempt's result counts."""
    bench.prepared.append(fail_runs(0, 1, 2))
    source = embedding(retry(3, backoff=backoff), {})
    result = await bench.run(source, texts=["a"])
    assert len(result["vectors"]) == 1
    assert [made.at_s for made in bench.spy("embedder").calls] == times


@virtual
async def test_an_error_that_stays_ends_the_query(bench):
    """After the last attempt the error says what it was and how often it was tried."""
    bench.prepared.append(fail_runs(*range(9)))
    error, at = await failing(bench, embedding(retry(2), {}), texts=["a"])
    assert at == 1.5
    assert "spoilt" in error.cause
    assert "3 attempts" in error.cause
    assert len(bench.spy("embedder").calls) == 3


@pytest.mark.parametrize(
    ("on", "kind", "attempts"),
    [
        ((), "engine", 2),
        ((), "memory", 2),
        ((), "item", 1),
        (("item",), "item", 2),
        (("timeout",), "engine", 1),
    ],
)
@virtual
async def test_only_the_named_classes_are_retried(bench, on, kind, attempts):
    """An item's own fault stays what it is, unless `on` says otherwise."""
    bench.prepared.append(fail_runs(0, kind=kind))
    source = embedding(retry(1, on=on), {})
    if attempts == 1:
        error, _ = await failing(bench, source, texts=["a"])
        assert error.kind == kind
    else:
        await bench.run(source, texts=["a"])
    assert len(bench.spy("embedder").calls) == attempts


@virtual
async def test_only_what_failed_is_sent_again(bench):
    """Items of a task that have their results keep them."""
    bench.prepared.append(fail_runs(1))
    source = embedding(retry(1), {"batch_size": 2})
    result = await bench.run(source, texts=list("abcde"))
    assert bench.spy("embedder").items("embed") == ["a", "b", "c", "d", "e", "c", "d"]
    assert len(result["vectors"]) == 5


@virtual
async def test_every_attempt_has_a_fresh_clock(bench):
    """Two attempts together may take longer than one timeout."""

    def stall_first(spy):
        spy.on_events = lambda events: [e for e in events if e.id != spy.submitted[0].id]

    bench.prepared.append(stall_first)
    seconds = STEPS + 0.5
    result = await bench.run(asking(f", timeout_s = {seconds}, {retry(1)}"), q="q")
    assert result["out"] == reply("q")
    assert bench.spy("llm").submitted_at == [0, seconds + 0.5]
    assert now() == seconds + 0.5 + STEPS
    assert bench.spy("llm").aborted == [bench.spy("llm").submitted[0].id]


@virtual
async def test_a_queued_task_that_timed_out_waits_for_its_backoff(bench):
    """It leaves the queue, comes back after the backoff, and is done once."""
    bench.pool.policy = "fifo"
    async with bench.runner(embedding()) as busy:
        first = asyncio.ensure_future(busy.run(texts=list("abc")))
        await pass_time(0)
        source = embedding(f"timeout_s = 2.5, {retry(1, initial=10)}")
        result = await bench.run(source, texts=["x"])
        await first
    assert len(result["vectors"]) == 1
    assert bench.spy("embedder").items("embed") == [*"abc", "x"]
    assert bench.spy("embedder").calls[-1].at_s == 12.5


@virtual
async def test_a_queued_call_that_timed_out_waits_for_its_backoff(bench):
    """An LLM call, too, leaves the queue when its clock runs out, and is sent once."""
    async with bench.runner(asking(max_requests=1)) as busy:
        before = [asyncio.ensure_future(busy.run(q=q)) for q in ("q", "other")]
        await pass_time(0)
        late = asking(f", timeout_s = {STEPS + 0.5}, {retry(1, initial=50)}", max_requests=1)
        result = await bench.run(late, q="late")
        await asyncio.gather(*before)
    assert result["out"] == reply("late")
    assert bench.spy("llm").submitted_at == [0, STEPS, STEPS + 50.5]


@pytest.mark.parametrize("kind", ["engine", "died"])
@virtual
async def test_a_call_of_which_text_has_left_is_not_repeated(bench, kind):
    """The caller has read a part of what a stop string may end, so that it cannot be gone on with:
    `StreamInterrupted`, never a second beginning."""
    bench.prepared.append(lambda spy: spy.spoil(0, after=2, kind=kind))
    events = []
    with pytest.raises(StreamInterrupted, match="spoilt") as caught:
        await read(bench, asking(f", {retry(3)}", sampling=', "stop": ["~"]'), events)
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == first_bytes(32)
    assert caught.value.place.module == "a"
    assert len(bench.spy("llm").submitted) == 1


@virtual
async def test_a_call_of_which_nothing_has_left_is_repeated(bench):
    """Without a reader of its tokens a call is restarted silently, however far it was."""
    bench.prepared.append(lambda spy: spy.spoil(0, after=2, kind="engine"))
    result = await bench.run(asking(f", {retry(3)}"), q="q")
    assert result["out"] == reply("q")
    assert result.usage.completion_tokens == len(reply("q").encode())
    assert bench.spy("llm").submitted_at == [0, 3.5]


@virtual
async def test_a_call_before_its_first_token_is_repeated_for_a_reader(bench):
    """A stream whose reader has got nothing yet goes on with the second attempt."""
    bench.prepared.append(lambda spy: spy.spoil(0, kind="engine"))
    events = await bench.events(asking(f", {retry(3)}"), q="q")
    assert "".join(e.text for _, e in events if isinstance(e, TextDelta)) == reply("q")


LISTED = """
    input q: text
    input more: list<text>
    {}
    %a.concat = concat first=%inputs:more lines=%a.decode:lines @a
    output out: list<text> = %a.concat:items
"""


@virtual
async def test_lines_that_nobody_took_yet_are_decoded_again(bench):
    """A consumer of the whole list has taken nothing before the end: silent restart."""
    settings = f'{{engine = llm, output = {{"shape": "lines"}}, {retry(1)}}}'
    lines = call("a", "{{ q }}", "q=%inputs:q", decode=settings)
    bench.prepared.append(lambda spy: spy.spoil(0, after=2, kind="engine"))
    source = plan(LISTED.format(lines), llm={"latency_ms": 1000})
    result = await bench.run(source, q="q", more=["one"])
    assert result["out"] == ["one", *reply("q").splitlines()]


@virtual
async def test_the_last_call_of_a_fold_is_repeated_where_nobody_reads(bench):
    """A fold passes its last text on; without a reader nothing has left."""
    step = call(
        "f.next",
        "{{ s }}{{ x }}",
        "s=%f.fold:state x=%f.fold:item",
        decode=f"{{engine = llm, {retry(1)}}}",
    )
    source = plan(
        f"""
        input xs: list<text>
        %f.fold = fold items=%inputs:xs initial="" {{}} -> text=%f.next.decode:text @f [
            {step}
        ]
        output out: text = %f.fold:text
        """,
        llm={"latency_ms": 1000},
    )
    bench.prepared.append(lambda spy: spy.spoil(1, after=2, kind="engine"))
    result = await bench.run(source, xs=["a", "b"])
    assert result["out"] == reply(reply("a") + "b")


@virtual
async def test_a_call_goes_on_after_its_engine_died(bench):
    """The engine comes back with backoff and the call is made again; waiting for an engine that
    starts again does not count against its timeout."""
    bench.prepared.append(lambda spy: setattr(spy, "start_s", 30 if spy.starts else 0))
    source = asking(f", timeout_s = {STEPS + 1}, {retry(1)}")
    async with bench.runner(source) as runner:
        running = asyncio.ensure_future(runner.run(q="q"))
        await bench.settle()
        spy = bench.spy("llm")
        spy.start_s = 30
        spy.die()
        assert (await running)["out"] == reply("q")
    assert spy.starts == 2


@virtual
async def test_tasks_outlive_their_engines_death(bench):
    """What had been sent when the engine died is done when it is back, as what had not: without any
    retry."""
    async with bench.runner(embedding()) as one, bench.runner(embedding()) as two:
        running = asyncio.ensure_future(one.run(texts=["a"]))
        await pass_time(0)
        queued = asyncio.ensure_future(two.run(texts=["b"]))
        await pass_time(0.5)
        bench.spy("embedder").die()
        assert len((await running)["vectors"]) == len((await queued)["vectors"]) == 1


@pytest.mark.parametrize("seconds", [0.5, 2, 3.5])
@virtual
async def test_a_deadline_bounds_the_query(bench, seconds):
    """It ends with an error that names workflow and deadline, and its calls are aborted."""
    error, at = await failing(bench, asking(deadline_s=seconds), DeadlineExceeded, q="q")
    assert at == seconds
    assert str(error) == f"t: the deadline of {seconds:g} s passed"
    await bench.settle()
    assert bench.spy("llm").aborted


@pytest.mark.parametrize("streamed", [False, True])
@virtual
async def test_a_deadline_counts_the_reading_of_documents(bench, monkeypatch, streamed):
    """It runs from the moment the query comes."""

    async def reading(plan, given):
        await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=2)
        return await bind_inputs(plan, given)

    monkeypatch.setattr(runner_module, "bind_inputs", reading)
    for seconds in (1.5, 2.5):  # while reading, and soon after it
        began, source = now(), asking(deadline_s=seconds)
        with pytest.raises(DeadlineExceeded, match=f"the deadline of {seconds:g} s passed"):
            await (read(bench, source, []) if streamed else bench.run(source, q="q"))
        assert now() - began == pytest.approx(seconds)


@virtual
async def test_a_deadline_counts_the_engines_start(bench):
    """Whatever a query waits for, its deadline ends it."""
    bench.prepared.append(lambda spy: setattr(spy, "start_s", 600))
    _, at = await failing(bench, asking(deadline_s=5), DeadlineExceeded, q="q")
    assert at == 5


@virtual
async def test_a_deadline_counts_retries_and_the_waits_between_them(bench):
    """A call that fails again and again: the deadline ends the query between two attempts."""
    bench.prepared.append(lambda spy: spy.spoil(*range(100), kind="engine"))
    settings = ', retry = {"max": 100, "initial_s": 2}'
    _, at = await failing(bench, asking(settings, deadline_s=20), DeadlineExceeded, q="q")
    assert at == 20
    sent = len(bench.spy("llm").submitted)
    assert 2 <= sent <= 5
    await pass_time(1000)
    assert len(bench.spy("llm").submitted) == sent


@virtual
async def test_a_deadline_counts_the_time_in_an_engines_queue(bench):
    """Its items leave the queue, and the query before it is unharmed."""
    async with bench.runner(embedding()) as first:
        late = plan(EMBED.format(settings=""), deadline_s=2.5, emb=SLOW)
        async with bench.runner(late) as second:
            running = asyncio.ensure_future(first.run(texts=list("abcde")))
            await pass_time(0)
            with pytest.raises(DeadlineExceeded):
                await second.run(texts=list("tuvwxyz"))
            assert now() == 2.5
            assert len((await running)["vectors"]) == 5
    assert bench.spy("embedder").items("embed") == list("abcde")


@virtual
async def test_a_query_within_its_deadline_is_untouched(bench):
    """A deadline that has not passed leaves no trace."""
    assert (await bench.run(asking(deadline_s=STEPS + 0.5), q="q"))["out"] == reply("q")
    assert not bench.spy("llm").aborted


@virtual
async def test_a_deadline_reaches_a_reader_of_events(bench):
    """A stream raises it after the events that came before."""
    events = []
    with pytest.raises(DeadlineExceeded):
        await read(bench, asking(deadline_s=2.5), events)
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == first_bytes(32)


@virtual
async def test_an_engine_that_does_not_start_fails_what_needs_it(bench):
    """The error names the engine and why it did not start; nothing hangs."""

    def break_start(spy):
        async def start():
            raise ValueError("no such device")

        spy.start = start

    bench.prepared.append(break_start)
    error, _ = await failing(bench, asking(), q="q")
    assert "engine 'llm' did not start" in error.cause
    assert "no such device" in error.cause


FAULTS = {
    "top": ("%x.top = top items=%inputs:xs count=2 @x", "%x.top:items", "list<passage>"),
    "stream": (
        "%x.flatten = flatten items=~%inputs:xs {group = 1} @x",
        "%x.flatten:items",
        "list<text>",
    ),
    "scan": ('%x.take = take items=%inputs:xs count="many" @x', "%x.take:items", "list<passage>"),
    "field": (
        '%x.cast = cast value="a" {from = "text", to = "passage"} @x',
        "%x.cast:value.nothing",
        "text",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
@virtual
async def test_whatever_an_operation_raises_ends_the_query(bench, name):
    """A defect of an operation, or a value it cannot take, is an error with its place."""
    line, out, kind = FAULTS[name]
    source = plan(f"""
        input xs: list<json>
        {line}
        output out: {kind} = {out}
    """)
    error, _ = await failing(bench, source, Exception, xs=[1, 2])
    assert isinstance(error, ModuleError), repr(error)
    assert error.place.primitive.startswith("x.")
