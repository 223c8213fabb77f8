"""What a plan asks for and an engine lacks: refused by name, before or as soon as it starts."""

import asyncio
from dataclasses import replace

import pytest

from teola.compiler.api import compile_workflow
from teola.compiler.errors import CompileError, TeolaError
from teola.runtime import Runner
from teola.runtime.errors import UnsupportedError
from tests.runtime.workbench import call, plan, virtual

CHOICE = '{engine = llm, output = {"shape": "choice", "choices": ["a", "b"]}}'
WARM = ', "temperature": 0.5, "stop": ["x"]'
SERVER = {"backend": "openai", "model": "tiny"}


def asking(*, decode="", sampling="", prefill="", **llm):
    """A call of module ``a``, whose answer another one is asked about."""
    lines = call("b", "{{ t }}", "t=%a.decode:text", decode=decode, sampling=sampling)
    lines = lines.replace("{engine = llm, messages", f"{{engine = llm{prefill}, messages")
    return plan(
        f"""
        input q: text
        {call("a", "{{ q }}", "q=%inputs:q")}
        {lines}
        output out: text = %b.decode:text
        """,
        llm=llm,
    )


def lacks(**capabilities):
    """Changes a spy: its engine starts with these capabilities."""

    def change(spy):
        start = spy.handle.start

        async def started():
            return replace(await start(), **capabilities)

        spy.handle.start = started

    return change


def refusal(graph):
    """What is said where a plan is not even begun."""

    async def main():
        async with Runner(graph):
            pass

    with pytest.raises(UnsupportedError) as caught:
        asyncio.run(main())
    return str(caught.value)


def test_a_server_of_which_nothing_is_said_is_not_trusted_with_shapes():
    """It is refused before it is asked for anything, with the three things that can be said."""
    said = refusal(asking(decode=CHOICE, **SERVER))
    assert "module 'b'" in said
    assert "engine 'llm' (openai) has no grammar for output: choice" in said
    assert "structured_outputs: json_schema, objects or vllm; or none" in said
    assert "transformers, vllm, fake" in said


def test_an_adapter_that_the_engine_does_not_name_is_refused():
    """With those that it names; or with the backends that have adapters."""
    named = refusal(asking(prefill=', adapter = "legal"', adapters={"medical": "x"}))
    assert "has no adapter 'legal'; adapters that it names: medical" in named
    other = refusal(
        asking(prefill=', adapter = "legal"', backend="transformers", model="smollm2-135m-instruct")
    )
    assert "(transformers) has no adapter 'legal'; backends that have it: openai, vllm" in other


@pytest.mark.parametrize(
    ("asked", "capabilities", "what"),
    [
        ({"sampling": WARM}, {"sampling": frozenset({"stop"})}, "sampling.temperature"),
        ({"decode": CHOICE}, {"grammars": frozenset()}, "grammar for output: choice"),
        (
            {"prefill": ', adapter = "legal"', "adapters": {"legal": "x"}},
            {"adapters": frozenset()},
            "adapter 'legal'",
        ),
    ],
)
@virtual
async def test_what_only_a_started_engine_tells_ends_every_run(bench, asked, capabilities, what):
    """At once, though the module that asks for it is the last; nothing is sent."""
    bench.prepared += [lacks(**capabilities), lambda spy: setattr(spy, "start_s", 5)]
    async with bench.runner(asking(**asked)) as runner:
        runs = [asyncio.create_task(runner.run(q="x")) for _ in range(2)]
        for run in runs:
            with pytest.raises(UnsupportedError, match=rf"module 'b'.*has no {what}"):
                await run
        assert bench.spy("llm").submitted == []
        assert runner.lost
        with pytest.raises(UnsupportedError, match=what):
            await runner.run(q="y")
    with pytest.raises(UnsupportedError, match=what):  # the engine runs already
        await bench.run(asking(**asked), q="x")
    assert await bench.run(asking(**{**asked, "sampling": "", "decode": "", "prefill": ""}), q="x")


@virtual
async def test_an_engine_that_comes_back_is_asked_then(bench):
    """One that was given up when the runner started."""
    bench.prepared.append(lacks(grammars=frozenset()))
    assert await bench.run(asking(), q="x")
    (engine,) = (one for one in bench.pool.engines.values() if one.kind == "llm")
    engine.ready, engine.error = False, TeolaError("given up")
    async with bench.runner(asking(decode=CHOICE)) as runner:
        engine.ready, engine.error = True, None
        with pytest.raises(UnsupportedError, match="grammar for output: choice"):
            await runner.run(q="x")


WORKFLOW = """\
teola: 1
name: asked
inputs: {question: text}
engines: {llm: {kind: llm, backend: openai, model: tiny}}
modules:
  route:
    uses: generate
    inputs: {question: inputs.question}
    with: {prompt: "{{ question }}", output: {choice: [search, answer]}}
  answer:
    uses: generate
    inputs: {question: inputs.question, route: route.choice}
    with: {prompt: "{{ question }} {{ route }}", adapter: legal}
outputs: {answer: answer.text}
"""


@pytest.fixture
def workflow(tmp_path):
    path = tmp_path / "asked.yaml"
    path.write_text(WORKFLOW)
    return path


def problems(workflow, *sets):
    with pytest.raises(CompileError) as caught:
        compile_workflow(workflow, sets=sets)
    return str(caught.value)


def test_the_compiler_says_it_with_its_place(workflow):
    """What is known of a backend; the nearest adapter is named."""
    said = problems(workflow, "engines.llm.adapters={leagl: tiny-legal}")
    assert "asked.yaml:9:" in said
    assert "error[unsupported-output]: engine 'llm' has no grammar for output: choice" in said
    assert "structured_outputs: json_schema, objects or vllm; or none" in said
    assert "asked.yaml:13:" in said
    assert "error[unsupported-adapter]: engine 'llm' has no adapter 'legal'" in said
    assert "did you mean 'leagl'?" in said


@pytest.mark.parametrize("said", ["none", "json_schema", "objects", "vllm"])
def test_whoever_says_what_a_server_has_is_believed(workflow, said):
    sets = ["engines.llm.adapters={legal: x}", f"engines.llm.structured_outputs={said}"]
    graph = compile_workflow(workflow, sets=sets).graph
    heads = {node.id: node.config.get("adapter") for node in graph.nodes if "prefill" in node.id}
    assert heads["route.prefill"] is None
    assert heads["answer.prefill"] == "legal"
