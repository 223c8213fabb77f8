"""Structured output, from a workflow to its ports, with an engine that keeps to it and without."""

import json

import pytest

from teola.compiler.api import compile_workflow
from teola.runtime.engines.protocol import Grammar
from teola.runtime.errors import ModuleError, StreamInterrupted
from teola.runtime.events import ItemAdded
from tests.runtime.workbench import call, plan, reply, virtual

LONG = ', "max_tokens": 400'
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def asking(output, port, kind, sampling="", **llm):
    """One call with a shape; its port is the output."""
    decode = f"{{engine = llm, output = {json.dumps(output)}}}"
    return plan(
        f"""
        input q: text
        {call("a", "{{ q }}", "q=%inputs:q", decode=decode, sampling=sampling)}
        output out: {kind} = %a.decode:{port}
        output text: text = %a.decode:text
        """,
        llm=llm,
    )


SHAPES = {
    "json": ({"schema": PERSON}, "json"),
    "json_list": ({"schema": PERSON, "count": 3}, "list<json>"),
    "choice": ({"choices": ["search", "answer"]}, "text"),
    "bool": ({}, "bool"),
}


@pytest.mark.parametrize("shape", SHAPES)
@virtual
async def test_a_shape_reaches_the_engine_as_a_grammar_and_comes_back_as_a_value(bench, shape):
    more, kind = SHAPES[shape]
    asked = asking({"shape": shape, **more}, shape, kind, LONG)
    result = await bench.run(asked, q="x")
    (request,) = bench.spy("llm").submitted
    assert isinstance(request.grammar, Grammar)
    value = result["out"]
    if shape == "json":
        assert json.loads(result["text"]) == value
        assert value.keys() == PERSON["properties"].keys()
    elif shape == "json_list":
        assert len(value) == 3
        assert all(one.keys() == PERSON["properties"].keys() for one in value)
    elif shape == "choice":
        assert value == result["text"] in ("search", "answer")
    else:
        assert isinstance(value, bool)


@pytest.mark.parametrize("shape", SHAPES)
@virtual
async def test_without_a_grammar_what_is_malformed_is_an_error_that_shows_it(bench, shape):
    """It names the module, and no retry makes it again: the answer would be the same."""
    more, kind = SHAPES[shape]
    asked = asking({"shape": shape, **more}, shape, kind, structured_outputs="none")
    with pytest.raises(ModuleError, match=rf"'a'.*malformed-output: {shape}: ") as caught:
        await bench.run(asked, q="x")
    (request,) = bench.spy("llm").submitted
    assert request.grammar is None
    assert repr(reply("x")) in str(caught.value)


@virtual
async def test_without_a_grammar_what_is_well_formed_is_taken(bench):
    word = reply("x").split()[0]
    asked = asking({"shape": "choice", "choices": [word, "other"]}, "choice", "text",
                   structured_outputs="none")  # fmt: skip
    result = await bench.run(asked, q="x")
    assert (result["out"], result["text"]) == (word, word)


@virtual
async def test_a_value_that_the_token_limit_cuts_off_is_an_error(bench):
    cut = asking({"shape": "json", "schema": PERSON}, "json", "json", ', "max_tokens": 9')
    with pytest.raises(ModuleError, match="json: max_tokens cut it off: raise sampling.max_tokens"):
        await bench.run(cut, q="x")


@pytest.mark.parametrize("on_short", ["keep", "error"])
@virtual
async def test_items_that_the_token_limit_cuts_off_count_as_short(bench, on_short):
    output = {"shape": "json_list", "schema": PERSON, "count": 3, "on_short": on_short}
    cut = asking(output, "json_list", "list<json>", ', "max_tokens": 60')
    if on_short == "error":
        with pytest.raises(ModuleError, match="asked for 3 items, the model gave 1"):
            await bench.run(cut, q="x")
    else:
        result = await bench.run(cut, q="x")
        assert len(result["out"]) == 1
        assert result.truncated == ("a",)


ITEMS = """
    input q: text
    {call}
    %b.each = each items=~%a.decode:json_list {{}} -> text=%b.ask.decode:text @b [
        {ask}
    ]
    output out: list<text> = %b.each:text
    output items: list<json> = %a.decode:json_list
"""


@virtual
async def test_items_of_a_json_list_are_worked_on_while_it_is_decoded(bench):
    """The first call about an item begins before the list is complete; items are told as they
    come."""
    decode = f"{{engine = llm, output = {json.dumps({'shape': 'json_list', 'schema': PERSON})}}}"
    first = call("a", "{{ q }}", "q=%inputs:q", decode="count=4 " + decode, sampling=LONG)
    ask = call("b.ask", "{{ one.name }} {{ one.age }}", "one=%b.each:item")
    graph = plan(ITEMS.format(call=first, ask=ask), llm={"latency_ms": 1000})
    events = await bench.events(graph, q="x")
    added = [at for at, event in events if isinstance(event, ItemAdded) and event.output == "items"]
    assert len(added) == 4
    assert added[0] < added[-1]
    spy = bench.spy("llm")
    assert len(spy.submitted) == 5
    assert spy.submitted_at[1] - spy.submitted_at[0] < added[-1]


@virtual
async def test_a_call_with_a_grammar_is_not_broken_off(bench):
    """What of it has left cannot be gone on with."""
    bench.prepared.append(lambda spy: spy.spoil(0, after=3, kind="died"))
    output = {"shape": "json_list", "schema": PERSON, "count": 5}
    asked = asking(output, "json_list", "list<json>", ', "max_tokens": 400')
    with pytest.raises(StreamInterrupted):
        await bench.events(asked, q="x")


WORKFLOW = """\
teola: 1
name: structured
inputs: {question: text}
engines: {llm: {kind: llm, backend: fake}}
modules:
  people:
    uses: generate
    inputs: {question: inputs.question}
    with:
      prompt: "{{ question }}"
      output:
        json_list:
          count: 2
          schema:
            type: object
            properties: {name: {type: string}, tags: {type: array, items: {enum: [a, b]}}}
            required: [name, tags]
  route:
    uses: generate
    inputs: {question: inputs.question}
    with: {prompt: "{{ question }}?", output: {choice: [search, answer]}}
  sure:
    uses: generate
    inputs: {people: people.json_list}
    with: {prompt: "{% for one in people %}{{ one.name }} {% endfor %}", output: bool}
  whole:
    uses: generate
    inputs: {question: inputs.question, route: route.choice}
    with: {prompt: "{{ question }} {{ route }}", output: json, sampling: {max_tokens: 400}}
outputs:
  people: people.json_list
  route: route.choice
  sure: sure.bool
  whole: whole.json
"""


@pytest.mark.parametrize("level", ["O0", "O2"])
@virtual
async def test_a_workflow_has_all_shapes(bench, tmp_path, level):
    """Every level of optimization gives the same values, of the types that the compiler says."""
    path = tmp_path / "structured.yaml"
    path.write_text(WORKFLOW)
    compiled = compile_workflow(path, level=level)
    assert {out.name: out.type for out in compiled.graph.outputs} == {
        "people": "list<json>", "route": "text", "sure": "bool", "whole": "json",
    }  # fmt: skip
    result = await bench.run(compiled, question="who?")
    assert [sorted(one) for one in result["people"]] == [["name", "tags"]] * 2
    assert result["route"] in ("search", "answer")
    assert isinstance(result["sure"], bool)
    assert isinstance(result["whole"], dict | list)
