"""The engines that the suite is run against: each is started once for all tests of a file."""

import asyncio
import json
from contextlib import ExitStack

import numpy as np
import pytest
import yaml

from teola.runtime.engines.tokenizer import load_tokenizer
from teola.runtime.models import ensure
from teola.runtime.simulation.clock import VirtualClockLoop
from tests.engines.backends import BACKENDS, SMOLLM, Backend, backends
from tests.engines.clients import BatchClient, LLMClient, Prompt, started
from tests.engines.tiny_models import save_bert
from tests.openai_server import serving
from tests.postgres_server import postgres_server
from tests.runtime.test_tokenizer import write_folder

CALL_S = 240
VIRTUAL_S = 1_000_000
QUESTIONS = (
    "What is the capital of France?",
    "Name three colours.",
    "Is water wet? Answer yes or no.",
    "Why is the sky blue? " * 12,
)


def pytest_addoption(parser):
    parser.addoption("--engine", action="append", default=[], help="settings of one engine more")


def pytest_configure(config):
    for text in config.getoption("--engine", []):
        given = dict(yaml.safe_load(text))
        traits = {name: given.pop(name) for name in ("other", "meaning") if name in given}
        kind, backend = given.pop("kind"), given.pop("backend")
        BACKENDS.append(Backend(kind, backend, given, name=f"{backend}-given", **traits))


def pytest_generate_tests(metafunc):
    """``engine`` is every backend that the nearest mark ``engines`` names; so are stores, else they
    are of every backend that has them."""
    wanted = metafunc.definition.get_closest_marker("engines")
    if "make_store" in metafunc.fixturenames:
        chosen = backends(*wanted.args, **wanted.kwargs) if wanted else backends("store")
        metafunc.parametrize("make_store", chosen, indirect=True)
    if wanted is not None and "engine" in metafunc.fixturenames:
        chosen = backends(*wanted.args, **wanted.kwargs)
        metafunc.parametrize("engine", chosen, indirect=True, scope="session")


@pytest.fixture(scope="session")
def on_loop():
    """Run a coroutine, bounded, on the one event loop that the session's engines live on."""
    with asyncio.Runner() as runner:
        yield lambda coroutine: runner.run(asyncio.wait_for(coroutine, CALL_S))


@pytest.fixture(scope="session")
def on_virtual_loop():
    """The same for fakes and simulations, whose times pass at once."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        yield lambda coroutine: runner.run(asyncio.wait_for(coroutine, VIRTUAL_S))


@pytest.fixture(scope="session")
def start(request, on_loop, on_virtual_loop):
    """Start an engine of a backend, with further settings, for as long as ``until`` is open."""

    def one(backend, until, **more):
        made = request.getfixturevalue(backend.made) if backend.made else {}
        client = LLMClient if backend.kind == "llm" else BatchClient
        loop = on_loop if backend.real else on_virtual_loop
        config = backend.config(**{**made, **more})
        found = until.enter_context(started(client, config, loop, backend.entry))
        found.backend = backend
        found.capabilities = backend.says(found.capabilities)
        return found

    return one


@pytest.fixture(scope="session")
def engine(request, start):
    """An engine of the backend that is the parameter."""
    with ExitStack() as until:
        yield start(request.param, until)


@pytest.fixture(scope="session")
def other(engine, start):
    """Another engine of the same backend, which gives the same results."""
    with ExitStack() as until:
        yield start(engine.backend, until, **engine.backend.other)


@pytest.fixture
def mortal(engine, start, request):
    """Another engine of the same backend, which may be killed."""
    if engine.backend.dies is None:
        yield request.getfixturevalue("other")
    else:
        with ExitStack() as until:
            yield start(engine.backend, until, **engine.backend.dies)


@pytest.fixture(scope="session")
def smollm_of_2048(tmp_path_factory):
    """Settings of SmolLM2 with a quarter of its context: to fill all of it takes minutes."""
    folder, weights = tmp_path_factory.mktemp("smollm"), ensure(SMOLLM)
    for file in weights.iterdir():
        (folder / file.name).symlink_to(file)
    config = {**json.loads((weights / "config.json").read_bytes()), "max_position_embeddings": 2048}
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return {"path": str(folder)}


@pytest.fixture(scope="session")
def tiny_cross_encoder(tmp_path_factory):
    """Settings of a cross-encoder with random weights."""
    return {"path": str(save_bert(tmp_path_factory.mktemp("cross-encoder")))}


@pytest.fixture(scope="session")
def server():
    """Settings of an engine on a server that speaks OpenAI's protocol."""
    with serving(pace_s=0.005) as one:
        yield {"base_url": one.url}


@pytest.fixture(scope="session")
def server_of_tokens(server, tmp_path_factory):
    """The same, where the tokenizer of the server's model is known."""
    return {**server, "path": str(write_folder(tmp_path_factory.mktemp("tokenizer")))}


@pytest.fixture
def prompts(engine):
    """Prompts in the form that the engine takes, the last one longer than a few blocks of KV."""
    made = []
    for question in QUESTIONS:
        messages = ({"role": "user", "content": question},)
        takes_tokens = engine.capabilities.takes_tokens
        tokens = load_tokenizer(engine.config).encode_chat(messages) if takes_tokens else ()
        made.append(Prompt(tuple(tokens), () if takes_tokens else messages))
    return made


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Settings of a store that keeps collections in a folder."""
    return {"path": str(tmp_path_factory.mktemp("store"))}


@pytest.fixture(scope="session")
def server_of_databases():
    """A PostgreSQL that runs for these tests."""
    with postgres_server() as one:
        yield one


@pytest.fixture(scope="session")
def database(server_of_databases):
    """Settings of a store in a database."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEOLA_TEST_DATABASE", server_of_databases.get_uri())
        yield {"url_env": "TEOLA_TEST_DATABASE"}


@pytest.fixture
def make_store(request, start):
    """Make stores of a backend with further settings; the first is empty."""
    with ExitStack() as until:
        made = []

        def make(**settings):
            one = start(request.param, until, **settings)
            for name in () if made else one.control("describe")["collections"]:
                one.control("drop", collection=name)
            made.append(one)
            return one

        yield make


@pytest.fixture
def store(make_store):
    """An empty store."""
    return make_store()


@pytest.fixture
def same():
    """Whether two results are the same, in float32: the last bits may differ with the batch."""

    def compare(one, other):
        if isinstance(one, np.ndarray | float) and isinstance(other, np.ndarray | float):
            return np.allclose(one, other, rtol=0, atol=2e-6)
        if isinstance(one, dict):
            return one.keys() == other.keys() and all(compare(one[key], other[key]) for key in one)
        if isinstance(one, list | tuple | np.ndarray):
            return len(one) == len(other) and all(map(compare, one, other))
        return one == other

    return compare
