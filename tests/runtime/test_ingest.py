"""Ingest is atomic, and a handle never runs on state that is gone."""

import asyncio

import pytest

from teola.compiler.api import compile_workflow
from teola.runtime.engines.protocol import Failure
from teola.runtime.errors import ModuleError, StateLost
from teola.runtime.simulation.clock import pass_time
from tests.runtime.workbench import plan, virtual

DOCUMENTS = [{"name": "a", "text": "abcdefghijkl"}, {"name": "b", "text": "mnopqrst"}]
COUNT = 5
ONE_A_SECOND = {"latency_ms": 1000, "batch_size": 1}

INDEX = """
    input documents: list<document>
    %c.chunk = chunk documents=%inputs:documents {{size = 4, by = "characters"}} @c
    %i.embed = embed texts=~%c.chunk:chunks {{group = 1, engine = emb}} @i
    %i.ingest = ingest chunks=~%c.chunk:chunks embeddings=~%i.embed:embeddings {name}{{group = \
        2, engine = store{settings}}} @i
    output count: int = %i.ingest:count
"""
FIND = """
    input top: int = 9
    input name: text = "kb"
    %s.embed = embed texts=["abcd"] {engine = emb} @s
    %s.search = search embeddings=%s.embed:embeddings collection=%inputs:name top_k=%inputs:top \
        {engine = store, named = true} @s
    %s.flatten = flatten items=%s.search:hits @s
    output found: list<passage> = %s.flatten:items
"""


def index(name='collection="kb" ', settings="", **engines):
    slow = {"store": {"latency_ms": 1000}, "emb": {}}
    return plan(INDEX.format(name=name, settings=settings), **(slow | engines))


def find():
    return plan(FIND, store={"latency_ms": 1000}, emb={})


async def texts(bench):
    """What a reader of the named collection finds now."""
    result = await bench.run(find())
    return sorted(passage["text"] for passage in result["found"])


def break_ingest(number, kind="item"):
    """Let the store's batch of this number (from 0) fail one of its items."""

    def change(spy):
        if spy.kind != "store":
            return

        async def before(batch):
            if len(spy.calls) - 1 != number:
                return None
            results = [list(part) for part in await spy.handle.run(batch)]
            results[-1][-1] = Failure(kind, "the disk is full")
            return results

        spy.before_run = before

    return change


@pytest.mark.parametrize("number", [0, 1])
@virtual
async def test_a_failing_item_publishes_nothing(bench, number):
    """One item of any group fails: no reader ever sees a part of the others."""
    bench.prepared.append(break_ingest(number))
    with pytest.raises(ModuleError, match="the disk is full") as caught:
        await bench.run(index(emb=ONE_A_SECOND), documents=DOCUMENTS)
    assert caught.value.place.module == "i"
    await bench.settle()
    assert await bench.stored() == {"collections": {}, "pending": []}


@virtual
async def test_a_failing_item_leaves_what_was_there(bench):
    """The version that readers see stays whole when a new one fails."""
    await bench.run(index(), documents=DOCUMENTS)
    before = await texts(bench)
    break_ingest(len(bench.spy("store").calls))(bench.spy("store"))
    with pytest.raises(ModuleError):
        await bench.run(index(), documents=[{"name": "a", "text": "zzzz"}])
    await bench.settle()
    assert await texts(bench) == before
    assert (await bench.stored())["pending"] == []


@virtual
async def test_readers_see_whole_versions(bench):
    """While a new version is written a reader finds the old one, afterwards the new one."""
    async with bench.runner(index()) as runner:
        await runner.run(documents=DOCUMENTS)
        old = await texts(bench)
        changed = [{"name": "a", "text": "ABCDEFGHIJKL"}, DOCUMENTS[1]]
        writing = asyncio.ensure_future(runner.run(documents=changed))
        seen = []
        while not writing.done():
            seen.append(await texts(bench))
        await writing
    new = await texts(bench)
    assert new != old
    assert len(seen) > 1
    assert all(version in (old, new) for version in seen)
    assert seen[0] == old


@virtual
async def test_publishing_replaces_by_document(bench):
    """A shortened document leaves nothing behind, others stay; writing again changes nothing."""
    await bench.run(index(), documents=DOCUMENTS)
    assert await texts(bench) == ["abcd", "efgh", "ijkl", "mnop", "qrst"]
    await bench.run(index(), documents=[{"name": "a", "text": "wxyz"}])
    assert await texts(bench) == ["mnop", "qrst", "wxyz"]
    await bench.run(index(), documents=[{"name": "a", "text": "wxyz"}])
    assert await texts(bench) == ["mnop", "qrst", "wxyz"]


@virtual
async def test_a_publication_that_fails_is_the_modules_error(bench):
    """The store refuses the last step: the error says so, and nothing is left."""

    def refuse(spy):
        async def on_control(command):
            if command == "publish":
                raise ValueError("read-only")

        if spy.kind == "store":
            spy.on_control = on_control

    bench.prepared.append(refuse)
    with pytest.raises(ModuleError, match="read-only") as caught:
        await bench.run(index(), documents=DOCUMENTS)
    assert caught.value.place.primitive == "i.ingest"
    await bench.settle()
    assert await bench.stored() == {"collections": {}, "pending": []}


@virtual
async def test_a_query_cancelled_while_it_publishes_leaves_no_unnamed_collection(bench):
    """However late it is cancelled, what nobody can reach is dropped."""

    def slow(spy):
        async def on_control(command):
            if command == "publish":
                await pass_time(5)

        if spy.kind == "store":
            spy.on_control = on_control

    bench.prepared.append(slow)
    async with bench.runner(index(name=""), share=False) as runner:
        running = asyncio.ensure_future(runner.run(documents=DOCUMENTS))
        await pass_time(3)
        assert [command for command, _ in bench.spy("store").commands] == ["publish"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await pass_time(10)
    assert await bench.stored() == {"collections": {}, "pending": []}


@virtual
async def test_a_reader_after_a_writer_sees_its_version(bench):
    """Within one query the order of the chain holds: what follows an index reads what it wrote."""
    source = plan(
        """
        input documents: list<document>
        %c.chunk = chunk documents=%inputs:documents {size = 4, by = "characters"} @c
        %i.embed = embed texts=%c.chunk:chunks {engine = emb} @i
        %i.ingest = ingest chunks=%c.chunk:chunks embeddings=%i.embed:embeddings collection="kb" \
            {engine = store} @i
        %s.embed = embed texts=["abcd"] {engine = emb} @s
        %s.search = search embeddings=%s.embed:embeddings collection="kb" top_k=9 {engine = \
            store} @s
        effect %i.ingest -> %s.search
        output hits: list<list<passage>> = %s.search:hits
        """,
        emb={"latency_ms": 5000, "batch_size": 1},
    )
    result = await bench.run(source, documents=DOCUMENTS)
    assert len(result["hits"][0]) == COUNT


RAG = """
    input documents: list<document>
    input q: text
    %c.chunk = chunk documents=%inputs:documents {size = 4, by = "characters"} @c
    %i.embed = embed texts=%c.chunk:chunks {engine = emb} @i
    %i.ingest = ingest chunks=%c.chunk:chunks embeddings=%i.embed:embeddings {engine = store} @i
    %w.prefill = prefill q=%inputs:q {engine = llm, messages = [{"role": "user", "template": \
        "{{ q }}"}], sampling = {"max_tokens": 64}} @w
    %w.decode = decode state=%w.prefill:state {engine = llm} @w
    %s.wrap = wrap value=%w.decode:text @s
    %s.embed = embed texts=%s.wrap:items {engine = emb} @s
    %s.search = search embeddings=%s.embed:embeddings collection=%i.ingest:collection top_k=2 \
        {engine = store} @s
    output hits: list<list<passage>> = %s.search:hits
"""


def rag():
    return plan(RAG, llm={"latency_ms": 1000}, store={"latency_ms": 10})


@pytest.mark.parametrize("share", [True, False])
@virtual
async def test_a_handle_from_before_a_restart_is_lost(bench, share):
    """The store dies between ingest and search: `StateLost`, never an answer from nothing."""
    async with bench.runner(rag(), share=share) as runner:
        running = asyncio.ensure_future(runner.run(documents=DOCUMENTS, q="q"))
        await pass_time(1.5)
        bench.spy("store").die()
        with pytest.raises(StateLost, match="store") as caught:
            await running
        assert caught.value.place.module == "s"
        assert caught.value.place.engine == "store"
    assert [made.operation for made in bench.spy("store").calls] == ["ingest"]


@virtual
async def test_the_next_query_indexes_again(bench):
    """A collection that was kept for later queries and lost is not reused; the next query works."""
    async with bench.runner(rag()) as runner:
        before = await runner.run(documents=DOCUMENTS, q="q")
        bench.spy("store").die()
        await bench.settle()
        after = await runner.run(documents=DOCUMENTS, q="q")
    assert after.outputs == before.outputs
    assert len(bench.spy("store").items("ingest")) == 2 * COUNT


@virtual
async def test_a_query_that_runs_while_the_store_is_away_waits_for_it(bench):
    """A query that comes after a death waits for the restart."""
    async with bench.runner(rag()) as runner:
        await runner.run(documents=DOCUMENTS, q="q")
        spy = bench.spy("store")
        spy.start_s = 30
        spy.die()
        await pass_time(0.1)
        result = await runner.run(documents=DOCUMENTS, q="q")
    assert len(result["hits"][0]) == 2


@virtual
async def test_an_ingest_that_a_restart_cuts_in_two_is_lost(bench):
    """Groups written before the death are gone: the rest alone is never published."""
    settings = ', retry = {"max": 3, "initial_s": 0.1}'
    source = index(name="", settings=settings, emb=ONE_A_SECOND)
    async with bench.runner(source) as runner:
        running = asyncio.ensure_future(runner.run(documents=DOCUMENTS))
        await pass_time(3.5)
        assert bench.spy("store").calls
        bench.spy("store").die()
        with pytest.raises(StateLost):
            await running
    await bench.settle()
    assert await bench.stored() == {"collections": {}, "pending": []}


@virtual
async def test_an_engine_that_keeps_dying_is_refused(bench):
    """Repeated deaths end in a clear error, at once, while nobody can wait for a restart."""
    async with bench.runner(rag()) as runner:
        await runner.run(documents=DOCUMENTS, q="q")
        spy = bench.spy("store")
        for _ in range(4):
            spy.die("out of memory")
            await pass_time(5)
        assert not spy.alive
        with pytest.raises(ModuleError, match="out of memory"):
            await runner.run(documents=DOCUMENTS, q="other")


WORKFLOW = """
teola: 1
name: kept
inputs: {documents: list<document>}
engines:
  embedder: {kind: embedder, backend: fake}
  store: {kind: store, backend: fake}
modules:
  chunks:
    uses: chunk
    inputs: {documents: inputs.documents}
    with: {size: 4, overlap: 0, by: characters}
  indexed:
    uses: index
    inputs: {chunks: chunks.chunks}
    with: {collection: kb}
  found:
    uses: search
    inputs: {collection: indexed.collection}
    with: {query: abcd, top_k: 9}
outputs: {found: found.passages}
"""


@pytest.mark.parametrize("level", ["O0", "O1"])
def test_a_document_that_became_empty_leaves_nothing_behind(tmp_path, level):
    """Guarantee 5: publishing replaces by document, one without any chunk too."""
    file = tmp_path / "kept.yaml"
    file.write_text(WORKFLOW, encoding="utf-8")
    source = compile_workflow(file, level=level)

    @virtual
    async def run(bench):
        first = await bench.run(source, documents=DOCUMENTS)
        assert {passage["document"] for passage in first["found"]} == {"a", "b"}
        emptied = [{"name": "a", "text": ""}]
        second = await bench.run(source, documents=emptied)
        assert {passage["document"] for passage in second["found"]} == {"b"}

    run()
