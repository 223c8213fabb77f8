"""Whole runs on a server that speaks OpenAI's protocol: answers, faults, and what they leave."""

import asyncio
import json
import threading
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teola.compiler.engines import canonical
from teola.runtime import EnginePool, Runner
from teola.runtime.errors import ModuleError, StreamInterrupted, TaskTimeout
from teola.runtime.events import ItemAdded, RunFinished, TextDelta
from teola.runtime.record import Record
from tests.openai_model import PART
from tests.openai_server import serving
from tests.runtime.test_hints import INPUTS
from tests.runtime.test_hints import asking as asking_early
from tests.runtime.test_tokenizer import write_folder
from tests.runtime.workbench import call, plan, reply

RUN_S = 60
QUESTION = "What is a rollback journal?"
WHOLE = reply(QUESTION)
PATIENT = ', retry = {"max": 9, "initial_s": 0.01}'


@pytest.fixture
def server():
    with serving(context=1 << 16) as one:
        yield one


@pytest.fixture
def folder(tmp_path):
    """The folder of a tokenizer that is the fakes' and the server's."""
    return str(write_folder(tmp_path))


def on(server, **given):
    """The settings of an LLM on the server."""
    basic = {"kind": "llm", "backend": "openai", "model": "tiny", "base_url": server.url}
    return canonical({**basic, **given})


def asking(server, *, decode="", **given):
    """One call whose text is the output."""
    settings = f"{{engine = llm{decode}}}"
    return plan(
        f"""
        input q: text
        {call("a", "{{ q }}", "q=%inputs:q", decode=settings)}
        output out: text = %a.decode:text
        """,
        llm=on(server, **given),
    )


@asynccontextmanager
async def running(source, **options):
    """A runner on a pool of its own; when it ends nothing is left."""
    async with (
        asyncio.timeout(RUN_S),
        EnginePool() as pool,
        Runner(source, pool=pool, **options) as one,
    ):
        await started(pool)
        yield one
        await idle(pool)


async def started(pool):
    """All engines are up, or will not be."""
    for engine in pool.engines.values():
        done = asyncio.get_running_loop().create_future()
        engine.when_ready(done.set_result)
        await done


async def idle(pool):
    """Nothing is left of any query, in the pool or in an engine."""
    await asyncio.sleep(0)
    assert pool.check_integrity() == []
    for engine in pool.engines.values():
        if engine.kind == "llm":
            assert await engine.replicas[0].control("describe", {}) == {"running": 0}


def run(source, **inputs):
    """The result of one query."""

    async def main():
        async with running(source) as runner:
            return await runner.run(**inputs)

    return asyncio.run(main())


async def read(runner, **inputs):
    """The text that a reader has seen, and the result."""
    text, result = "", None
    async for event in runner.stream(**inputs):
        if isinstance(event, TextDelta):
            text += event.text
        if isinstance(event, RunFinished):
            result = event.result
    return text, result


def test_a_call_is_answered(server):
    """As by the fake, which the server's answers are from; the server's count is what is told."""
    result = run(asking(server), q=QUESTION)
    assert result["out"] == WHOLE
    (body,) = server.bodies("/chat/completions")
    assert body["messages"] == [{"role": "user", "content": QUESTION}]
    assert result.usage.prompt_tokens == len(server.prompts[0])
    assert result.usage.completion_tokens == len(WHOLE.encode()) + 1


def test_a_prompt_goes_as_tokens_where_the_tokenizer_is_known(server, folder):
    result = run(asking(server, path=folder), q=QUESTION)
    assert result["out"] == WHOLE
    assert server.bodies("/completions")[-1]["prompt"] == server.prompts[-1]
    assert result.usage.completion_tokens == len(WHOLE.encode())


def test_a_server_that_is_full_is_nobodys_error(server):
    """Its calls wait, without any `retry:`."""
    for _ in range(3):
        server.fault(status=429)
    assert run(asking(server), q=QUESTION)["out"] == WHOLE
    assert len(server.requests) == 4


def test_a_server_that_fails_is_asked_again_where_that_is_wanted(server):
    """`retry:` says how often; without it the query fails, and says why."""
    server.fault(status=500)
    with pytest.raises(ModuleError, match="it answered 500: told to") as caught:
        run(asking(server), q=QUESTION)
    assert caught.value.kind == "engine"
    server.fault(status=502)
    server.fault(parts=0)
    patient = asking(server, decode=PATIENT)
    assert run(patient, q=QUESTION)["out"] == WHOLE


def test_what_is_wrong_with_a_prompt_is_not_tried_again(server):
    server.fault(status=400)
    with pytest.raises(ModuleError, match="it answered 400") as caught:
        run(asking(server, decode=PATIENT), q=QUESTION)
    assert caught.value.kind == "item"
    assert len(server.requests) == 1


def test_text_that_has_left_is_never_contradicted(server):
    """A stream that breaks after text was read ends the query: as text it cannot be gone on with.
    Where nobody has read it the call begins anew, silently."""

    async def main():
        async with running(asking(server, decode=PATIENT)) as runner:
            server.fault(parts=2)
            assert (await runner.run(q=QUESTION))["out"] == WHOLE
            server.fault(parts=2)
            with pytest.raises(StreamInterrupted):
                await read(runner, q=f"{QUESTION} Again?")

    asyncio.run(main())


def test_an_answer_that_came_as_tokens_goes_on_where_it_broke(server, folder):
    """The prompt of the next attempt ends with it: a reader notices nothing."""

    async def main():
        async with running(asking(server, decode=PATIENT, path=folder)) as runner:
            server.fault(parts=2)
            server.fault(parts=0, garbage="{")
            return await read(runner, q=QUESTION)

    text, result = asyncio.run(main())
    assert text == result["out"] == WHOLE
    first, second, third = (body["prompt"] for body in server.bodies("/completions")[1:])
    assert second == third == [*first, *WHOLE.encode()[: 2 * PART]]
    assert result.usage.completion_tokens == len(WHOLE.encode())


def test_a_server_that_says_nothing_is_bounded_by_the_calls_clock(server):
    """`timeout:` ends the call; the connection is closed and the next query is answered."""
    hold = threading.Event()

    async def main():
        async with running(asking(server, decode=", timeout_s = 0.3")) as runner:
            server.fault(hold=hold)
            with pytest.raises(TaskTimeout, match=r"timeout of 0.3 s passed while running"):
                await runner.run(q=QUESTION)
            hold.set()
            assert (await runner.run(q=QUESTION))["out"] == WHOLE

    asyncio.run(main())


def test_cancelling_a_query_closes_its_connection(server):
    async def main():
        async with running(asking(server)) as runner:
            server.fault(endless=True)
            stream = runner.stream(q=QUESTION)
            async for event in stream:
                if isinstance(event, TextDelta):
                    break
            await stream.aclose()
            assert await asyncio.to_thread(server.left.wait, RUN_S)

    asyncio.run(main())


def test_a_list_that_is_complete_ends_its_call(server):
    """The rest of the answer is not waited for."""
    shape = {"shape": "lines", "count": 1}
    decode = f", output = {shape}".replace("'", '"')

    async def main():
        source = asking(server, decode=decode)
        async with running(source) as runner:
            server.fault(endless=True)
            return await runner.run(q=QUESTION)

    assert asyncio.run(main())["out"]
    assert server.left.wait(RUN_S)


def test_items_leave_the_object_in_which_a_server_lists_them(server):
    """As if there were none: the same text, and each item before the next is complete."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    output = json.dumps({"shape": "json_list", "schema": schema, "count": 4})

    async def main(said):
        source = plan(
            f"""
            input q: text
            {call("a", "{{ q }}", "q=%inputs:q", decode=f"{{engine = llm, output = {output}}}")}
            output out: list<json> = %a.decode:json_list
            output text: text = %a.decode:text
            """,
            llm=on(server, structured_outputs=said),
        )
        async with running(source) as runner:
            events = [event async for event in runner.stream(q=QUESTION)]
        items = [event.value for event in events if isinstance(event, ItemAdded)]
        return items, events[-1].result

    plain, whole = asyncio.run(main("json_schema"))
    server.objects = True
    items, result = asyncio.run(main("objects"))
    assert items == plain == result["out"]
    assert len(items) == 4
    assert result["text"] == whole["text"]


def test_a_prompt_that_seems_too_long_says_that_this_is_a_guess(server):
    """Lengths are estimated where no tokenizer is known; `truncate:` goes by them too."""
    server.context = 128
    with pytest.raises(
        ModuleError, match=r"the prompt has about \d+ tokens, the model has room for 64"
    ):
        run(asking(server), q="word " * 100)
    assert server.requests == []


def test_beginnings_of_prompts_are_computed_early_where_that_is_wanted(server, folder):
    """On a server of one's own, which takes tokens: not where each of them is paid for."""
    slow = {"latency_ms": 200}
    for more, warm_ups in (({"path": folder, "warm_ups": True}, 1), ({"path": folder}, 0)):
        source = asking_early(llm=on(server, **more), rr=slow)
        assert run(source, **INPUTS).usage.warm_ups == warm_ups
        asked = [body["max_tokens"] for body in server.bodies("/completions")[1:]]
        assert asked == [1] * warm_ups + [64]
        server.requests.clear()


def test_a_run_on_a_server_can_be_replayed(server):
    """What was recorded answers without it, in text as well."""
    record, source = Record(), asking(server)

    async def main(wrap):
        async with EnginePool(wrap=wrap) as pool, Runner(source, pool=pool) as runner:
            return (await runner.run(q=QUESTION))["out"]

    assert asyncio.run(main(record.recording)) == WHOLE
    assert asyncio.run(main(record.replaying)) == WHOLE
    assert len(server.requests) == 1


async def answered(name, *sets):
    """A workflow of the gallery with some of its engines moved, the others fakes."""
    fakes = [f"engines.{kind}={{kind: {kind}, backend: fake}}" for kind in ("embedder", "store")]
    reranker = ["engines.reranker={kind: reranker, backend: fake}"] * (name == "advanced_rag")
    async with running(name, sets=[*fakes, *reranker, *sets]) as runner:
        return await runner.run(question="What is a checkpoint?")


def moved(server, name):
    """What `--set` says to move an engine to the server."""
    return [f"engines.{name}.backend=openai", f"engines.{name}.base_url={server.url}"]


@pytest.mark.parametrize("name", ["naive_rag", "advanced_rag"])
def test_a_workflow_moves_to_a_server(server, name):
    """Its answer is that of the fake LLM, which the server's answers are from."""
    found = asyncio.run(answered(name, *moved(server, "llm")))
    fake = asyncio.run(answered(name, "engines.llm={kind: llm, backend: fake}"))
    assert found["answer"] == fake["answer"]
    assert found.usage.requests == len(server.bodies("/chat/completions")) > 1
    assert found.usage.warm_ups == 0


def test_a_workflow_embeds_on_a_server(server):
    """Chunks are cut by estimated tokens where the embedder's tokenizer is not known."""
    embedder = "engines.embedder={kind: embedder, backend: openai, model: e, base_url: '%s'}"
    found = asyncio.run(answered("naive_rag", embedder % server.url, *moved(server, "llm")))
    assert found["answer"]
    assert len(found["sources"]) == 3
    assert {path for path, _ in server.requests} == {"/chat/completions", "/embeddings"}
    assert max(len(body["input"]) for body in server.bodies("/embeddings")) == 64


def test_a_text_that_the_server_does_not_embed_is_the_error_of_its_item(server):
    """Which one is found by asking again with parts of the batch."""
    server.longest = 30
    embed = """
        input texts: list<text>
        %e.embed = embed texts=%inputs:texts {engine = emb} @e
        output vectors: list<embedding> = %e.embed:embeddings
        """
    settings = {"kind": "embedder", "backend": "openai", "model": "m", "base_url": server.url}
    source = plan(embed, emb=canonical(settings))
    with pytest.raises(ModuleError, match="longer than 30") as caught:
        run(source, texts=["a", "b", "far too long for " * 3, "c"])
    assert caught.value.kind == "item"
    assert "far too long" in str(caught.value)


FAULTS = st.one_of(
    st.sampled_from([{"status": code} for code in (429, 429, 500, 503)]),
    st.builds(
        lambda parts, garbage: {"parts": parts, "garbage": garbage},
        st.integers(0, 6),
        st.sampled_from(["", "{", "[]"]),
    ),
)


@given(faults=st.lists(FAULTS, max_size=4), as_tokens=st.booleans(), queries=st.integers(1, 3))
@settings(max_examples=25)
def test_whatever_goes_wrong_every_query_has_its_answer(
    faults, as_tokens, queries, tmp_path_factory
):
    """With enough retries: nothing is lost, nothing hangs, and nothing is left."""
    given = {"path": str(write_folder(tmp_path_factory.mktemp("t")))} if as_tokens else {}

    async def main(server):
        async with running(asking(server, decode=PATIENT, **given)) as runner:
            for fault in faults:
                server.fault(**fault)
            texts = [f"{QUESTION} {number}" for number in range(queries)]
            found = await asyncio.gather(*(runner.run(q=text) for text in texts))
            assert [one["out"] for one in found] == [reply(text) for text in texts]

    with serving() as server:
        asyncio.run(main(server))
