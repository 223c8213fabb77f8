"""The text form of p-graphs: what prints, parses; what does not parse, says where."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from teola.compiler.errors import CompileError
from teola.compiler.graph.pgraph import (
    Const,
    Guard,
    InputPort,
    OutputPort,
    PGraph,
    Primitive,
    Ref,
    Region,
)
from teola.compiler.graph.text import parse_graph, print_graph
from teola.compiler.source import Source
from tests.generators import configs, identifiers, json_values, pgraphs, texts


def parse(text):
    return parse_graph(Source("g.pgraph", text))


def one(**changes):
    """A graph of one primitive."""
    node = Primitive("a.take", "take", **{"inputs": {"items": Ref("inputs", "xs")}, **changes})
    return PGraph("g", (InputPort("xs", "list<text>"),), (), (node,))


@given(pgraphs())
def test_what_prints_parses(graph):
    """`parse(print(g)) == g`, and printing again gives the same text."""
    text = print_graph(graph)
    assert parse(text) == graph
    assert print_graph(parse(text)) == text


@given(st.lists(identifiers, max_size=3, unique=True), json_values)
@example(["when"], None)
@example(["engine", "group"], {"when": "[%a:b]"})
def test_inputs_may_have_any_name(names, value):
    """An LLM module's inputs are named by its user: also with a word of the text form."""
    graph = one(inputs={name: Const(value) for name in names})
    assert parse(print_graph(graph)) == graph


@given(texts, json_values, configs)
@example("a\u2028b\u2029c\x85d\x0be", ["\u2028"], {"x": "\x85"})
@example("}] -> # ~%a:b {", "when [%a:b]", {})
@example("\r", "\r\n", {"x": '\t\\"'})
def test_constants_and_prompts_may_hold_any_text(text, value, config):
    """Whatever is written in a prompt: line separators, quotes, marks of the form itself."""
    graph = one(config={**config, "messages": [{"role": "user", "template": text}], "x": value})
    graph = graph.with_(
        inputs=(InputPort("xs", "list<text>", (value,), text),),
        outputs=(OutputPort("o", "json", Ref("a.take", "items", ("f",), default=(text,))),),
    )
    assert parse(print_graph(graph)) == graph


def test_every_field_is_printed():
    """Guards, defaults, stream marks, groups, regions in regions, edges."""
    inner = Region(
        "r.in",
        "fold",
        {"items": Ref("r", "item"), "initial": Const("")},
        {"text": Ref("r.cast", "value", ("a",))},
        {"x": 1},
        (Guard(Ref("inputs", "go"), False),),
        "r",
        "m",
    )
    outer = Region(
        "r", "each", {"items": Ref("inputs", "xs", stream=True)}, {"t": Ref("r.in", "text")}
    )
    body = Primitive("r.cast", "cast", {"value": Const(1)}, {}, None, (), "r.in", 3, "n")
    graph = PGraph("g", (InputPort("go", "bool"),), (), (outer, inner, body))
    result, guard = "%r.cast:value.a", "!%inputs:go"
    assert print_graph(graph).splitlines()[1:] == [
        "input go: bool",
        "%r = each items=~%inputs:xs -> t=%r.in:text [",
        f'  %r.in = fold items=%r:item initial="" {{x = 1}} -> text={result} when [{guard}] @m [',
        "    %r.cast = cast value=1 {group = 3} @n",
        "  ]",
        "]",
    ]
    assert parse(print_graph(graph)) == graph


def test_source_lines_are_read_but_do_not_count():
    """A node knows its line; two graphs that differ in lines only are equal."""
    graph = parse("# a comment\n\ngraph g\n\n%a.wrap = wrap value=1\n")
    assert graph.by_id["a.wrap"].line == 5
    assert graph == parse("graph g\n%a.wrap = wrap value=1")


def test_comments_and_blank_lines_are_skipped():
    """Also indented ones, inside regions."""
    text = "graph g\n%r = each items=[] -> x=%r:item [\n   # here\n\n]\n  # the end"
    assert [node.id for node in parse(text).nodes] == ["r"]


BROKEN = [
    ("grph g", 1, 1, "unknown word 'grph'"),
    ("graph g\ngraph", 2, 6, "expected"),
    ("graph g\n%a.wrap wrap", 2, 8, "expected ="),
    ("graph g\n%a.wrap = ", 2, 10, "expected"),
    ("graph g\n%a.wrap = wrap value=", 2, 22, "expected a reference (%node:port) or a constant"),
    ("graph g\n%a.wrap = wrap value={", 2, 22, "this map is not closed"),
    ("graph g\n%a.wrap = wrap value=%b", 2, 22, "expected a reference (%node:port)"),
    ("graph g\n%a.wrap = wrap {x 1}", 2, 18, "expected ="),
    ("graph g\n%a.wrap = wrap {x = 1", 2, 22, "expected ,"),
    ("graph g\n%a.wrap = wrap when [%a:b", 2, 26, "expected ,"),
    ("graph g\n%a.wrap = wrap @m more", 2, 18, "expected the end of the line"),
    ("graph g\n%r = each items=[]", 2, 19, "expected ->"),
    ("graph g\n%r = each items=[] -> x=%r:item", 2, 32, "expected ["),
    ("graph g\n%r = each items=[] -> x=1 [\n]", 2, 26, "a region's result is a reference"),
    ("graph g\n%r = each items=[] -> x=%r:item [\n", 2, 34, "not closed"),
    ("graph g\n]", 2, 2, "no region is open"),
    ("graph g\ninput xs", 2, 9, "expected :"),
    ("graph g\ninput xs: list<", 2, 15, "end of the line"),
    ("graph g\noutput o: text = 1", 2, 17, "expected a reference (%node:port)"),
    ("graph g\neffect %a -> b", 2, 13, "expected a node (%id)"),
    ("graph g\nengine llm = 3", 2, 15, "JSON object"),
    ("", 1, 1, "no name"),
]


@pytest.mark.parametrize(("text", "line", "column", "message"), BROKEN)
def test_what_does_not_parse_says_where(text, line, column, message):
    """File, line and column, what was expected there, and the line with a caret."""
    with pytest.raises(CompileError) as caught:
        parse(text)
    (diagnostic,) = caught.value.diagnostics
    assert message in diagnostic.message
    assert (diagnostic.span.line, diagnostic.span.column) == (line, column)
    assert f"g.pgraph:{line}:{column}: error[graph-syntax]" in str(caught.value)


@pytest.mark.parametrize(
    ("constant", "said", "helped"),
    [
        ("abc", "got abc", 'write "abc"'),
        ("'a b'", "got 'a b'", 'write "a b"'),
        ("True", "got True", "write true"),
        ("None", "got None", "write null"),
        ("NaN", "got NaN", 'write "NaN"'),
        ("%a.wrap", "expected a reference (%node:port)", "a reference names a port: %node:port"),
        ('"abc', "this text is not closed", None),
        ("[1, x]", "this list is not closed, or something in it", None),
        ("[" * 100_000, "this list is not closed", None),
    ],
)
def test_a_constant_that_is_none_is_explained(constant, said, helped):
    """In plain words, with the right spelling; never in those of the JSON reader."""
    with pytest.raises(CompileError) as caught:
        parse(f"graph g\n%b.wrap = wrap value={constant}")
    (diagnostic,) = caught.value.diagnostics
    assert said in diagnostic.message
    assert diagnostic.help == helped
    assert diagnostic.span.column == 22


@given(pgraphs(4), st.data())
def test_a_damaged_text_is_an_error_or_a_graph(graph, data):
    """Characters dropped or changed anywhere: a diagnostic at worst, never a traceback."""
    text = print_graph(graph)
    at = data.draw(st.integers(0, len(text) - 1))
    piece = data.draw(st.sampled_from(["", "%", "}", "]", '"', "~", "=", "\n", "x", "9"]))
    length = data.draw(st.integers(0, 3))
    damaged = text[:at] + piece + text[at + length :]
    try:
        again = parse(damaged)
    except CompileError as error:
        (diagnostic,) = error.diagnostics
        at = diagnostic.span
    else:
        assert parse(print_graph(again)) == again
        return
    assert 1 <= at.line <= damaged.count("\n") + 1


@pytest.mark.parametrize(
    "text",
    [
        "graph g\n%a.wrap = wrap value=1 {engine = emb, engine = llm}",
        'graph g\n%a.wrap = wrap value=1 {group = "x"}',
        "graph g\n%a.wrap = wrap value=1 value=2",
        'graph g\nengine e = {"kind": "llm"}\nengine e = {"kind": "store"}',
        "graph g\ninput a: text\ninput a: int",
        "graph g\noutput a: text = %inputs:x\noutput a: int = %inputs:y",
        "graph g\ngraph h",
        "graph g\ninput a: nonsense",
    ],
)
def test_what_is_said_twice_or_means_nothing_is_refused(text):
    """A later word does not silently replace an earlier one, and a type is one of the language."""
    with pytest.raises(CompileError):
        parse(text)
