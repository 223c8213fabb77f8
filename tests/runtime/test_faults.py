"""What a review found once stays found: each case ended wrongly, or not at all."""

import asyncio

import pytest

from teola.compiler.api import compile_workflow
from teola.runtime import EnginePool, Runner
from teola.runtime.engines.protocol import Request
from teola.runtime.errors import ModuleError, RunError, StateLost
from teola.runtime.simulation.clock import pass_time
from tests.runtime.workbench import plan, reply, virtual

NAMED = """
teola: 1
name: named
inputs: {question: text, documents: list<document>, more: list<document>}
engines:
  embedder: {kind: embedder, backend: fake}
  store: {kind: store, backend: fake}
  llm: {kind: llm, backend: fake, latency_ms: 300}
modules:
  one: {uses: chunk, inputs: {documents: inputs.documents}, with: {size: 50, by: characters}}
  two: {uses: chunk, inputs: {documents: inputs.more}, with: {size: 50, by: characters}}
  first: {uses: index, inputs: {chunks: one.chunks}, with: {collection: docs}}
  slow: {uses: rewrite_query, inputs: {question: inputs.question}}
  found:
    uses: search
    inputs: {query: slow.query, collection: first.collection}
    with: {top_k: 3}
  second: {uses: index, inputs: {chunks: two.chunks}, with: {collection: docs}}
outputs: {found: found.passages, count: second.count}
"""


@pytest.mark.parametrize("level", ["O0", "O1"])
def test_a_search_by_handle_comes_before_a_later_write(tmp_path, level):
    """A collection has one name, whether it is given as a text or as what an index gave."""
    file = tmp_path / "named.yaml"
    file.write_text(NAMED, encoding="utf-8")
    compiled = compile_workflow(file, level=level)

    @virtual
    async def run(bench):
        result = await bench.run(
            compiled,
            question="q",
            documents=[{"name": "a", "text": "hi"}],
            more=[{"name": "b", "text": "hi there second"}],
        )
        assert [passage["text"] for passage in result["found"]] == ["hi"]

    run()


@virtual
async def test_fields_of_one_input_are_different_content(bench):
    """Equal bodies over `j.x` and `j.y` share nothing that is not equal."""
    body = """
        input j: json
        %x.each = each items=%inputs:j.x -> text=%x.decode:text @x [
            %x.prefill = prefill v=%x.each:item {engine = llm, messages = \
                [{"role": "user", "template": "{{ v }}"}], sampling = {"max_tokens": 64}} @x
            %x.decode = decode state=%x.prefill:state {engine = llm} @x
        ]
        %y.each = each items=%inputs:j.y -> text=%y.decode:text @y [
            %y.prefill = prefill v=%y.each:item {engine = llm, messages = \
                [{"role": "user", "template": "{{ v }}"}], sampling = {"max_tokens": 64}} @y
            %y.decode = decode state=%y.prefill:state {engine = llm} @y
        ]
        output x: list<text> = %x.each:text
        output y: list<text> = %y.each:text
    """
    result = await bench.run(plan(body), j={"x": ["a"], "y": ["b"]})
    assert result["x"] == [reply("a")]
    assert result["y"] == [reply("b")]


SEARCH = """
    input chunks: list<chunk>
    input texts: list<text>
    %i.embed = embed texts=%inputs:texts {engine = emb} @i
    %i.ingest = ingest chunks=%inputs:chunks embeddings=%i.embed:embeddings {engine = store} @i
    %s.search = search embeddings=%i.embed:embeddings collection=%i.ingest:collection top_k=2 \
        {engine = store, retry = {"max": 3, "initial_s": 5}} @s
    output hits: list<list<passage>> = %s.search:hits
"""


@virtual
async def test_a_search_that_is_tried_again_after_a_restart_has_lost_its_state(bench):
    """The check is made whenever items are sent, not only the first time."""
    source = plan(SEARCH, store={"latency_ms": 1000})
    chunks = [{"id": "1", "document": "d", "text": "one"}]
    async with bench.runner(source, share=False) as runner:
        running = asyncio.ensure_future(runner.run(chunks=chunks, texts=["one"]))
        await pass_time(1.5)
        bench.spy("store").die()
        with pytest.raises(StateLost, match="restarted"):
            await running


ECHO = """
    input q: text
    %a.wrap = wrap value=%inputs:q @a
    %a.embed = embed texts=%a.wrap:items {engine = emb} @a
    output v: list<embedding> = %a.embed:embeddings
"""


@virtual
async def test_a_pool_that_closes_ends_its_queries(bench):
    """A query that runs, and one that comes too late, end with an error that says so."""
    pool = EnginePool()
    runner = Runner(plan(ECHO, emb={"latency_ms": 60_000}), pool=pool)
    await runner.start()
    running = asyncio.ensure_future(runner.run(q="x"))
    await pass_time(1)
    await pool.close()
    with pytest.raises(ModuleError, match="pool was closed"):
        await running
    with pytest.raises(RunError, match="closed"):
        await runner.run(q="y")
    with pytest.raises(RunError, match="closed"):
        await Runner(plan(ECHO, emb={"dimension": 8}), pool=pool).start()


class WrongCount:
    """An engine that gives one result, whatever it is asked."""

    def __init__(self, handle):
        self.handle = handle

    def __getattr__(self, name):
        return getattr(self.handle, name)

    async def run(self, batch: list[Request]):
        return [[0.0] for _ in batch]


@virtual
async def test_an_engine_that_gives_too_few_results_is_at_fault(bench):
    """The query ends with an error that says how many came."""
    body = ECHO.replace("input q: text", "input q: list<text>").replace(
        "%a.wrap = wrap value=%inputs:q @a", ""
    )
    source = plan(body.replace("%a.wrap:items", "%inputs:q"))
    async with (
        EnginePool(wrap=lambda handle, _: WrongCount(handle)) as pool,
        Runner(source, pool=pool) as runner,
    ):
        with pytest.raises(ModuleError, match="1 results for 2 items"):
            await runner.run(q=["a", "b"])


@virtual
async def test_a_listener_that_raises_harms_nobody(bench, caplog):
    """It is told once, logged, and left out."""
    told = []

    def listener(status):
        told.append(status)
        raise BrokenPipeError("nobody reads")

    async with Runner(plan(ECHO), on_engine=listener) as runner:
        assert len((await runner.run(q="x"))["v"]) == 1
    assert len(told) == 1
    assert "not told any more" in caplog.text
