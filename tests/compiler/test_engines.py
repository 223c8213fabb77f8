"""Engines: their settings, their identity, and what a plan keeps of them."""

import json
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from teola.compiler import plugins
from teola.compiler.diagnostics import Diagnostics
from teola.compiler.engine_reader import read_engines
from teola.compiler.engines import (
    BACKENDS,
    KINDS,
    KNOWN_MODELS,
    EngineSettings,
    backends,
    canonical,
    default_backend,
    identity,
    portable,
)
from teola.compiler.source import Source, load_yaml

LLM = {"kind": "llm", "model": "smollm2-135m-instruct"}
CROSS_ENCODER = "{kind: reranker, backend: cross-encoder%s}"
"""Of which no model is known by name."""


def read(entry):
    """The engine ``x`` of a file, and the file's problems."""
    diagnostics = Diagnostics()
    tree = load_yaml(Source("x.yaml", f"engines:\n  x: {entry}\n"), diagnostics)
    assert tree is not None
    found, complete = read_engines(tree, diagnostics)
    assert complete == (diagnostics.errors == () or "x" in found)
    return found.get("x"), list(diagnostics)


def minimal(kind, backend):
    """The least that an engine needs."""
    config = {"kind": kind, "backend": backend}
    settings = BACKENDS[kind, backend]
    model = getattr(settings, "model_kind", None)
    if "model" in settings.model_fields and settings.model_fields["model"].is_required():
        config["model"] = "any"
    elif model is not None:
        known = [name for name, of_kind in KNOWN_MODELS.items() if of_kind == model]
        config["model"] = known[0] if known else "hub:somebody/something"
    return config


@pytest.mark.parametrize(("kind", "backend"), BACKENDS)
def test_every_backend_has_defaults_for_what_it_does_not_need(kind, backend):
    """Kind, backend and a model are enough, and canonical settings hold every field."""
    found = canonical(minimal(kind, backend))
    assert found.keys() == BACKENDS[kind, backend].model_fields.keys()
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(("kind", "backend"), BACKENDS)
def test_canonical_settings_are_their_own(kind, backend):
    """Reading them again changes nothing, and the identity is the same."""
    config = minimal(kind, backend)
    assert canonical(canonical(config)) == canonical(config)
    assert identity(canonical(config)) == identity(config)


@pytest.mark.parametrize("model", BACKENDS.values())
def test_settings_are_frozen_and_described(model):
    """Nothing changes after reading, and editors can explain every setting of ours."""
    assert model.model_config["frozen"]
    assert model.model_config["extra"] == "forbid"
    missing = [
        name
        for name, field in model.model_fields.items()
        if name not in ("kind", "backend") and not field.description
    ]
    assert missing == []


def test_each_kind_has_a_default_backend_a_fake_and_a_simulated_one():
    """A workflow may leave the backend out; a fake and a simulation stand beside real engines."""
    assert {kind: default_backend(kind) for kind in KINDS} == {
        "llm": "transformers",
        "embedder": "sentence-transformers",
        "reranker": "maxsim",
        "store": "faiss",
    }
    assert all({"fake", "simulated"} <= set(backends(kind)) for kind in KINDS)


def test_what_is_written_does_not_matter_only_what_is_meant():
    """A default that is written out is the same engine; another dtype is another."""
    assert identity(LLM) == identity({**LLM, "backend": "transformers", "dtype": "auto"})
    assert identity(LLM) != identity({**LLM, "dtype": "float32"})
    assert len(identity(LLM)) == 32


def test_fakes_of_two_names_are_two_engines():
    """Tests can tell engines apart that do nothing."""
    fake = {"kind": "llm", "backend": "fake"}
    assert identity(fake) != identity({**fake, "model": "other"})


def test_a_plan_holds_no_folder():
    """A local model is named so, and its folder is given at run time."""
    config = {"kind": "llm", "path": "/models/mine"}
    assert canonical(config)["path"] == "/models/mine"
    assert canonical(config)["model"] == "local"
    assert portable(config)["path"] is None
    assert portable(config)["model"] == "local"
    assert canonical(portable(config)) == portable(config)
    assert portable({"kind": "store"}) == canonical({"kind": "store"})


def test_known_models_fit_their_engines():
    """Each is one that an engine of its kind takes."""
    for model, kind in KNOWN_MODELS.items():
        assert canonical({"kind": kind, "model": model})["model"] == model


def test_models_of_the_hub_are_written_with_their_prefix():
    """Any organisation and name is taken; whether it exists is found out when it is fetched."""
    settings, problems = read("{kind: llm, model: 'hub:meta-llama/Llama-3.2-1B'}")
    assert problems == []
    assert settings.model == "hub:meta-llama/Llama-3.2-1B"


@pytest.mark.parametrize(
    ("entry", "code", "helped"),
    [
        ("{kind: lm, model: a}", "unknown-kind", "'llm'"),
        ("{kind: vector_store}", "unknown-kind", "'store'"),
        ("{kind: [llm]}", "unknown-kind", None),
        ("{model: a}", "missing-key", None),
        ("{kind: store, backend: fais}", "unknown-backend", "'faiss'"),
        ("{kind: store, backend: 5}", "unknown-backend", None),
        ("{kind: llm, model: smollm2}", "unknown-model", "'smollm2-135m-instruct'"),
        ("{kind: llm, model: a/b}", "unknown-model", "hub:a/b"),
        ("{kind: llm, model: ./b}", "unknown-model", "path: ./b"),
        ("{kind: llm, model: 'hub:b'}", "unknown-model", "hub:organisation/name"),
        ("{kind: llm, model: all-minilm-l6-v2}", "wrong-model", "smollm2-135m-instruct"),
        ("{kind: llm}", "missing-key", "smollm2-135m-instruct"),
        (CROSS_ENCODER % "", "missing-key", "model: hub:organisation/name, or path: FOLDER"),
        (CROSS_ENCODER % ", model: x", "unknown-model", "model: hub:organisation/name, or"),
        (CROSS_ENCODER % ", model: all-minilm-l6-v2", "wrong-model", "hub:organisation/name"),
        ("{kind: llm, model: smollm2-135m-instruct, path: a}", "two-models", "model: local"),
        ("{kind: store, metrc: l2}", "unknown-key", "'metric'"),
        ("{kind: store, metric: euclidean}", "bad-value", "'l2'"),
        ("{kind: store, metric: cos}", "bad-value", "'cosine'"),
        ("{kind: llm, path: a, dtype: bf16}", "bad-value", "'bfloat16'"),
        ("{kind: llm, path: a, kv_pages: 0}", "bad-value", None),
        ("{kind: llm, path: a, threads: '2'}", "wrong-type", "without quotes"),
        ("{kind: embedder, path: a, truncate: no}", "wrong-type", "write false"),
        ("{kind: llm, path: a, api_key: {env: KEY}}", "unknown-key", None),
        ("{kind: llm, path: a, attn_implementation: flash_attention_2}", "unknown-key", None),
        ("{kind: store, backend: fake, latency_ms: -1}", "bad-value", None),
        ("gpt-4", "wrong-type", "{kind: llm, model: gpt-4}"),
    ],
)
def test_wrong_engines_say_what_would_be_right(entry, code, helped):
    """One problem each, with the nearest right spelling where there is one."""
    _, [problem] = read(entry)
    assert problem.code == code
    assert problem.span.line == 2
    if helped is not None:
        assert helped in problem.help


def test_wrong_configs_of_programs_raise():
    """Without a file there is no place to point at."""
    with pytest.raises(ValidationError):
        canonical({"kind": "llm"})
    with pytest.raises(KeyError):
        canonical({"kind": "llm", "backend": "none"})


class Remote(EngineSettings):
    """Settings of a plug-in's engine."""

    kind: str = "llm"
    backend: str = "remote"
    url: str


@pytest.fixture
def installed(monkeypatch):
    """Pretend that plug-ins are installed: name -> what their entry point loads."""
    points = {}

    def install(name, load):
        points[name] = SimpleNamespace(name=name, value="remote:engine", load=load)

    monkeypatch.setattr(plugins, "_entry_points", lambda: points)
    return install


def test_plug_ins_name_their_settings(installed):
    """A backend that is not ours is looked up, and its settings are checked like ours."""
    installed("llm.remote", lambda: SimpleNamespace(settings=Remote))
    settings, problems = read("{kind: llm, backend: remote, url: 'http://x'}")
    assert problems == []
    assert settings == Remote(url="http://x")
    _, [problem] = read("{kind: llm, backend: remote, ulr: 'http://x', url: a}")
    assert problem.code == "unknown-key"
    assert "remote" in backends("llm")


def test_plug_ins_that_do_not_load_are_named(installed):
    """Their user must know which one it is."""

    def fail():
        raise OSError("no such library")

    installed("llm.remote", fail)
    _, [problem] = read("{kind: llm, backend: remote}")
    assert problem.code == "broken-plugin"
    assert "remote:engine" in problem.message
    assert "no such library" in problem.message


def test_plug_ins_without_settings_are_refused(installed):
    """What an entry point loads is checked when it is used."""
    installed("store.remote", object)
    _, [problem] = read("{kind: store, backend: remote}")
    assert problem.code == "broken-plugin"


def test_our_own_backends_ask_no_plug_in(monkeypatch):
    """Entry points are read only where a backend is unknown."""

    def refuse():
        raise AssertionError("looked up")

    monkeypatch.setattr(plugins, "_entry_points", refuse)
    assert read("{kind: store}")[1] == []
