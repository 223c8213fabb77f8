"""Settings of engines on servers: addresses and keys are checked before anything is sent."""

import pytest

from teola.compiler.api import compile_workflow
from teola.compiler.engines import canonical, identity, portable
from teola.compiler.errors import CompileError
from teola.compiler.plan import Plan

SERVER = "engines.llm.backend=openai"
LOCAL = "engines.llm.base_url=http://localhost:8000/v1"


def compiled(*sets):
    """A workflow of the gallery whose LLM is on a server."""
    return compile_workflow("naive_rag", sets=(SERVER, *sets))


def test_a_workflow_is_moved_to_a_server_from_outside():
    """Its model is what the server is asked for; no weights are named."""
    llm = compiled(LOCAL).graph.engines["llm"]
    assert llm["model"] == "smollm2-135m-instruct"
    assert (llm["base_url"], llm["api"]) == ("http://localhost:8000/v1", "auto")
    assert compiled().graph.engines["llm"]["base_url"] == "https://api.openai.com/v1"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost:8000", "must be an address that begins with http:// or https://"),
        ("ftp://host/v1", "must be an address that begins with http:// or https://"),
        ("http:///v1", "must be an address that begins with http:// or https://"),
        ("http://host:port/v1", "is no address"),
        ("http://user:pass@host/v1", "they would reach plans and logs"),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused(url, words):
    with pytest.raises(CompileError, match=words):
        compiled(f"engines.llm.base_url={url}")


def test_warm_ups_of_prompts_that_go_as_messages_are_refused():
    """They would have no effect."""
    with pytest.raises(CompileError, match="no effect on prompts that go as messages"):
        compiled(LOCAL, "engines.llm.warm_ups=true", "engines.llm.api=chat")
    assert compiled(LOCAL, "engines.llm.warm_ups=true").graph.engines["llm"]["warm_ups"] is True


def test_a_key_is_named_and_never_written():
    """What has the look of a key is no name of a variable, and `api_key` is no setting."""
    with pytest.raises(CompileError, match="api_key_env"):
        compiled("engines.llm.api_key_env=sk-12345")
    with pytest.raises(CompileError, match="did you mean 'api_key_env'"):
        compiled("engines.llm.api_key=sk12345")


def test_a_tokenizers_folder_does_not_change_which_model_is_asked_for(tmp_path, monkeypatch):
    """It is relative to whoever names it, and no plan holds it."""
    monkeypatch.chdir(tmp_path)
    plan = compiled(LOCAL, "engines.llm.path=models/mine")
    llm = plan.graph.engines["llm"]
    assert (llm["model"], llm["path"]) == ("smollm2-135m-instruct", str(tmp_path / "models/mine"))
    plan.save(tmp_path / "p.json")
    assert Plan.load(tmp_path / "p.json").graph.engines["llm"] == portable(llm)
    assert portable(llm) == {**llm, "path": None}


def test_two_servers_are_two_engines():
    one = {"kind": "llm", "backend": "openai", "model": "m", "base_url": "http://a/v1"}
    assert identity(one) != identity({**one, "base_url": "http://b/v1"})
    assert identity(one) == identity(canonical(one))
