"""Engines on vLLM's own server; `tests/engines` holds them to what all engines do."""

import asyncio
import urllib.request

import numpy as np
import pytest

from teola.compiler.engines import canonical
from teola.runtime.engines.protocol import Sampling
from teola.runtime.engines.tokenizer import load_tokenizer
from teola.runtime.instance.weighing import Weighing
from teola.runtime.shapes import ChoiceShape, JsonListShape, JsonShape
from tests.engines.clients import BatchClient, LLMClient, Prompt
from tests.vllm.conftest import MINILM, SMOLLM
from tests.vllm.test_pooling import NEAR, TEXTS

pytestmark = pytest.mark.vllm

SERVED = {"kind": "llm", "backend": "openai", "model": "served"}
QUESTION = "Which city is the capital of France: Paris, London or Madrid?"
CITIES = ("Paris", "London", "Madrid")
PARTS = {"city": {"enum": [*CITIES]}, "is_large": {"type": "boolean"}}
CITY = {"type": "object", "properties": PARTS}


@pytest.fixture(scope="module", params=["chat", "tokens"])
def there(request):
    """Where an LLM is, and whether prompts go there as messages or as tokens."""
    made = "vllm_server" if request.param == "chat" else "vllm_server_of_tokens"
    return {**SERVED, **request.getfixturevalue(made)}


@pytest.fixture(scope="module")
def begin(there, start):
    """Start an engine with further settings."""
    return lambda **more: start(LLMClient, dict(canonical({**there, **more})))


@pytest.fixture(scope="module")
def own(llm):
    """The same model on vLLM in a process of ours."""
    return llm


@pytest.fixture(scope="module")
def served(begin):
    return begin()


def prompt(text):
    messages = ({"role": "user", "content": text},)
    return Prompt(tuple(load_tokenizer(SMOLLM).encode_chat(messages)), messages)


def said(answer):
    found = answer.said
    return found if isinstance(found, str) else load_tokenizer(SMOLLM).decode(found)


SHAPES = {
    "json": lambda: JsonShape({**CITY, "required": ["city", "is_large"]}),
    "json, parts of which may be left out": lambda: JsonShape(CITY),
    "json_list": lambda: JsonListShape({"type": "integer", "minimum": 0}, 3),
    "choice": lambda: ChoiceShape(CITIES),
    "bool": ChoiceShape.yes_or_no,
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("how", ["vllm", "json_schema", "objects"])
def test_an_answer_has_its_shape(begin, how, shape):
    """However the server is told of it."""
    one = shape()
    (answer,) = begin(structured_outputs=how).generate(
        (prompt(QUESTION), 64, {"grammar": one.grammar})
    )
    assert answer.failure is None
    _, items = one.push(said(answer))
    one.finish(truncated=answer.finish_reason == "length")
    assert one.value is not None or len(items) == 3


def test_a_prompt_that_was_there_is_told(served):
    """By the server, which starts with `--enable-prompt-tokens-details`."""
    long = prompt(f"{served.config.get('path')} {QUESTION} " * 20)
    (cold,) = served.generate((long, 1, {}))
    (again,) = served.generate((long, 1, {}))
    assert cold.cached < 64 < again.cached
    assert cold.prompt == again.prompt == len(long.tokens)


def counted(served, name):
    """A metric of the server."""
    url = served.config["base_url"].removesuffix("/v1") + "/metrics"
    with urllib.request.urlopen(url, timeout=60) as page:  # noqa: S310 - our own loopback
        lines = page.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"vllm:{name}{{"))


def test_an_aborted_request_frees_its_place(served):
    """As the server's own metrics tell."""
    request = served.request(prompt(QUESTION), 1500, ignore_eos=True)

    async def scene():
        await served.handle.submit([request])
        await served.answers[request.id].begun.wait()
        busy = await asyncio.to_thread(counted, served, "num_requests_running")
        await served.handle.abort([request.id])
        while await asyncio.to_thread(counted, served, "num_requests_running"):
            pass  # another process ends it
        return busy

    assert served.run(scene()) == 1
    assert counted(served, "kv_cache_usage_perc") == 0


def test_what_the_server_refuses_says_why(served, begin):
    """A prompt that is too long fails alone; a model that is not there is nobody's fault."""
    long, fine = served.generate((prompt("word " * 2100), 8, {}), (prompt(QUESTION), 4, {}))
    assert long.failure.kind == "item"
    assert "2048" in long.failure.message
    assert fine.finish_reason == "length"
    other = begin(model="another", api="chat")
    (lost,) = other.generate((prompt(QUESTION), 4, {}))
    assert lost.failure.kind == "engine"
    assert "it answered 404: The model `another` does not exist." in lost.failure.message


def weighed(engine):
    """What an engine chooses, and how likely each choice was."""
    shape = ChoiceShape(CITIES)
    how = {"grammar": shape.grammar, "sampling": Sampling(logprobs=20)}
    (answer,) = engine.generate((prompt(QUESTION), 16, how))
    weighing = Weighing(load_tokenizer(SMOLLM).decode, shape.probabilities)
    weighing.take([step for event in answer.events for step in event.chances])
    return said(answer), shape.probabilities.end(said(answer))


def test_the_probabilities_of_choices_are_those_of_the_model(begin, own):
    """As vLLM tells them in a process of ours."""
    city, chances = weighed(own)
    assert city == max(CITIES, key=chances.get)
    assert sum(chances.values()) == pytest.approx(1)
    assert weighed(begin(structured_outputs="vllm")) == (city, pytest.approx(chances, abs=1e-3))


def test_embeddings_are_those_of_the_model(start, vllm_server_of_embeddings):
    """In either way in which the server writes numbers; it makes tokens itself, and what looks like
    a special one it takes for that."""
    own = start(BatchClient, {"kind": "embedder", "backend": "sentence-transformers", **MINILM})
    texts = [text for text in TEXTS if "[SEP]" not in text]
    rows = own.items("embed", texts)
    for encoding in ("base64", "float"):
        given = {**SERVED, "kind": "embedder", **vllm_server_of_embeddings, "encoding": encoding}
        there = start(BatchClient, dict(canonical(given)))
        assert np.allclose(there.items("embed", texts), rows, rtol=0, atol=NEAR)


def test_a_text_that_the_server_finds_too_long_is_told(start, vllm_server_of_embeddings):
    """As an error of the batch, in which it is then looked for."""
    there = start(
        BatchClient, dict(canonical({**SERVED, "kind": "embedder", **vllm_server_of_embeddings}))
    )
    with pytest.raises(Exception, match=r"it answered 400: .*maximum context length"):
        there.items("embed", ["word " * 1000])
