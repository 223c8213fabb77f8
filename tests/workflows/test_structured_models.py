"""Every shape of output and every way of sampling in one batch, on two models in one plan."""

import asyncio

import pytest

from teola.compiler.api import compile_workflow
from teola.runtime import EnginePool, Runner

pytestmark = pytest.mark.models

WORKFLOW = """\
teola: 1
name: shapes
inputs: {letter: text}
engines:
  one: {kind: llm, model: smollm2-135m-instruct, dtype: float32, kv_pages: 128}
  two: {kind: llm, model: smollm2-135m-instruct, dtype: float32, kv_pages: 96}
defaults: {llm: one}
modules:
  people:
    uses: generate
    inputs: {letter: inputs.letter}
    with:
      prompt: |
        {{ letter }}
        List two people of this letter as JSON.
      output:
        json_list:
          count: 2
          schema:
            type: object
            properties: {name: {type: string, maxLength: 20}, kind: {enum: [sender, receiver]}}
            required: [name, kind]
            additionalProperties: false
  mood:
    uses: generate
    inputs: {letter: inputs.letter}
    with:
      llm: two
      prompt: |
        {{ letter }}
        Is this letter friendly or formal?
      output: {choice: [friendly, formal]}
  sure:
    uses: generate
    inputs: {letter: inputs.letter}
    with:
      prompt: |
        {{ letter }}
        Is this a letter?
      output: bool
  greedy:
    uses: generate
    inputs: {letter: inputs.letter}
    with: {prompt: "Repeat: {{ letter }}", sampling: {max_tokens: 24}}
  stopped:
    uses: generate
    inputs: {letter: inputs.letter}
    with: {prompt: "Repeat: {{ letter }}", sampling: {max_tokens: 24, stop: [e]}}
  warm:
    uses: generate
    inputs: {letter: inputs.letter}
    with: {prompt: "Go on: {{ letter }}", sampling: {max_tokens: 24, temperature: 1.2, top_p: 0.9}}
  again:
    uses: generate
    inputs: {letter: inputs.letter}
    with: {prompt: "Go on: {{ letter }}", sampling: {max_tokens: 24, temperature: 1.2, top_p: 0.9}}
outputs:
  people: people.json_list
  mood: mood.choice
  sure: sure.bool
  greedy: greedy.text
  stopped: stopped.text
  warm: warm.text
  again: again.text
"""
LETTER = "Dear Anna, thank you for the cake. Yours, Bob"


def test_shapes_draws_and_stop_texts_in_one_batch(tmp_path):
    """Each keeps to itself: what is greedy stays greedy, draws repeat with their seed, at every
    level of optimization."""
    path = tmp_path / "shapes.yaml"
    path.write_text(WORKFLOW)

    async def ask(pool, level, seed):
        plan = compile_workflow(path, level=level)
        async with Runner(plan, pool=pool, seed=seed) as runner:
            return (await runner.run(letter=LETTER)).outputs

    async def main():
        async with EnginePool() as pool:
            return [await ask(pool, *one) for one in (("O2", 0), ("O0", 0), ("O2", 1))]

    found, chained, other = asyncio.run(main())
    assert [sorted(one) for one in found["people"]] == [["kind", "name"]] * 2
    assert all(one["kind"] in ("sender", "receiver") for one in found["people"])
    assert found["mood"] in ("friendly", "formal")
    assert isinstance(found["sure"], bool)
    assert found["stopped"] == found["greedy"].partition("e")[0]
    assert found["warm"] != found["again"]
    assert found == chained
    drawn = {"warm", "again"}
    assert all((found[name] != other[name]) == (name in drawn) for name in found)
