"""The table of engines: lazy, whole, and open to plug-ins."""

import importlib.util
from importlib.metadata import EntryPoint

import pytest

from teola.compiler.engines import BACKENDS
from teola.runtime.engines import ENGINES, EngineEntry, find_entry, registry
from teola.runtime.errors import RunError

PLUGIN = EngineEntry("echo_engine:EchoEngine", host="loop")


@pytest.fixture
def plugged(monkeypatch):
    """Entry points as if installed."""

    def plug(**points):
        found = {
            name.replace("_", "."): EntryPoint(name.replace("_", "."), value, registry.GROUP)
            for name, value in points.items()
        }
        monkeypatch.setattr(registry, "_plugins", lambda: found)

    return plug


def test_every_backend_of_the_language_has_an_engine():
    """What the compiler accepts, the runtime runs."""
    assert set(ENGINES) == set(BACKENDS)


@pytest.mark.parametrize("entry", ENGINES.values(), ids=lambda entry: entry.factory)
def test_every_factory_names_a_module_that_exists(entry):
    """It is found without being imported."""
    module, _, name = entry.factory.partition(":")
    assert name.isidentifier()
    assert importlib.util.find_spec(module) is not None


def test_models_run_in_processes_and_fakes_on_the_loop():
    """Where an engine lives follows from what it is."""
    hosts = {key: entry.host for key, entry in ENGINES.items()}
    without_models = ("fake", "simulated")
    assert all(hosts[key] == "loop" for key in hosts if key[1] in without_models)
    assert all(ENGINES[key].host == "process" for key in ENGINES if ENGINES[key].weights)
    assert hosts["store", "faiss"] == "thread"


def test_an_unknown_backend_lists_those_there_are(plugged):
    """Plug-ins included."""
    plugged(llm_extra="nowhere:NOTHING")
    with pytest.raises(RunError, match="'vlm'.*there are extra, fake, .*, vllm"):
        find_entry("llm", "vlm")
    with pytest.raises(RunError, match="kind is unknown"):
        find_entry("oracle", "fake")


def test_a_plug_in_names_its_engine(plugged):
    """By an entry point that loads an EngineEntry; ours come first."""
    plugged(llm_extra=f"{__name__}:PLUGIN", llm_fake="nowhere:NOTHING")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EntryPoint, "load", lambda point: PLUGIN)
        assert find_entry("llm", "extra") is PLUGIN
    assert find_entry("llm", "fake") is ENGINES["llm", "fake"]


def test_a_broken_plug_in_is_named(plugged):
    """The entry point and what is wrong with it."""
    plugged(llm_extra="nowhere:NOTHING", llm_other="os:sep")
    with pytest.raises(RunError, match=r"llm\.extra \(nowhere:NOTHING\): No module"):
        find_entry("llm", "extra")
    with pytest.raises(RunError, match="is a str, not an EngineEntry"):
        find_entry("llm", "other")
