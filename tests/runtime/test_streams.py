"""Streams: items flow before lists are whole, and nothing depends on when they come."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.runtime.engines.fakes.embedder import embed
from teola.runtime.engines.fakes.reranker import score
from teola.runtime.errors import ModuleError
from teola.runtime.events import ItemAdded
from tests.runtime.workbench import call, plan, reply, result_of, virtual

SIZES = (1, 3, 100)
LENGTHS = (0, 1, 2, 3, 7, 200)


def texts(count):
    return [f"text {index}" for index in range(count)]


def passages(count):
    return [
        {"id": f"p{index}", "text": f"passage {index}", "document": "d", "index": index}
        for index in range(count)
    ]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("size", SIZES)
@virtual
async def test_a_map_over_a_stream_is_the_map_over_the_whole(bench, size, length):
    """Groups of any size give what the whole list gives, in index order."""
    streamed = plan(f"""
        input passages: list<passage>
        %s.score = score passages=~%inputs:passages query="q" {{engine = rr, group = {size}}} @s
        output passages: list<passage> = %s.score:passages
    """)
    result = await bench.run(streamed, passages=passages(length))
    assert [item["score"] for item in result["passages"]] == [
        score("q", item["text"]) for item in passages(length)
    ]
    assert [item["id"] for item in result["passages"]] == [p["id"] for p in passages(length)]


@pytest.mark.parametrize(("length", "groups"), [(0, []), (1, [1]), (6, [3, 3]), (7, [3, 3, 1])])
@virtual
async def test_groups_are_cut_by_index(bench, length, groups):
    """Group g takes the items [gk, (g+1)k); the last one takes what is left."""
    streamed = plan("""
        input texts: list<text>
        %e.embed = embed texts=~%inputs:texts {engine = emb, group = 3} @e
        output vectors: list<embedding> = %e.embed:embeddings
    """)
    result = await bench.run(streamed, texts=texts(length))
    await bench.settle()
    sizes = [size for made in bench.spy("embedder").calls for size in made.sizes]
    assert sizes == groups
    expected = [list(embed([text], 32)[0]) for text in texts(length)]
    assert [list(vector) for vector in result["vectors"]] == expected


@virtual
async def test_groups_of_one_primitive_share_a_batch(bench):
    """The engine's batch is formed by its scheduler, not by the groups."""
    streamed = plan(
        """
        input texts: list<text>
        %e.embed = embed texts=~%inputs:texts {engine = emb, group = 2} @e
        output vectors: list<embedding> = %e.embed:embeddings
        """,
        emb={"batch_size": 4},
    )
    await bench.run(streamed, texts=texts(8))
    assert [made.sizes for made in bench.spy("embedder").calls] == [(2, 2), (2, 2)]


@virtual
async def test_single_items_that_are_there_together_go_together(bench):
    """As many as its engine takes at once: what comes after them waits for no second batch."""
    streamed = plan(
        """
        input texts: list<text>
        %e.embed = embed texts=~%inputs:texts {engine = emb, group = 1} @e
        output vectors: list<embedding> = %e.embed:embeddings
        """,
        emb={"batch_size": 4},
    )
    await bench.run(streamed, texts=texts(6))
    assert [made.sizes for made in bench.spy("embedder").calls] == [(4,), (2,)]


@virtual
async def test_what_comes_back_in_one_batch_goes_on_together(bench):
    """Three groups are one batch, so what comes after them takes all of their items at once."""
    streamed = plan("""
        input passages: list<passage>
        %s.score = score passages=~%inputs:passages query="q" {engine = rr, group = 2} @s
        %t.score = score passages=~%s.score:passages query="r" {engine = rr, group = 1} @t
        output passages: list<passage> = %t.score:passages
    """)
    await bench.run(streamed, passages=passages(6))
    assert [made.sizes for made in bench.spy("reranker").calls] == [(2, 2, 2), (6,)]


INDEX = """
    input documents: list<document>
    %c.chunk = chunk documents={c}%inputs:documents {{{cg}size = 5, by = "characters"}} @c
    %i.embed = embed texts={e}%c.chunk:chunks {{{eg}engine = emb}} @i
    %i.ingest = ingest chunks={i}%c.chunk:chunks embeddings={i}%i.embed:embeddings {{{ig}engine \
        = store}} @i
    %q.embed = embed texts=["what", "where"] {{engine = emb}} @q
    %q.search = search embeddings=%q.embed:embeddings collection=%i.ingest:collection top_k=3 \
        {{engine = store}} @q
    output hits: list<list<passage>> = %q.search:hits
    output count: int = %i.ingest:count
"""


def indexing(chunk=None, embed=None, ingest=None):
    """Index documents and search them; a number makes the primitive's inputs streams of groups."""
    groups = {"c": chunk, "e": embed, "i": ingest}
    marks = {name: "~" if size else "" for name, size in groups.items()}
    marks |= {f"{name}g": f"group = {size}, " if size else "" for name, size in groups.items()}
    return plan(INDEX.format(**marks))


def documents(*lengths):
    return [
        {"name": f"d{index}", "text": "".join(chr(97 + (index + at) % 26) for at in range(length))}
        for index, length in enumerate(lengths)
    ]


@pytest.mark.parametrize(
    "groups", [(1, 1, 1), (2, 3, 4), (1, 100, 3), (None, 2, 5), (3, None, 2), (2, 2, None)]
)
@pytest.mark.parametrize("lengths", [(), (3,), (0, 12, 7), (40, 1, 23, 9)])
@virtual
async def test_inputs_cut_differently_upstream_line_up(bench, groups, lengths):
    """Chunks and their embeddings meet by index, however each was cut before."""
    given_documents = documents(*lengths)
    whole = await bench.run(indexing(), share=False, documents=given_documents)
    streamed = await bench.run(indexing(*groups), share=False, documents=given_documents)
    assert streamed.outputs == whole.outputs
    assert streamed["count"] == sum(-(-length // 5) for length in lengths)


@virtual
async def test_the_empty_list_is_a_stream_of_no_groups(bench):
    """Its gathers give the empty result and its effects are complete."""
    result = await bench.run(indexing(2, 2, 2), documents=[])
    assert result["count"] == 0
    assert result["hits"] == [[], []]


@virtual
async def test_an_empty_stream_waits_for_its_engine_to_start(bench):
    """An ingest of no groups is published even where the store is the last to start."""
    bench.prepared.append(lambda spy: setattr(spy, "start_s", 9 if spy.kind == "store" else 0))
    result = await bench.run(indexing(2, 2, 2), documents=[])
    assert result["count"] == 0


MISMATCH = """
    input chunks: list<chunk>
    input texts: list<text>
    %e.embed = embed texts={mark}%inputs:texts {{{g}engine = emb}} @e
    %i.ingest = ingest chunks={mark}%inputs:chunks embeddings={mark}%e.embed:embeddings \
        {{{g}engine = store}} @i
    output count: int = %i.ingest:count
"""


@pytest.mark.parametrize(("mark", "group"), [("~", "group = 2, "), ("", "")])
@pytest.mark.parametrize(("chunks", "others"), [(3, 4), (5, 1), (0, 2), (8, 7)])
@virtual
async def test_lists_of_two_lengths_are_an_error(bench, mark, group, chunks, others):
    """`length-mismatch` names both lengths and the module; nothing is published."""
    source = plan(MISMATCH.format(mark=mark, g=group))
    with pytest.raises(ModuleError, match="length-mismatch") as caught:
        await bench.run(source, chunks=passages(chunks), texts=texts(others))
    assert str(chunks) in caught.value.cause
    assert str(others) in caught.value.cause
    assert caught.value.place.module == "i"
    await bench.settle()
    assert await bench.stored() == {"collections": {}, "pending": []}


@virtual
async def test_a_producer_runs_once_whatever_its_consumers_want(bench):
    """One list, taken whole by one consumer and as a stream by two others, is computed once."""
    mixed = plan("""
        input documents: list<document>
        %c.chunk = chunk documents=~%inputs:documents {group = 1, size = 4, by = "characters"} @c
        %i.embed = embed texts=~%c.chunk:chunks {group = 2, engine = emb} @i
        %i.ingest = ingest chunks=~%c.chunk:chunks embeddings=~%i.embed:embeddings {group = 3, \
            engine = store} @i
        %s.search = search embeddings=%i.embed:embeddings collection=%i.ingest:collection \
            top_k=1 {engine = store} @s
        %t.take = take items=~%i.embed:embeddings {group = 1, count = 2} @t
        output hits: list<list<passage>> = %s.search:hits
        output first: list<embedding> = %t.take:items
    """)
    result = await bench.run(mixed, documents=documents(10, 9))
    assert len(bench.spy("embedder").items("embed")) == 6
    assert [found[0]["text"] for found in result["hits"]] == [
        chunk["text"] for chunk, _ in bench.spy("store").items("ingest")
    ]
    assert len(result["first"]) == 2


@virtual
async def test_equal_items_of_a_stream_are_computed_once(bench):
    """A text that comes again in a later group is not embedded again."""
    streamed = plan("""
        input texts: list<text>
        %e.embed = embed texts=~%inputs:texts {engine = emb, group = 2} @e
        output vectors: list<embedding> = %e.embed:embeddings
    """)
    given_texts = ["a", "b", "a", "a", "b", "c", "c"]
    result = await bench.run(streamed, texts=given_texts)
    assert bench.spy("embedder").items("embed") == ["a", "b", "c"]
    assert np.array_equal(np.array(result["vectors"]), embed(given_texts, 32))


LINES = call(
    "d",
    "list {{ q }}",
    "q=%inputs:q",
    decode='{engine = llm, output = {"shape": "lines"}}',
)


@virtual
async def test_items_of_a_decode_leave_before_it_ends(bench):
    """Each line is embedded as soon as its line end is decoded."""
    streamed = plan(
        f"""
        input q: text
        {LINES}
        %e.embed = embed texts=~%d.decode:lines {{engine = emb, group = 1}} @e
        output lines: list<text> = %d.decode:lines
        output vectors: list<embedding> = %e.embed:embeddings
        """,
        llm={"latency_ms": 1000},
    )
    events = await bench.events(streamed, q="things")
    lines = reply("list things").splitlines()
    added = [(at, event.value) for at, event in events if isinstance(event, ItemAdded)]
    added = [(at, value) for at, value in added if isinstance(value, str)]
    assert [value for _, value in added] == lines
    ends = [entry.ended_s for entry in result_of(events).timeline if entry.primitive == "d.decode"]
    assert [made.at_s for made in bench.spy("embedder").calls] == [at for at, _ in added]
    step_of_line_end = np.cumsum([len(f"{line}\n".encode()) for line in lines]) + 15
    assert [at for at, _ in added] == [end // 16 for end in step_of_line_end]
    assert added[0][0] < ends[0]


@virtual
async def test_whole_lines_leave_when_the_decode_ends(bench):
    """Without a stream edge the same list is embedded in one go, at the end."""
    whole = plan(
        f"""
        input q: text
        {LINES}
        %e.embed = embed texts=%d.decode:lines {{engine = emb}} @e
        output vectors: list<embedding> = %e.embed:embeddings
        """,
        llm={"latency_ms": 1000},
    )
    result = await bench.run(whole, q="things")
    (end,) = [entry.ended_s for entry in result.timeline if entry.primitive == "d.decode"]
    assert [made.at_s for made in bench.spy("embedder").calls] == [end]


@pytest.mark.parametrize("late", ["a", "b"])
@virtual
async def test_concat_keeps_written_order_and_passes_on_what_is_decided(bench, late):
    """A first input that is there leaves at once; one that is late holds back those after it."""
    early = "%inputs:here"
    operands = {"a": early, "b": early} | {late: "~%d.decode:lines"}
    streamed = plan(
        f"""
        input q: text
        input here: list<text>
        {LINES}
        %x.concat = concat a={operands["a"]} b={operands["b"]} {{group = 1}} @x
        %e.embed = embed texts=~%x.concat:items {{engine = emb, group = 1}} @e
        output all: list<text> = %x.concat:items
        output vectors: list<embedding> = %e.embed:embeddings
        """,
        llm={"latency_ms": 1000},
    )
    here = ["one", "two"]
    events = await bench.events(streamed, q="things", here=here)
    lines = reply("list things").splitlines()
    expected = [*lines, *here] if late == "a" else [*here, *lines]
    assert result_of(events)["all"] == expected
    first = bench.spy("embedder").calls[0]
    assert first.items[0] == expected[0]
    assert first.at_s == (0 if late == "b" else 2)


SCANS = {
    "distinct": ("distinct items={m}%inputs:xs {{{g}}}", lambda xs: list(dict.fromkeys(xs))),
    "take": ("take items={m}%inputs:xs {{{g}, start = 1, count = 3}}", lambda xs: xs[1:4]),
    "rest": ("take items={m}%inputs:xs {{{g}, start = 2}}", lambda xs: xs[2:]),
    "counted": ("take items={m}%inputs:xs count=%inputs:n {{{g}}}", lambda xs: xs[:2]),
    "windows": (
        "windows items={m}%inputs:xs {{{g}, size = 2}}",
        lambda xs: [xs[at : at + 2] for at in range(0, len(xs), 2)],
    ),
    "kept": (
        "windows items={m}%inputs:xs {{{g}, size = 3, keep_empty = true}}",
        lambda xs: [xs[at : at + 3] for at in range(0, len(xs), 3)] or [[]],
    ),
}


@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize("length", [0, 1, 2, 5, 6])
@pytest.mark.parametrize("stream", [False, True])
@virtual
async def test_scans_give_what_their_definition_says(bench, name, length, stream):
    """Whole or as a stream: one list, one result."""
    form, reference = SCANS[name]
    words = form.format(m="~" if stream else "", g="group = 2" if stream else "unused = 0")
    port = "windows" if words.startswith("windows") else "items"
    source = plan(f"""
        input xs: list<text>
        input n: int = 2
        %s.scan = {words} @s
        output out: list<text> = %s.scan:{port}
    """)
    xs = ["b", "a", "b", "c", "a", "b"][:length]
    assert (await bench.run(source, xs=xs))["out"] == reference(xs)


latencies = st.integers(0, 9)


@given(
    sizes=st.lists(st.integers(1, 4), min_size=3, max_size=3),
    delays=st.lists(latencies, min_size=8, max_size=8),
)
def test_the_answer_does_not_depend_on_timing(sizes, delays):
    """Latencies of engines and batches change when results come, never what they are."""

    @virtual
    async def run(bench):
        source = plan(
            f"""
            input documents: list<document>
            input q: text
            %c.chunk = chunk documents=~%inputs:documents {{group = 1, size = 6, by = \
                "characters"}} @c
            %i.embed = embed texts=~%c.chunk:chunks {{group = {sizes[0]}, engine = emb}} @i
            %i.ingest = ingest chunks=~%c.chunk:chunks embeddings=~%i.embed:embeddings {{group = \
                {sizes[1]}, engine = store}} @i
            %s.search = search embeddings=%i.embed:embeddings collection=%i.ingest:collection \
                top_k=2 {{engine = store}} @s
            %s.flatten = flatten items=~%s.search:hits {{group = 1}} @s
            %s.distinct = distinct items=~%s.flatten:items {{group = 1}} @s
            %r.score = score passages=~%s.distinct:items query=%inputs:q {{group = {sizes[2]}, \
                engine = rr}} @r
            %r.top = top items=%r.score:passages count=4 @r
            output best: list<passage> = %r.top:items
            output count: int = %i.ingest:count
            """,
            emb={"latency_ms": delays[0], "per_item_ms": delays[1], "batch_size": 1 + delays[2]},
            store={"latency_ms": delays[3], "per_item_ms": delays[4]},
            rr={"latency_ms": delays[5], "per_item_ms": delays[6], "batch_size": 1 + delays[7]},
        )
        results.append((await bench.run(source, documents=documents(31, 17), q="x")).outputs)

    results = []
    run()
    delays[:] = [0] * 8
    sizes[:] = [1] * 3
    run()
    assert results[0] == results[1]


@virtual
async def test_counts_add_up_and_a_handle_leaves_with_the_last_group(bench):
    """`count` is the sum of all groups; the collection is there only when every group is in."""
    source = plan(
        """
        input documents: list<document>
        %c.chunk = chunk documents=%inputs:documents {size = 4, by = "characters"} @c
        %i.embed = embed texts=~%c.chunk:chunks {group = 1, engine = emb} @i
        %i.ingest = ingest chunks=~%c.chunk:chunks embeddings=~%i.embed:embeddings {group = 1, \
            engine = store} @i
        %s.search = search embeddings=%i.embed:embeddings collection=%i.ingest:collection \
            top_k=9 {engine = store} @s
        output count: int = %i.ingest:count
        output hits: list<list<passage>> = %s.search:hits
        """,
        emb={"latency_ms": 1000, "batch_size": 1},
    )
    result = await bench.run(source, documents=documents(17))
    assert result["count"] == 5
    assert {len(found) for found in result["hits"]} == {5}
    calls = bench.spy("store").calls
    assert [made.at_s for made in calls if made.operation == "ingest"] == [1, 2, 3, 4, 5]
    assert [made.at_s for made in calls if made.operation == "search"] == [5]
