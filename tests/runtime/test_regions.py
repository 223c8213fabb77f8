"""Regions: a body for each item, one after another, or level by level until one is left."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.runtime.engines.fakes.reranker import score
from teola.runtime.errors import ModuleError
from teola.runtime.events import ItemAdded, TextDelta
from teola.runtime.instance import query as query_module
from tests.runtime.workbench import call, plan, reply, result_of, virtual

LENGTHS = (0, 1, 2, 3, 7)


def items(count):
    return [f"item {index}" for index in range(count)]


def each(stream=False, **engines):
    """Each item is asked about; the list of answers."""
    return plan(
        f"""
        input xs: list<text>
        input q: text
        %r.each = each items={"~" if stream else ""}%inputs:xs {{}} -> text=%r.ask.decode:text @r [
            {call("r.ask", "{{ q }} {{ x }} {{ n }}", "q=%inputs:q x=%r.each:item n=%r.each:index")}
        ]
        output out: list<text> = %r.each:text
        """,
        **engines,
    )


def fold(stream=False, **engines):
    """Each item changes the text before it."""
    values = "s=%r.fold:state x=%r.fold:item n=%r.fold:index"
    return plan(
        f"""
        input xs: list<text>
        input q: text
        {call("r.first", "start {{ q }}", "q=%inputs:q")}
        %r.fold = fold items={"~" if stream else ""}%inputs:xs initial=%r.first.decode:text {{}} \
            -> text=%r.next.decode:text @r [
            {call("r.next", "{{ s }}/{{ x }}/{{ n }}", values)}
        ]
        output out: text = %r.fold:text
        """,
        **engines,
    )


def reduce(fan_in=2, **engines):
    """Texts become one."""
    values = "level=%r.tree:level n=%r.tree:index xs=%r.tree:items"
    return plan(
        f"""
        input xs: list<text>
        %r.tree = reduce items=%inputs:xs {{fan_in = {fan_in}}} -> text=%r.join.decode:text @r [
            {call("r.join", "{{ level }}.{{ n }}: {{ xs | join(',') }}", values)}
        ]
        output out: text = %r.tree:text
        """,
        **engines,
    )


def each_reference(xs, q):
    return [reply(f"{q} {x} {index}") for index, x in enumerate(xs)]


def fold_reference(xs, q):
    state = reply(f"start {q}")
    for index, x in enumerate(xs):
        state = reply(f"{state}/{x}/{index}")
    return state


def reduce_reference(xs, fan_in):
    level = 0
    while len(xs) > 1:
        parts = [xs[at : at + fan_in] for at in range(0, len(xs), fan_in)]
        xs = [
            part[0] if len(part) == 1 else reply(f"{level}.{index}: {','.join(part)}")
            for index, part in enumerate(parts)
        ]
        level += 1
    return xs[0] if xs else ""


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("stream", [False, True])
@virtual
async def test_each_gives_a_list_in_item_order(bench, length, stream):
    """An each region is the list of its bodies' results."""
    xs = items(length)
    result = await bench.run(each(stream), xs=xs, q="why")
    assert result["out"] == each_reference(xs, "why")
    assert result.usage.requests == length


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("stream", [False, True])
@virtual
async def test_fold_hands_each_result_to_the_next(bench, length, stream):
    """Iteration i sees item i and text i - 1; without items the initial is left."""
    xs = items(length)
    result = await bench.run(fold(stream), xs=xs, q="why")
    assert result["out"] == fold_reference(xs, "why")
    assert result.usage.requests == length + 1


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("fan_in", [2, 3, 10])
@virtual
async def test_reduce_combines_until_one_is_left(bench, length, fan_in):
    """`fan_in` texts become one, a lone rest passes through, of nothing comes the empty text."""
    xs = items(length)
    result = await bench.run(reduce(fan_in), xs=xs)
    assert result["out"] == reduce_reference(xs, fan_in)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("make", [fold, reduce])
@virtual
async def test_the_deltas_of_a_text_add_up_to_its_value(bench, length, make):
    """Whatever way a region's text comes about, a reader of deltas gets all of it, once."""
    inputs = {"xs": items(length)} | ({"q": "why"} if make is fold else {})
    events = await bench.events(make(llm={"latency_ms": 10}), **inputs)
    deltas = [event.text for _, event in events if isinstance(event, TextDelta)]
    assert "".join(deltas) == result_of(events)["out"]


@pytest.mark.parametrize("make", [fold, reduce])
@virtual
async def test_the_last_text_leaves_while_it_is_decoded(bench, make):
    """The last call of a fold or reduce streams, as any other call would."""
    inputs = {"xs": items(3)} | ({"q": "why"} if make is fold else {})
    events = await bench.events(make(llm={"latency_ms": 1000}), **inputs)
    times = [at for at, event in events if isinstance(event, TextDelta)]
    assert len(times) > 2
    assert times == list(range(int(times[0]), int(times[0]) + len(times)))
    assert times[-1] == events[-1][0]


@virtual
async def test_items_of_an_each_region_leave_as_they_come(bench):
    """What is next in order is passed on; a quick later item waits for a slow earlier one."""
    source = each(llm={"latency_ms": 1000, "max_requests": 1})
    events = await bench.events(source, xs=items(3), q="why")
    added = [(at, event.index) for at, event in events if isinstance(event, ItemAdded)]
    assert [index for _, index in added] == [0, 1, 2]
    assert added[0][0] < added[1][0] < added[2][0]


@virtual
async def test_paths_name_level_and_index(bench):
    """An instance is named by its primitive and the path of its regions."""
    xs = items(3)
    paths = {}
    for name, source in {"each": each(), "fold": fold(), "reduce": reduce()}.items():
        inputs = {"xs": xs} | ({} if name == "reduce" else {"q": "why"})
        result = await bench.run(source, **inputs)
        paths[name] = sorted(entry.path for entry in result.timeline if entry.path)
    assert paths["each"] == [("r.each[0]",), ("r.each[1]",), ("r.each[2]",)]
    assert paths["fold"] == [("r.fold[0]",), ("r.fold[1]",), ("r.fold[2]",)]
    assert paths["reduce"] == [("r.tree[0.0]",), ("r.tree[1.0]",)]


INNER = "q=%inputs:q s=%o.fold:state x=%o.fold:item n=%o.each:index"
NESTED = f"""
    input xs: list<text>
    input q: text
    %w.windows = windows items=%inputs:xs {{size = 2}} @w
    %o.each = each items=%w.windows:windows {{}} -> text=%o.fold:text @o [
        {call("o.first", "{{ n }}", "n=%o.each:index")}
        %o.fold = fold items=%o.each:item initial=%o.first.decode:text {{}} -> \
            text=%o.next.decode:text @o [
            {call("o.next", "{{ q }} {{ s }} {{ x }} {{ n }}", INNER)}
        ]
    ]
    output out: list<text> = %o.each:text
"""


@pytest.mark.parametrize("length", LENGTHS)
@virtual
async def test_regions_nest(bench, length):
    """A body may hold regions; it sees the names bound around it."""
    xs = items(length)
    result = await bench.run(plan(NESTED), xs=xs, q="why")
    expected = []
    for number, pair in enumerate(xs[at : at + 2] for at in range(0, length, 2)):
        state = reply(str(number))
        for x in pair:
            state = reply(f"why {state} {x} {number}")
        expected.append(state)
    assert result["out"] == expected
    inner = {entry.path for entry in result.timeline if len(entry.path) == 2}
    assert inner == {(f"o.each[{at // 2}]", f"o.fold[{at % 2}]") for at in range(length)}


@virtual
async def test_a_region_feeds_streams_and_takes_them(bench):
    """A region's list is a producer like any other: its items flow on one by one."""
    source = plan(
        f"""
        input xs: list<text>
        %r.take = take items=~%inputs:xs {{group = 1, start = 0}} @r
        %r.each = each items=~%r.take:items {{}} -> text=%r.ask.decode:text @r [
            {call("r.ask", "{{ x }}", "x=%r.each:item")}
        ]
        %e.embed = embed texts=~%r.each:text {{engine = emb, group = 1}} @e
        output out: list<embedding> = %e.embed:embeddings
        """,
        llm={"latency_ms": 1000, "max_requests": 1},
    )
    await bench.run(source, xs=items(3))
    assert bench.spy("embedder").items("embed") == [reply(x) for x in items(3)]
    assert len({made.at_s for made in bench.spy("embedder").calls}) == 3


@virtual
async def test_a_body_is_more_than_calls(bench):
    """Any primitive may stand in a body; a map over a bound list works as at the top."""
    source = plan("""
        input xs: list<passage>
        input qs: list<text>
        %r.each = each items=%inputs:qs {} -> best=%r.top:items scored=%r.score:passages @r [
            %r.score = score passages=%inputs:xs query=%r.each:item {engine = rr} @r
            %r.top = top items=%r.score:passages count=1 @r
        ]
        output best: list<list<passage>> = %r.each:best
        output all: list<list<passage>> = %r.each:scored
    """)
    xs = [{"id": f"p{n}", "text": f"passage {n}", "document": "d"} for n in range(5)]
    result = await bench.run(source, xs=xs, qs=["a", "b"])
    for query, best, scored in zip("ab", result["best"], result["all"], strict=True):
        scores = [score(query, x["text"]) for x in xs]
        assert [x["score"] for x in scored] == scores
        assert best[0]["score"] == max(scores)


@virtual
async def test_concurrency_bounds_what_is_alive(bench):
    """At most `concurrency` items of an each region run at once."""
    text = """
        input xs: list<text>
        %r.each = each items=%inputs:xs {{concurrency = 2}} -> text=%r.ask.decode:text @r [
            {}
        ]
        output out: list<text> = %r.each:text
    """
    source = plan(text.format(call("r.ask", "{{ x }}", "x=%r.each:item")), llm={"latency_ms": 1000})
    result = await bench.run(source, xs=items(5))
    assert result["out"] == [reply(x) for x in items(5)]
    changes = sorted(
        [(entry.started_s, 1) for entry in result.timeline if entry.path]
        + [(entry.ended_s, -1) for entry in result.timeline if entry.path]
    )
    alive = [sum(change for _, change in changes[: at + 1]) for at in range(len(changes))]
    assert max(alive) == 2


@virtual
async def test_the_first_failing_item_cancels_the_rest(bench):
    """One item's error is the region's; the other calls are aborted."""

    bench.prepared.append(lambda spy: spy.spoil(1, message="this one is spoilt"))
    with pytest.raises(ModuleError, match="this one is spoilt") as caught:
        await bench.run(each(llm={"latency_ms": 1000}), xs=items(4), q="why")
    await bench.settle()
    assert caught.value.place.primitive == "r.ask.decode"
    spy = bench.spy("llm")
    assert {spy.submitted[index].id for index in (0, 2, 3)} <= set(spy.aborted)


@pytest.mark.parametrize("concurrency", [1, 64])
@virtual
async def test_too_many_instances_are_an_error(bench, concurrency, monkeypatch):
    """A query past the limit of instances ends with an error that says so."""
    monkeypatch.setattr(query_module, "MAX_INSTANCES", 10)
    source = plan(f"""
        input xs: list<text>
        %r.each = each items=%inputs:xs {{concurrency = {concurrency}}} -> out=%r.wrap:items @r [
            %r.wrap = wrap value=%r.each:item @r
        ]
        output out: list<list<text>> = %r.each:out
    """)
    with pytest.raises(ModuleError, match="10 instances"):
        await bench.run(source, xs=items(30))


@virtual
async def test_a_result_may_walk_into_a_record(bench):
    """A region's result is a reference like any other: `.field` is followed."""
    source = plan("""
        input xs: list<passage>
        %r.each = each items=%inputs:xs {} -> text=%r.cast:value.text @r [
            %r.cast = cast value=%r.each:item.text {from = "text", to = "passage"} @r
        ]
        output out: list<text> = %r.each:text
    """)
    result = await bench.run(source, xs=[{"id": "a", "text": "one"}, {"id": "b", "text": "two"}])
    assert result["out"] == ["one", "two"]


@virtual
async def test_equal_iterations_are_computed_once(bench):
    """Two items with equal content ask the engine once."""
    source = plan(f"""
        input xs: list<text>
        %r.windows = windows items=%inputs:xs {{size = 1}} @r
        %r.each = each items=%inputs:xs {{}} -> text=%r.ask.decode:text @r [
            {call("r.ask", "{{ q }}", "q=%inputs:q")}
        ]
        input q: text
        output out: list<text> = %r.each:text
    """)
    result = await bench.run(source, xs=items(4), q="why")
    assert result["out"] == [reply("why")] * 4
    assert len(bench.spy("llm").submitted) == 1


@given(
    xs=st.lists(st.text("abc", max_size=3), max_size=6),
    slots=st.integers(1, 4),
    latency=st.integers(0, 3),
    prompt=st.integers(0, 2),
)
def test_results_do_not_depend_on_timing(xs, slots, latency, prompt):
    """Many calls at once or one, quick or slow: the references hold."""

    @virtual
    async def run(bench):
        engine = {"llm": {"max_requests": slots, "latency_ms": latency, "per_token_ms": prompt}}
        assert (await bench.run(each(**engine), xs=xs, q="w"))["out"] == each_reference(xs, "w")
        assert (await bench.run(fold(**engine), xs=xs, q="w"))["out"] == fold_reference(xs, "w")
        assert (await bench.run(reduce(**engine), xs=xs))["out"] == reduce_reference(xs, 2)

    run()
