"""What is done on a GPU, on the CPU: the flash kernel is replaced by plain attention, and a CUDA
graph by what computes its step again, greedily and with the numbers it was recorded with."""

import asyncio
from types import SimpleNamespace

import pytest

from teola.runtime.engines.protocol import Generate, Sampling

pytestmark = pytest.mark.models  # it needs PyTorch

PROMPTS = ([5, 6, 7], list(range(100, 160)), [9] * 37)
SAMPLED = Sampling(temperature=1.3, top_p=0.9, seed=4)


def plain(query, key, value, begins, keys, *_sizes, scale=None):
    """The kernel's operator, for tensors on the CPU."""
    from teola.runtime.engines.transformers import sequence_attention

    heads = (one.transpose(0, 1).unsqueeze(0) for one in (query, key, value))
    found = sequence_attention.attend(*heads, begins.tolist(), keys.tolist(), scale)
    return (found.squeeze(0).transpose(0, 1).contiguous(),)


class StandIn:
    """A graph of a step: replayed, it does what it did with what its inputs hold then."""

    def __init__(self, again):
        self.again, self.replays = again, 0

    def replay(self):
        self.replays += 1
        self.again()

    def reset(self):
        """Nothing is held."""


@pytest.fixture
def as_on_gpu(monkeypatch):
    """transformers records and replays; gives what has been recorded."""
    import torch
    from transformers.generation.continuous_batching import initialization, model_runner

    from teola.runtime.engines.transformers import (
        decode_graphs,
        generation,
        packed_attention,
        token_choice,
    )

    now = SimpleNamespace(recording=False, graphs=[], fails=None)

    def capture(runner, forward, _stream, *arguments):
        with torch.no_grad():
            forward(*arguments)
            if now.fails:
                raise RuntimeError(now.fails)
            ios, choices = runner.inputs_and_outputs, runner.logit_processor
            before = ios.output_ids.clone()

            def again():
                now.recording = True
                forward(*arguments)
                now.recording = False

            again()
            scores = choices.recorded
            ios.output_ids.copy_(before)

        def replay():
            again()
            scores.copy_(choices.recorded)

        now.graphs.append(StandIn(replay))
        ios.set_graph(now.graphs[-1])

    made = []

    def before_first_step(manager, choices, *, record):
        made.append(start(manager, choices, record=record))
        return made[-1]

    start = generation._before_first_step
    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", plain)
    monkeypatch.setattr(packed_attention, "_why_not", lambda model: "")
    monkeypatch.setattr(generation, "can_attend_packed", lambda model: True)
    monkeypatch.setattr(generation, "_on_gpu", lambda model: True)
    monkeypatch.setattr(generation, "_before_first_step", before_first_step)
    monkeypatch.setattr(token_choice, "recording", lambda scores: now.recording)
    monkeypatch.setattr(initialization, "get_accelerator_graph_name", lambda: "CUDAGraph")
    monkeypatch.setattr(model_runner, "get_memory_pools", lambda: (None, 0))
    monkeypatch.setattr(model_runner.ModelRunner, "_capture_graph", capture)
    monkeypatch.setattr(decode_graphs, "MOST_GRAPHS", 3)
    now.made = made
    return now


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from tests.engines.tiny_llama import save_llama

    return save_llama(tmp_path_factory.mktemp("llama"))


def answers(folder, **settings):
    """Of some requests at once, and of one after them."""
    from teola.runtime.engines.transformers.llm import TransformersLLM

    requests = [
        Generate(f"greedy {number}", tuple(prompt), 12, ignore_eos=True)
        for number, prompt in enumerate(PROMPTS)
    ]
    requests.append(Generate("drawn", (5, 6, 7), 12, ignore_eos=True, sampling=SAMPLED))

    async def main():
        engine, found = TransformersLLM({"path": str(folder), "dtype": "float32", **settings}), {}
        over = asyncio.Event()

        def hear(events):
            for event in events:
                assert event.failure is None
                found.setdefault(event.id, []).extend(event.tokens)
                over.set() if event.finish_reason else None

        engine.listen(hear)
        told = await engine.start()
        await engine.submit(requests)
        while sum(len(tokens) == 12 for tokens in found.values()) < len(requests):
            await over.wait()
            over.clear()
        state = await engine.control("describe", {})
        await engine.close()
        return found, told.details, state

    return asyncio.run(main())


def test_replayed_steps_give_the_same_tokens_and_drawn_ones_too(folder, as_on_gpu, monkeypatch):
    """With sequences of other lengths than those recorded, and room for fewer."""
    found, details, state = answers(folder)
    assert (details["attention"], details["cuda_graphs"]) == ("flash", True)
    assert 1 <= state["cuda_graphs"] == len(as_on_gpu.graphs) <= 3
    assert sum(graph.replays for graph in as_on_gpu.graphs) > 5
    monkeypatch.undo()
    expected, details, state = answers(folder)
    assert (details["attention"], details["cuda_graphs"]) == ("by sequence", False)
    assert found == expected
    assert state == {"running": 0}


def test_what_cannot_be_recorded_is_computed_and_no_more_is_tried(folder, as_on_gpu, caplog):
    as_on_gpu.fails = "operation not permitted when stream is capturing"
    found, _, state = answers(folder)
    assert state["cuda_graphs"] == 0
    assert [record.message for record in caplog.records if "graphs" in record.message] == [
        f"no more CUDA graphs, decoding goes on without: {as_on_gpu.fails}"
    ]
    assert str(as_on_gpu.made[0].failure) == as_on_gpu.fails
    assert found == answers(folder, enforce_eager=True)[0]


def test_a_replay_is_undone_only_where_a_request_wants_another_token():
    import torch

    from teola.runtime.engines.transformers.token_choice import TokenChoices, Wanted

    choices, scores = TokenChoices(), torch.arange(12.0).reshape(2, 6)
    tokens = scores.argmax(1).to(torch.int32)
    choices.choose_again(scores, tokens)
    assert tokens.tolist() == [5, 5]
    choices._step = [Wanted(1, allowed=torch.tensor([True, False, True, False, False, False]))]
    choices.choose_again(scores, tokens)
    assert tokens.tolist() == [5, 2]
