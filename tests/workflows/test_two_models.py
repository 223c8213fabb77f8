"""Two language models in one workflow: SmolLM2, and a tiny Llama that is made on the spot."""

import asyncio

import pytest

from teola.compiler.api import compile_workflow
from teola.runtime import EnginePool, Runner
from tests.engines.tiny_llama import save_llama

pytestmark = pytest.mark.models

WORKFLOW = """\
teola: 1
name: two_models
inputs: {topic: text}
engines:
  large: {kind: llm, model: smollm2-135m-instruct, dtype: float32, kv_pages: 128}
  small: {kind: llm, path: FOLDER, dtype: float32, kv_pages: 96}
defaults: {llm: large}
modules:
  first:
    uses: generate
    inputs: {topic: inputs.topic}
    with: {prompt: "Tell of {{ topic }}.", sampling: {max_tokens: 12, ignore_eos: true}}
  second:
    uses: generate
    inputs: {topic: inputs.topic}
    with: {llm: small, prompt: "Tell of {{ topic }}.", sampling: {max_tokens: 12, ignore_eos: true}}
  both:
    uses: generate
    inputs: {first: first.text, second: second.text}
    with: {prompt: "Which is longer? {{ first }} or {{ second }}", sampling: {max_tokens: 8}}
outputs: {first: first.text, second: second.text, both: both.text}
"""
TOPICS = ("bread", "ink", "a passage", "cats")


def test_each_call_is_answered_by_its_own_model(tmp_path):
    """As by that model alone, whatever the other one does meanwhile, at every level."""
    folder = tmp_path / "llama"
    folder.mkdir()
    save_llama(folder, vocab_size=258)
    path = tmp_path / "two.yaml"
    path.write_text(WORKFLOW.replace("FOLDER", str(folder)))

    async def ask(pool, level, *sets):
        plan = compile_workflow(path, level=level, sets=sets)
        async with Runner(plan, pool=pool, share=False) as runner:
            found = await asyncio.gather(*(runner.run(topic=topic) for topic in TOPICS))
        return [one.outputs for one in found]

    async def main():
        async with EnginePool() as pool:
            return [
                await ask(pool, "O2"),
                await ask(pool, "O0"),
                await ask(pool, "O2", "modules.second.with.llm=large"),
                await ask(pool, "O2", "modules.first.with.llm=small"),
            ]

    found, chained, large, small = asyncio.run(main())
    assert found == chained
    for one, of_large, of_small in zip(found, large, small, strict=True):
        assert of_large["first"] == of_large["second"] == one["first"]
        assert of_small["first"] == of_small["second"] == one["second"]
        assert one["first"] != one["second"]
