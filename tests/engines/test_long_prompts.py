"""Prompts that transformers' continuous batching computes in several steps."""

import asyncio

import pytest

from teola.runtime.engines.protocol import Generate

pytestmark = pytest.mark.models  # it needs PyTorch


def test_each_step_of_a_long_prompt_is_told(tmp_path):
    """The last one gives a token, those before nothing: the engine lives."""
    from teola.runtime.engines.transformers.llm import TransformersLLM
    from tests.engines.tiny_llama import save_llama

    async def main():
        settings = {"path": str(save_llama(tmp_path)), "dtype": "float32", "batch_tokens": 16}
        engine, steps, over = TransformersLLM(settings), [], asyncio.Event()

        def hear(events):
            steps.append([len(event.tokens) for event in events])
            over.set() if any(event.finish_reason for event in events) else None

        engine.listen(hear)
        await engine.start()
        await engine.submit([Generate("a", tuple(range(100, 160)), 2, ignore_eos=True)])
        await over.wait()
        await engine.close()
        return steps

    assert asyncio.run(asyncio.wait_for(main(), 60)) == [[], [], [], [1], [1]]
