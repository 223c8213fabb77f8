"""The runner: one front door for files, plans and names; results and events of a run."""

import asyncio
import json

import pytest

from teola.compiler.engine_settings import TransformersLLM
from teola.compiler.errors import CompileError
from teola.runtime import EnginePool, Runner
from teola.runtime.errors import ModelError, RunError, UnsupportedError
from teola.runtime.events import (
    EngineStatus,
    ItemAdded,
    ModuleFinished,
    ModuleStarted,
    OutputReady,
    RunFinished,
    TextDelta,
    Warned,
)
from teola.runtime.simulation.clock import pass_time, run_virtually
from teola.runtime.stream import EventStream
from tests.runtime.workbench import call, graph_text, plan, reply, result_of, virtual

BODY = f"""
    input q: text = "why"
    input passages: list<passage> = []
    {call("a", "{{ q }}", "q=%inputs:q")}
    %b.score = score passages=%inputs:passages query=%inputs:q {{engine = rr}} @b
    %b.top = top items=%b.score:passages count=2 @b
    output answer: text = %a.decode:text
    output best: list<passage> = %b.top:items
    output asked: text = %inputs:q
"""
PASSAGES = [{"id": f"p{n}", "text": f"passage {n}", "document": "d"} for n in range(5)]


def source():
    return plan(BODY, llm={"latency_ms": 1000}, rr={"latency_ms": 500})


@virtual
async def test_a_result_is_a_mapping_of_the_outputs(bench):
    """In the workflow's order, the main one first."""
    result = await bench.run(source(), passages=PASSAGES)
    assert list(result) == ["answer", "best", "asked"]
    assert len(result) == 3
    assert result["answer"] == reply("why")
    assert [item["rank"] for item in result["best"]] == [1, 2]
    assert result["asked"] == "why"
    assert result.truncated == ()


@virtual
async def test_warnings_come_before_the_work_and_with_the_result(bench):
    """What of a run's documents was left out or is empty."""
    source = plan("""
        input documents: list<document>
        %a = wrap value=%inputs:documents @a
        output a: list<document> = %inputs:documents
    """)
    documents = [{"name": "note", "text": ""}]
    warning = "input 'documents': without any text: note"
    events = await bench.events(source, documents=documents)
    assert events[0] == (0, Warned(warning))
    assert result_of(events).warnings == (warning,)
    assert (await bench.run(source, documents=documents)).to_json()["warnings"] == [warning]
    assert (await bench.run(source, documents=[])).warnings == ()


@virtual
async def test_a_result_is_json(bench):
    """`to_json` holds outputs, run id, plan, timeline, usage and what was cut off."""
    result = await bench.run(source(), passages=PASSAGES)
    data = json.loads(json.dumps(result.to_json()))
    assert set(data) == {"outputs", "run_id", "plan", "timeline", "usage", "truncated", "warnings"}
    assert data["plan"] == result.plan.identity()
    assert data["outputs"] == json.loads(json.dumps(dict(result)))
    assert data["usage"]["requests"] == 1
    assert data["usage"]["completion_tokens"] == len(reply("why").encode())
    assert data["usage"]["prompt_tokens"] > 0


@virtual
async def test_arrays_and_handles_are_json_too(bench):
    """An embedding is a list of numbers, a collection its name and store."""
    result = await bench.run(
        plan("""
            input documents: list<document>
            %c.chunk = chunk documents=%inputs:documents {size = 4, by = "characters"} @c
            %i.embed = embed texts=%c.chunk:chunks {engine = emb} @i
            %i.ingest = ingest chunks=%c.chunk:chunks embeddings=%i.embed:embeddings \
                collection="kb" {engine = store} @i
            output vectors: list<embedding> = %i.embed:embeddings
            output collection: collection = %i.ingest:collection
        """),
        documents=[{"name": "a", "text": "abcdefgh"}],
    )
    outputs = json.loads(json.dumps(result.to_json()))["outputs"]
    assert [len(vector) for vector in outputs["vectors"]] == [32, 32]
    assert outputs["collection"]["collection"] == "kb"


@virtual
async def test_the_timeline_has_every_task(bench):
    """Queued, started and ended, in seconds of the query, with engine and items."""
    await bench.run(source())
    await pass_time(10)
    result = await bench.run(source(), passages=PASSAGES)
    entries = {entry.primitive: entry for entry in result.timeline}
    assert set(entries) == {"a.decode", "b.score", "b.top"}
    score = entries["b.score"]
    assert (score.module, score.engine, score.items, score.path) == ("b", "rr", 5, ())
    assert (score.queued_s, score.started_s, score.ended_s) == (0, 0, 0.5)
    assert entries["b.top"].queued_s == 0.5
    assert entries["a.decode"].ended_s == -(-len(reply("why").encode()) // 16)


@virtual
async def test_events_come_in_order_and_end_with_the_result(bench):
    """Started, text, outputs, finished; every output once; the last event is the result."""
    events = await bench.events(source(), passages=PASSAGES)
    kinds = [type(event) for _, event in events]
    assert kinds[-1] is RunFinished
    assert kinds.count(RunFinished) == 1
    started = {e.module: at for at, e in events if isinstance(e, ModuleStarted)}
    finished = {e.module: at for at, e in events if isinstance(e, ModuleFinished)}
    assert started == {"a": 0, "b": 0}
    assert finished["b"] == 0.5
    assert finished["a"] == events[-1][0]
    ready = {e.output: e.value for _, e in events if isinstance(e, OutputReady)}
    assert ready == dict(result_of(events))
    assert "".join(
        e.text for _, e in events if isinstance(e, TextDelta) and e.output == "answer"
    ) == (reply("why"))
    items = [e for _, e in events if isinstance(e, ItemAdded)]
    assert [(e.output, e.index, e.value) for e in items] == [
        ("best", index, item) for index, item in enumerate(ready["best"])
    ]


@virtual
async def test_every_text_output_has_deltas(bench):
    """Also one that is there from the start, and one that was computed for another query."""
    async with bench.runner(source()) as runner:
        first = asyncio.ensure_future(runner.run(passages=PASSAGES))
        await pass_time(1.5)
        events = [event async for event in runner.stream(passages=PASSAGES)]
        await first
    for name in ("answer", "asked"):
        deltas = [e.text for e in events if isinstance(e, TextDelta) and e.output == name]
        assert "".join(deltas) == events[-1].result[name]
    assert len(bench.spy("llm").submitted) == 1


@virtual
async def test_truncated_text_is_flagged(bench):
    """Text that was cut off by `max_tokens` names its module; it is an answer all the same."""
    cut = plan(f"""
        input q: text
        {call("a", "{{ q }}", "q=%inputs:q", sampling=', "ignore_eos": true')}
        output out: text = %a.decode:text
    """)
    result = await bench.run(cut, q="x")
    assert result.truncated == ("a",)
    assert result.usage.completion_tokens == 64


@virtual
async def test_a_prompt_that_is_too_long_is_an_error_with_both_numbers(bench):
    """Nothing is cut off unasked."""
    long = plan(
        f"""
        input q: text
        {call("a", "{{ q }}", "q=%inputs:q")}
        output out: text = %a.decode:text
        """,
        llm={"context_tokens": 200},
    )
    with pytest.raises(RunError, match="prompt-too-long.* 10\\d\\d tokens.*136") as caught:
        await bench.run(long, q="x" * 1000)
    assert caught.value.place.module == "a"
    assert bench.spy("llm").submitted == []


@virtual
async def test_max_tokens_that_leave_no_room_for_a_prompt_are_named(bench):
    """No message counts room below nothing."""
    short = plan(
        f"""
        input q: text
        {call("a", "{{ q }}", "q=%inputs:q")}
        output out: text = %a.decode:text
        """,
        llm={"context_tokens": 64},
    )
    told = "max_tokens 64 leaves no room for a prompt: the model has 64 tokens.*sampling.max_tokens"
    with pytest.raises(RunError, match=told):
        await bench.run(short, q="why")


@virtual
async def test_a_model_that_cannot_be_had_is_no_module_s_fault(bench):
    """The error names the engine and the model, and no place in the workflow."""

    def break_start(spy):
        async def start():
            raise ModelError("cannot fetch model 'm'")

        spy.start = start

    bench.prepared.append(break_start)
    with pytest.raises(ModelError) as caught:
        await bench.run(source())
    assert str(caught.value) == "engine 'llm': cannot fetch model 'm'"


@virtual
async def test_truncate_drops_items_from_the_end(bench):
    """`truncate` names the input whose last items go until the prompt fits."""
    cut = plan(
        """
        input xs: list<text>
        %a.prefill = prefill xs=%inputs:xs {engine = llm, messages = [{"role": "user", \
            "template": "{{ xs | join(',') }}"}], sampling = {"max_tokens": 64}, truncate = "xs"} @a
        %a.decode = decode state=%a.prefill:state {engine = llm} @a
        output out: text = %a.decode:text
        """,
        llm={"context_tokens": 130},
    )
    result = await bench.run(cut, xs=["a" * 20, "b" * 20, "c" * 20, "d" * 20])
    assert result["out"] == reply(",".join(["a" * 20, "b" * 20]))


@virtual
async def test_sampling_that_a_backend_lacks_is_refused_at_start(bench, monkeypatch):
    """It names module, setting, engine and backend; no engine starts."""
    monkeypatch.setattr(TransformersLLM, "sampling", frozenset({"stop"}))
    body = call("a", "{{ q }}", "q=%inputs:q", sampling=', "temperature": 0.7, "seed": 3')
    sampled = plan(
        f"""
        input q: text
        {body}
        output out: text = %a.decode:text
        """,
        llm={"backend": "transformers", "model": "smollm2-135m-instruct"},
    )
    with pytest.raises(UnsupportedError, match="'a'.*temperature") as caught:
        await bench.run(sampled, q="x")
    assert "seed" in str(caught.value)
    assert "engine 'llm' (transformers)" in str(caught.value)
    assert bench.spies == []


def test_a_runner_takes_a_file_and_owns_its_pool(tmp_path):
    """A graph in text form is run like a workflow; engines close with the runner."""
    (tmp_path / "t.pgraph").write_text(graph_text(BODY))

    async def run():
        told = []
        async with Runner(tmp_path / "t.pgraph", on_engine=told.append) as runner:
            result = await runner.run(q="x")
            pool = runner.pool
        assert pool.closed
        assert pool.engines == {}
        with pytest.raises(RunError, match="not started"):
            await runner.run(q="x")
        return result, told

    result, told = run_virtually(run())
    assert result["answer"] == reply("x")
    assert {(status.engine, status.state) for status in told} >= {("llm", "ready"), ("rr", "ready")}


def test_a_plan_runs_as_its_source_does(tmp_path):
    """Saved and loaded, a plan gives the same outputs."""
    source().save(tmp_path / "t.plan.json")

    async def run():
        async with Runner(tmp_path / "t.plan.json") as loaded, Runner(source()) as made:
            return await loaded.run(passages=PASSAGES), await made.run(passages=PASSAGES)

    loaded, made = run_virtually(run())
    assert loaded.outputs == made.outputs


def test_a_source_that_is_not_there_is_a_compile_error():
    """Before anything starts."""
    with pytest.raises(CompileError, match="nowhere.yaml"):
        Runner("nowhere.yaml")


def test_a_runner_that_is_not_started_says_how():
    """`run` outside of `async with`."""

    async def run():
        await Runner(source()).run(q="x")

    with pytest.raises(RunError, match="async with"):
        run_virtually(run())


@virtual
async def test_only_engines_that_are_used_start(bench):
    """An engine that no primitive runs on costs nothing."""
    await bench.run(source())
    assert {spy.kind for spy in bench.spies} == {"llm", "reranker"}


@virtual
async def test_a_pool_outlives_its_runners(bench):
    """Engines stay for the next runner, and start once."""
    await bench.run(source(), q="a")
    await bench.run(source(), q="b")
    assert [spy.starts for spy in bench.spies] == [1, 1]
    assert all(spy.alive for spy in bench.spies)


def test_a_closed_pool_closes_its_engines():
    """`async with EnginePool()` ends all of them."""

    @virtual
    async def run(bench):
        spies.extend([bench])
        await bench.run(source(), q="a")

    spies = []
    run()
    assert not any(spy.alive for spy in spies[0].spies)


def test_an_empty_pool_closes():
    """A pool that nobody used has nothing to close."""

    async def run():
        async with EnginePool() as pool:
            assert pool.check_integrity() == []

    run_virtually(run())


@virtual
async def test_the_result_is_the_last_event_for_a_slow_reader_too(bench):
    """What another runner's engines tell after the end does not come after it."""
    async with bench.runner(source()) as runner:
        events = runner.stream(q="x")
        seen = [await anext(events)]
        await pass_time(20)
        other = plan(BODY, llm={"model": "other"}, rr={"model": "other"})
        await bench.run(other, q="y")
        seen += [event async for event in events]
    assert isinstance(seen[-1], RunFinished)


@virtual
async def test_waiting_deltas_are_merged(bench):
    """A reader that does not read in time gets the same text in fewer events."""
    async with bench.runner(source()) as runner:
        events = runner.stream(q="x")
        seen = [await anext(events)]
        await pass_time(20)
        seen += [event async for event in events]
    deltas = [e.text for e in seen if isinstance(e, TextDelta) and e.output == "answer"]
    assert deltas == [reply("x")]


def test_texts_of_two_outputs_wait_in_bounded_space():
    """Deltas of outputs that grow side by side are merged, too."""

    async def fill():
        stream = EventStream()
        for number in range(100):
            stream.put(TextDelta("a", f"{number} "))
            stream.put(TextDelta("b", f"{number}, "))
        waiting = len(stream.waiting)
        stream.end()
        return waiting, [event async for event in stream]

    waiting, events = run_virtually(fill())
    for name, mark in (("a", " "), ("b", ", ")):
        text = "".join(event.text for event in events if event.output == name)
        assert text == "".join(f"{number}{mark}" for number in range(100))
    assert waiting == 2


def test_states_of_engines_wait_in_bounded_space():
    """Of each the last is told, in the order in which they came last."""

    async def fill():
        stream = EventStream()
        for number in range(100):
            stream.put(EngineStatus("llm", "fetching", number / 100))
        for _ in range(3):
            stream.put(EngineStatus("llm", "ready"))
            stream.put(EngineStatus("llm", "failed"))
        stream.put(EngineStatus("llm", "ready"))
        stream.end()
        return [(event.state, event.fraction) async for event in stream]

    assert run_virtually(fill()) == [("fetching", 0.99), ("failed", None), ("ready", None)]


def test_an_error_comes_after_the_events_before_it():
    """A reader sees what happened, then why it ended."""

    async def fill():
        stream = EventStream()
        stream.put(EngineStatus("llm", "ready"))
        stream.end(RunError("it broke"))
        assert await anext(stream) == EngineStatus("llm", "ready")
        with pytest.raises(RunError, match="it broke"):
            await anext(stream)

    run_virtually(fill())


@virtual
async def test_engines_report_their_start_to_a_stream(bench):
    """A stream tells how engines come up while it waits for them."""
    bench.prepared.append(lambda spy: setattr(spy, "start_s", 3))
    events = await bench.events(source(), q="x")
    states = [(at, e.engine, e.state) for at, e in events if isinstance(e, EngineStatus)]
    assert (3, "llm", "ready") in states
    assert (3, "rr", "ready") in states
