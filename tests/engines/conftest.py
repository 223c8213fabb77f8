"""Each kind of engine, fake and real; a real one starts once for the whole session."""

import asyncio
from contextlib import contextmanager

import numpy as np
import pytest

from teola.runtime.engines import find_entry
from teola.runtime.engines.protocol import Failure, Generate, Request
from teola.runtime.hosts import connect

BACKENDS = ("fake", pytest.param("real", marks=pytest.mark.models))
CALL_S = 240
MINILM = {"model": "all-minilm-l6-v2", "dtype": "float32"}
SMOLLM = {"model": "smollm2-135m-instruct", "dtype": "float32"}
EMBEDDERS = {
    "fake": {"kind": "embedder", "backend": "fake", "limit_tokens": 512},
    "real": {"kind": "embedder", "backend": "sentence-transformers", **MINILM},
}
RERANKERS = {
    "fake": {"kind": "reranker", "backend": "fake"},
    "real": {"kind": "reranker", "backend": "maxsim", **MINILM},
}
STORES = {
    "fake": {"kind": "store", "backend": "fake"},
    "real": {"kind": "store", "backend": "faiss"},
}
LLMS = {
    "fake": {"kind": "llm", "backend": "fake", "max_requests": 32},
    "real": {"kind": "llm", "backend": "transformers", **SMOLLM},
}
SMALL_LLM = {**LLMS["real"], "kv_pages": 32}


@pytest.fixture(scope="session")
def on_loop():
    """Run a coroutine, bounded, on the one event loop that the session's engines live on."""
    with asyncio.Runner() as runner:
        yield lambda coroutine: runner.run(asyncio.wait_for(coroutine, CALL_S))


class BatchClient:
    """A started engine for items, to call from tests; ``config`` is what it was made with."""

    def __init__(self, config, on_loop):
        self.config = config
        self._on_loop = on_loop
        self._handle = connect(find_entry(config["kind"], config["backend"]), config)
        self.capabilities = on_loop(self._handle.start())

    def run(self, *requests):
        return self._on_loop(self._handle.run(requests))

    def items(self, operation, items, **common):
        """The results of one request."""
        (results,) = self.run(Request(operation, items, common))
        return results

    def control(self, command, **arguments):
        return self._on_loop(self._handle.control(command, arguments))

    def close(self):
        self._on_loop(self._handle.close())


class Answer:
    """All events of one request."""

    def __init__(self):
        self.events = []
        self.over = asyncio.Event()

    @property
    def tokens(self):
        return [token for event in self.events for token in event.tokens]

    @property
    def finish_reason(self):
        return self.events[-1].finish_reason

    @property
    def failure(self):
        return self.events[-1].failure


class LLMClient:
    """A started LLM engine, to call from tests."""

    def __init__(self, config, on_loop):
        self.config = config
        self._on_loop = on_loop
        self._count = 0
        self.answers = {}
        self.handle = connect(find_entry(config["kind"], config["backend"]), config)
        self.handle.listen(self._hear)
        self.capabilities = on_loop(self.handle.start())

    def _hear(self, events):
        assert len({event.id for event in events}) == len(events), "one event a request and step"
        for event in events:
            answer = self.answers[event.id]
            assert not answer.over.is_set(), "nothing follows the last event"
            answer.events.append(event)
            if event.finish_reason is not None or event.failure is not None:
                answer.over.set()

    def request(self, tokens, max_tokens, **settings):
        self._count += 1
        request = Generate(f"q{self._count}", tuple(tokens), max_tokens, **settings)
        self.answers[request.id] = Answer()
        return request

    async def finish(self, requests):
        """Submit and wait for all."""
        await self.handle.submit(requests)
        for request in requests:
            await self.answers[request.id].over.wait()
        return [self.answers[request.id] for request in requests]

    def generate(self, *requests):
        """The answers to (tokens, max_tokens, settings) at once."""
        made = [self.request(tokens, count, **settings) for tokens, count, settings in requests]
        return self.run(self.finish(made))

    def run(self, coroutine):
        return self._on_loop(coroutine)

    def close(self):
        self._on_loop(self.handle.close())


@contextmanager
def started(client, config, on_loop):
    one = client(config, on_loop)
    try:
        yield one
    finally:
        one.close()


@pytest.fixture(scope="session", params=BACKENDS)
def embedder(request, on_loop):
    with started(BatchClient, EMBEDDERS[request.param], on_loop) as one:
        yield one


@pytest.fixture(scope="session", params=BACKENDS)
def reranker(request, on_loop):
    with started(BatchClient, RERANKERS[request.param], on_loop) as one:
        yield one


@pytest.fixture(params=["fake", "real"])
def store(request, on_loop):
    """An empty store; the real one needs no weights."""
    with started(BatchClient, STORES[request.param], on_loop) as one:
        yield one


@pytest.fixture
def make_store(on_loop):
    """Make real stores with other settings."""
    made = []

    def make(**settings):
        made.append(BatchClient({**STORES["real"], **settings}, on_loop))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="session", params=BACKENDS)
def llm(request, on_loop):
    with started(LLMClient, LLMS[request.param], on_loop) as one:
        yield one


@pytest.fixture(scope="session")
def small_llm(on_loop):
    """A real LLM with little room for KV."""
    with started(LLMClient, SMALL_LLM, on_loop) as one:
        yield one


@pytest.fixture
def truncating(on_loop):
    """Start an engine of another one's config that cuts long texts."""
    made = []

    def make(client):
        made.append(BatchClient({**client.config, "truncate": True}, on_loop))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def same():
    """Whether two results are the same, in float32: the last bits may differ with the batch."""

    def compare(one, other):
        if isinstance(one, Failure) or isinstance(other, Failure):
            return one == other
        return np.allclose(np.asarray(one), np.asarray(other), rtol=0, atol=2e-6)

    return compare
