"""Inputs are checked before anything runs: the name, what was expected, what came."""

import asyncio

import pytest

from teola.runtime.errors import InputError
from teola.runtime.inputs import INLINE_CHARACTERS, INLINE_TEXTS
from tests.runtime.workbench import plan, virtual

PORTS = {
    "text": "one",
    "int": 1,
    "float": 1.5,
    "bool": True,
    "json": {"a": [1, None]},
    "document": {"name": "a", "text": "b"},
    "chunk": {"id": "1", "text": "b", "document": "d", "index": 0, "context": "", "meta": {}},
    "passage": {"id": "1", "text": "b", "document": "d", "score": 0.5},
    "message": {"role": "user", "content": "hello"},
    "embedding": [0.5, 1],
    "collection": "kb",
    "list<text>": ["one", "two"],
    "list<int>": [],
    "list<list<text>>": [["one"], []],
    "list<document>": [{"name": "a", "text": "b"}],
}


def source(kind, default=""):
    """A graph with one input and nothing to do with it."""
    return plan(f"""
        input value: {kind}{default}
        %w.wrap = wrap value=1 @w
        output out: list<int> = %w.wrap:items
        output same: {kind} = %inputs:value
    """)


@pytest.mark.parametrize("kind", PORTS)
@virtual
async def test_a_value_of_its_type_is_taken(bench, kind):
    """Every type has values."""
    result = await bench.run(source(kind), value=PORTS[kind])
    if "document" not in kind:
        assert result["same"] == PORTS[kind]


BAD = [
    ("text", 1, "text", "int 1"),
    ("text", None, "text", "null"),
    ("text", ["a"], "text", "list"),
    ("int", 1.5, "int", "float 1.5"),
    ("int", "1", "int", "text '1'"),
    ("int", True, "int", "bool true"),
    ("float", "x", "float", "text 'x'"),
    ("bool", 1, "bool", "int 1"),
    ("json", {1, 2}, "json", "set"),
    ("json", b"bytes", "json", "bytes"),
    ("json", {"a": object()}, "json", "object"),
    ("document", 7, "document", "int"),
    ("document", {"name": "a"}, "document", "text"),
    ("document", {"name": "a", "text": 1}, "document", "int"),
    ("list<document>", [{"name": "a", "text": "b"}, 3], "document", "int"),
    ("chunk", "text", "chunk", "text 'text'"),
    ("chunk", {"id": "1"}, "chunk", "text"),
    ("chunk", {"id": "1", "text": "a", "colour": "red"}, "chunk", "colour"),
    ("passage", {"id": "1", "text": "a", "score": "high"}, "float", "text 'high'"),
    ("message", {"role": "user"}, "message", "content"),
    ("embedding", [1.0, "a"], "embedding", "list"),
    ("embedding", "abc", "embedding", "text"),
    ("collection", 3, "collection", "int 3"),
    ("list<text>", {"a": "b"}, "list<text>", "map"),
    ("list<text>", ["a", 2], "text", "int 2"),
    ("list<list<text>>", [["a"], [1]], "text", "int 1"),
]


@pytest.mark.parametrize(("kind", "value", "expected", "came"), BAD)
@virtual
async def test_a_bad_value_is_refused(bench, kind, value, expected, came):
    """The message names the input, the expected type and what came; nothing has run."""
    async with bench.runner(source(kind)) as runner:
        with pytest.raises(InputError) as caught:
            await runner.run(value=value)
        with pytest.raises(InputError):
            async for _ in runner.stream(value=value):
                pass
    message = str(caught.value)
    assert "'value'" in message
    assert expected in message
    assert came in message
    assert bench.pool.queries == 0


@virtual
async def test_an_unknown_input_names_those_there_are(bench):
    """And the nearest one."""
    with pytest.raises(InputError, match="no input 'valeu'.*value: text.*did you mean 'value'"):
        await bench.run(source("text"), valeu="x")


@virtual
async def test_a_missing_input_is_named_with_its_type(bench):
    """All that are missing at once."""
    two = plan("""
        input one: text
        input two: list<int>
        input three: int = 3
        output out: int = %inputs:three
    """)
    with pytest.raises(InputError, match="'one' .text., 'two' .list<int>."):
        await bench.run(two)


@virtual
async def test_defaults_stand_in(bench):
    """Null is a default, too; a given value goes first."""
    async with bench.runner(source("json", " = null")) as runner:
        assert (await runner.run())["same"] is None
        assert (await runner.run(value=[1]))["same"] == [1]


@pytest.mark.parametrize(
    ("kind", "value", "widened"),
    [
        ("list<text>", "one", ["one"]),
        ("float", 2, 2.0),
        ("list<float>", [1, 2.5], [1.0, 2.5]),
        ("list<list<text>>", "one", [["one"]]),
    ],
)
@virtual
async def test_values_are_widened_like_ports(bench, kind, value, widened):
    """What a port's type would be widened to, a value is: `T` to `list<T>`, int to float."""
    same = (await bench.run(source(kind), value=value))["same"]
    assert same == widened
    assert str(same) == str(widened)


@virtual
async def test_one_text_for_a_list_of_texts_is_one_item(bench):
    """A lone text is one item, not its characters."""
    embed = plan("""
        input texts: list<text>
        %e.embed = embed texts=%inputs:texts {engine = emb} @e
        output vectors: list<embedding> = %e.embed:embeddings
    """)
    await bench.run(embed, texts="hello")
    assert bench.spy("embedder").items("embed") == ["hello"]


@pytest.mark.parametrize("value", ["what it says", {"text": "what it says"}])
@virtual
async def test_a_passage_of_text_alone_can_be_printed(bench, value):
    """A text given for a passage becomes one: a prompt prints its text."""
    ask = plan("""
        input passages: list<passage>
        %a.prefill = prefill ps=%inputs:passages {engine = llm, messages = [{"role": "user", \
            "template": "{% for p in ps %}{{ p }}{% endfor %}"}], sampling = {"max_tokens": 64}} @a
        %a.decode = decode state=%a.prefill:state {engine = llm} @a
        output out: text = %a.decode:text
    """)
    await bench.run(ask, passages=[value])
    assert b"what it says" in bytes(t for t in bench.spy("llm").submitted[0].tokens if t < 256)


@virtual
async def test_a_text_that_becomes_a_passage_can_be_printed(bench):
    """So does a text that a cast or convert makes a passage of."""
    ask = plan("""
        input texts: list<text>
        %a.convert = convert items=%inputs:texts {from = "text", to = "passage"} @a
        %a.prefill = prefill ps=%a.convert:items {engine = llm, messages = [{"role": "user", \
            "template": "{% for p in ps %}{{ p }}{% endfor %}"}], sampling = {"max_tokens": 64}} @a
        %a.decode = decode state=%a.prefill:state {engine = llm} @a
        output out: text = %a.decode:text
    """)
    await bench.run(ask, texts=["what it says"])
    assert b"what it says" in bytes(t for t in bench.spy("llm").submitted[0].tokens if t < 256)


@virtual
async def test_documents_are_read_before_anything_runs(bench, tmp_path):
    """A file that is not there is named, with its input."""
    (tmp_path / "there.txt").write_text("text")
    async with bench.runner(source("list<document>")) as runner:
        with pytest.raises(InputError, match="'value'.*\n.*missing.txt"):
            await runner.run(value=[str(tmp_path / "there.txt"), str(tmp_path / "missing.txt")])


@virtual
async def test_a_document_is_one(bench, tmp_path):
    """A folder of two files is no `document`."""
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("text")
    async with bench.runner(source("document")) as runner:
        with pytest.raises(InputError, match="'value' must be one document.* 2"):
            await runner.run(value=str(tmp_path))


@virtual
async def test_what_the_caller_changes_later_does_not_count(bench):
    """A run has the values that it was given."""
    embed = plan(
        """
        input texts: list<text>
        input q: text
        %w.prefill = prefill q=%inputs:q {engine = llm, messages = [{"role": "user", "template": \
            "{{ q }}"}], sampling = {"max_tokens": 64}} @w
        %w.decode = decode state=%w.prefill:state {engine = llm} @w
        %e.concat = concat a=%w.decode:lines b=%inputs:texts @e
        output out: list<text> = %e.concat:items
        """,
        llm={"latency_ms": 1000},
    )
    given = ["one"]
    async with bench.runner(embed) as runner:
        running = asyncio.ensure_future(runner.run(texts=given, q="q"))
        await bench.settle()
        given.append("two")
        assert (await running)["out"] == ["one"]


@pytest.mark.parametrize(
    ("given", "threads"),
    [
        ([{"name": "a", "text": "b"}], 0),
        ({"name": "a", "text": "b"}, 0),
        ([{"name": "a", "text": "b" * INLINE_CHARACTERS}], 0),
        ([{"name": "a", "text": "b" * (INLINE_CHARACTERS + 1)}], 1),
        ([{"name": str(n), "text": "b"} for n in range(INLINE_TEXTS + 1)], 1),
    ],
    ids=["a list", "one", "a long one", "too long", "too many"],
)
@virtual
async def test_a_few_texts_are_taken_at_once(bench, monkeypatch, given, threads):
    """Those that are given as they are; a thread reads what may take longer."""
    found, real = [], asyncio.to_thread

    def to_thread(*call):
        found.append(call)
        return real(*call)

    monkeypatch.setattr("teola.runtime.inputs.asyncio.to_thread", to_thread)
    await bench.run(source("list<document>"), value=given)
    assert len(found) == threads
