"""Made-up inputs: of the right types and sizes, and no two queries' alike."""

import asyncio
from math import log
from statistics import stdev

import pytest

from teola.compiler.cost.sizes import Sizes
from teola.compiler.plan import Plan
from teola.runtime.engines.tokenizer.estimate import FourBytes
from teola.runtime.errors import InputError
from teola.runtime.inputs import bind_inputs
from teola.runtime.simulation.workload import Inputs, Workload
from tests.simulation.loads import plan_of

TYPES = "text int float bool json chunk passage message document".split()


def graph_of(*inputs):
    lines = "\n".join(f"input {line}" for line in inputs)
    return plan_of(f"graph t\n{lines}\n%a.wrap = wrap value=1 @a\n").graph


@pytest.mark.parametrize("kind", [*TYPES, *(f"list<{kind}>" for kind in TYPES)])
def test_a_made_up_input_is_of_its_type(kind):
    """It passes the check of real inputs."""
    graph = graph_of(f"x: {kind}")
    plan = Plan(graph, "-O1")
    for number in range(2):
        made = Inputs(graph, Workload((0.0,))).of_query(number)
        asyncio.run(bind_inputs(plan, made))


def test_texts_have_the_tokens_that_are_assumed():
    """Four characters each."""
    graph = graph_of("x: list<text>", "y: document")
    sizes = Sizes({"x": 3}, {"x": 20, "y": 500})
    made = Inputs(graph, Workload((0.0,), sizes, spread=0)).of_query(4)
    count = FourBytes().count
    assert [count(text) for text in made["x"]] == [20, 20, 20]
    assert len(set(made["x"])) == 3
    assert count(made["y"].texts[0]["text"]) == 500


def test_documents_vary_from_query_to_query():
    """Their lengths, and so the number of their chunks, are log-normal around the mean."""
    graph = graph_of("x: document")
    inputs = Inputs(graph, Workload((0.0,), Sizes({}, {"x": 100}), spread=0.5))
    lengths = [len(inputs.of_query(number)["x"].texts[0]["text"]) / 4 for number in range(2000)]
    assert sum(lengths) / 2000 == pytest.approx(100, rel=0.03)
    logarithms = [log(length / 100) for length in lengths]
    assert stdev(logarithms) == pytest.approx(0.5, rel=0.05)


def test_queries_differ_but_in_what_is_the_same():
    """Content decides what is shared."""
    graph = graph_of("question: text", "documents: list<document>")
    workload = Workload((0.0,), same=frozenset({"documents"}))
    one, other = (Inputs(graph, workload).of_query(number) for number in (1, 2))
    assert one["question"] != other["question"]
    assert one["documents"].key == other["documents"].key


def test_defaults_stay():
    """Where an input is a setting."""
    graph = graph_of("x: int = 7", 'c: collection = "docs"')
    assert Inputs(graph, Workload((0.0,))).of_query(0) == {"x": 7, "c": "docs"}


def test_a_collection_cannot_be_made_up():
    """The message says what helps."""
    graph = graph_of("c: collection")
    with pytest.raises(InputError, match="input 'c': a collection cannot be made up; give it a"):
        Inputs(graph, Workload((0.0,)))
