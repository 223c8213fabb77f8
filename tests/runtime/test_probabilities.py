"""How likely each choice is, from an engine's steps to a port of the workflow."""

import asyncio
import json
from math import isclose, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.compiler.api import compile_workflow
from teola.runtime.engines.protocol import Grammar
from teola.runtime.engines.tokenizer import ByteTokenizer
from teola.runtime.errors import ModuleError, UnsupportedError
from teola.runtime.instance.weighing import Weighing
from teola.runtime.shapes import ChoiceShape
from tests.runtime.test_requirements import lacks
from tests.runtime.workbench import call, plan, virtual

words = st.text(st.sampled_from("abc"), min_size=1, max_size=4)


def steps_to(chosen, weights):
    """What a model that spells would tell on its way to a choice: letters, and "" for the end."""
    for place in range(len(chosen) + 1):
        before = chosen[:place]
        could = {}
        for word, weight in weights.items():
            if word.startswith(before):
                letter = word[place : place + 1]
                could[letter] = could.get(letter, 0) + weight
        came = chosen[place : place + 1]
        rest = [(one, log(p)) for one, p in could.items() if one != came]
        yield [(came, log(could[came])), *rest]


def weighed(choices, chosen, steps):
    shape = ChoiceShape(choices)
    Weighing(lambda tokens: "", shape.probabilities).take(steps)
    return shape.probabilities.end(chosen)


@given(st.dictionaries(words, st.floats(0.01, 1), min_size=2, max_size=5), st.data())
def test_what_every_step_tells_is_put_together(weights, data):
    """Together they are 1; what came has what it has, and so has whatever turned away alone."""
    chosen = data.draw(st.sampled_from(sorted(weights)))
    found = weighed(list(weights), chosen, steps_to(chosen, weights))
    whole = sum(weights.values())
    assert found.keys() == weights.keys()
    assert isclose(sum(found.values()), 1)
    assert isclose(found[chosen], weights[chosen] / whole)
    for place in range(len(chosen) + 1):
        turned = {}
        for word in weights:
            if word.startswith(chosen[:place]) and word != chosen:
                turned.setdefault(word[place : place + 1], []).append(word)
        for letter, group in turned.items():
            if letter != chosen[place : place + 1]:
                mass = sum(found[one] for one in group)
                assert isclose(mass, sum(weights[one] for one in group) / whole)


def test_what_leads_to_no_choice_is_left_out():
    """Upper and lower case, blanks and marks before a choice are one."""
    first = [("Yes", log(0.3)), (" yes", log(0.1)), ('"no', log(0.1)), ("Well", log(0.5))]
    assert weighed(("yes", "no"), "yes", [first]) == pytest.approx({"yes": 0.8, "no": 0.2})


def test_what_leads_to_several_is_divided_as_the_rest():
    """In proportion to what is theirs alone; evenly where nothing is."""
    first = [("no", log(0.2)), ("sea", log(0.2)), ("search", log(0.45)), ("seal", log(0.15))]
    found = weighed(("no", "search", "seal"), "no", [first])
    assert found == pytest.approx({"no": 0.2, "search": 0.6, "seal": 0.2})
    even = weighed(("no", "search", "seal"), "no", [[("no", log(0.5)), ("s", log(0.5))]])
    assert even == pytest.approx({"no": 0.5, "search": 0.25, "seal": 0.25})


def test_tokens_are_texts_by_all_that_came_before():
    """As a tokenizer reads them together; half a character is none yet."""
    shape = ChoiceShape(("é", "a"))
    weighing = Weighing(ByteTokenizer().decode, shape.probabilities)
    weighing.take([[(0xC3, log(0.75)), (0x61, log(0.25))]])
    weighing.take([[(0xA9, 0.0)]])
    assert shape.probabilities.end("é") == pytest.approx({"é": 0.75, "a": 0.25})


def asking(output, kind, *, read=True, **llm):
    """A call with a choice; whoever reads its probabilities has them as an output."""
    told = {**output, "probabilities": True} if read else output
    decode = f"{{engine = llm, output = {json.dumps(told)}}}"
    port = output["shape"]
    return plan(
        f"""
        input q: text
        {call("a", "{{ q }}", "q=%inputs:q", decode=decode)}
        output out: {kind} = %a.decode:{port}
        {"output p: json = %a.decode:probabilities" if read else ""}
        """,
        llm=llm,
    )


@virtual
async def test_a_choice_tells_how_likely_each_was(bench):
    """The fake takes what it makes for twice as likely as any other."""
    choices = {"shape": "choice", "choices": ["search", "answer", "ask"]}
    result = await bench.run(asking(choices, "text"), q="x")
    others = dict.fromkeys(choices["choices"], 0.25)
    assert result["p"] == pytest.approx({**others, result["out"]: 0.5})
    (request,) = bench.spy("llm").submitted
    assert request.sampling.logprobs == 20


@virtual
async def test_yes_or_no_is_told_as_in_json(bench):
    """Every spelling counts."""
    result = await bench.run(asking({"shape": "bool"}, "bool"), q="x")
    assert result["p"].keys() == {"true", "false"}
    assert sum(result["p"].values()) == pytest.approx(1)
    assert result["p"][str(result["out"]).lower()] > 0.5


@virtual
async def test_an_engine_that_tells_nothing_is_an_error(bench):
    """As where it keeps to no grammar, and says other things; or says that it cannot."""
    choices = {"shape": "choice", "choices": ["amber", "other"]}
    bench.prepared.append(lambda spy: setattr(spy, "on_events", silent))
    with pytest.raises(ModuleError, match="'a'.*told no probabilities"):
        await bench.run(asking(choices, "text"), q="x")
    bench.prepared[:] = [lacks(sampling=frozenset())]
    with pytest.raises(UnsupportedError, match="'a'.*has no probabilities of its tokens"):
        await bench.run(asking(choices, "text", model="other"), q="x")


def silent(events):
    return [event._replace(chances=()) for event in events]


@virtual
async def test_queries_that_read_them_and_others_share_no_call(bench):
    """A call that nobody asked for probabilities has none to give."""
    choices = {"shape": "choice", "choices": ["search", "answer"]}
    async with (
        bench.runner(asking(choices, "text", read=False, latency_ms=100)) as one,
        bench.runner(asking(choices, "text", latency_ms=100)) as two,
    ):
        plain, told = await asyncio.gather(one.run(q="x"), two.run(q="x"))
    assert plain["out"] == told["out"]
    assert sum(told["p"].values()) == pytest.approx(1)
    assert [one.sampling.logprobs for one in bench.spy("llm").submitted] == [0, 20]


WORKFLOW = """\
teola: 1
name: sure
inputs: {question: text}
engines: {llm: {kind: llm, backend: fake}}
modules:
  route:
    uses: generate
    inputs: {question: inputs.question}
    with: {prompt: "{{ question }}", output: {choice: [search, answer]}}
  polite:
    uses: generate
    inputs: {question: inputs.question}
    with: {prompt: "{{ question }}!", output: bool}
  answer:
    uses: generate
    inputs: {sure: route.probabilities.search, polite: polite.bool}
    with: {prompt: "{{ sure }} {{ polite }}"}
outputs: {answer: answer.text, probabilities: route.probabilities}
"""


@pytest.mark.parametrize("level", ["O0", "O2"])
@virtual
async def test_a_workflow_reads_them_by_name(bench, tmp_path, level):
    """Only the calls whose probabilities are read are asked for any."""
    path = tmp_path / "sure.yaml"
    path.write_text(WORKFLOW)
    result = await bench.run(compile_workflow(path, level=level), question="who?")
    assert sum(result["probabilities"].values()) == pytest.approx(1)
    asked = {one.grammar: one.sampling.logprobs for one in bench.spy("llm").submitted}
    assert asked.pop(Grammar(choices=("search", "answer"))) == 20
    assert set(asked.values()) == {0}
