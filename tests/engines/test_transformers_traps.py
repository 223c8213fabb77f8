"""Traps of transformers' continuous batching, on a tiny model: what we do keeps out of them, and
they are still there."""

import asyncio

import pytest

from teola.runtime.engines import kv_budget
from teola.runtime.engines.protocol import Generate

pytestmark = pytest.mark.models  # it needs PyTorch


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    from tests.engines.tiny_llama import save_llama

    folder = save_llama(tmp_path_factory.mktemp("llama"))
    return {
        "path": str(folder),
        "dtype": "float32",
        "kv_pages": 64,
        "batch_tokens": 48,
    }


def play(settings, scene):
    """What ``scene(engine, capabilities, cached)`` gives; ``cached`` asks for an answer to a prompt
    and tells how much of that was there."""
    from teola.runtime.engines.transformers.llm import TransformersLLM

    async def main():
        engine, told = TransformersLLM(settings), {}

        def hear(events):
            for event in events:
                if event.finish_reason or event.failure:
                    told[event.id].set_result(event)

        async def cached(tokens, **more):
            name = str(len(told))
            told[name] = asyncio.get_running_loop().create_future()
            await engine.submit([Generate(name, tokens, 2, ignore_eos=True, stream=False, **more)])
            return (await told[name]).cached

        engine.listen(hear)
        try:
            return await scene(engine, await engine.start(), cached)
        finally:
            await engine.close()

    return asyncio.run(asyncio.wait_for(main(), 120))


def tokens(start, count):
    return [start + place for place in range(count)]


def test_nothing_of_the_loops_sizes_is_left_to_automatic_sizing(settings):
    """On a CPU it takes all memory, and minutes."""

    async def sizes(engine, told, cached):
        processor = engine._generation._manager.batch_processor
        return (
            processor.cache.num_blocks,
            processor.cache.max_batch_tokens,
            processor.scheduler.max_requests_per_batch,
            told.max_requests,
        )

    assert play(settings, sizes) == (64, 48, 8, 8)


@pytest.mark.parametrize(("usable", "kept"), [(None, 160), (1.0, 0)])
def test_what_is_cached_stays_while_requests_fill_the_room_told(
    settings, monkeypatch, usable, kept
):
    """Under 15 % of free pages all of it would go at once: the room told ends before."""
    if usable is not None:
        monkeypatch.setattr(kv_budget, "USABLE", usable)

    async def fill(engine, told, cached):
        prefix = tokens(1000, 160)
        assert await cached(prefix, warm=True) == 0
        assert await cached([*prefix, 5]) == 160
        assert await cached(tokens(3000, told.kv_tokens - 160 - 2)) == 0
        return await cached([*prefix, 6])

    assert play(settings, fill) == kept
