"""``teola profile`` on fakes: the table, the file, and what is said when something is missing."""

import inspect
import json

import pytest

from teola.compiler.cost.profile import load_profiles
from teola.compiler.engines import canonical
from teola.runtime import profiling
from teola.runtime.profiling import Effort

WORKFLOW = """
teola: 1
name: small
inputs:
  question: text
  documents: list<document>
engines:
  embedder: {kind: embedder, backend: fake%s}
  store: {kind: store, backend: fake}
modules:
  chunks:
    uses: chunk
    inputs: {documents: inputs.documents}
    with: {size: 64}
  indexed:
    uses: index
    inputs: {chunks: chunks.chunks}
  found:
    uses: search
    inputs: {queries: inputs.question, collection: indexed.collection}
outputs:
  passages: found.passages
"""


HYBRID = "{chunks: chunks.chunks}\n    with: {mode: hybrid}"


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """Commands measure for a moment."""
    monkeypatch.setattr("teola.runtime.cli.profiling.QUICK", Effort(5, least=1, most=1))


@pytest.fixture
def workflow(tmp_path):
    """Write the workflow, with these further settings of its embedder."""

    def write(settings=""):
        path = tmp_path / "small.yaml"
        path.write_text(WORKFLOW % settings, encoding="utf-8")
        return path

    return write


def test_the_file_is_a_profile_that_compilations_take(teola_command, workflow, tmp_path):
    """Its entries count before the shipped ones; it names no folder."""
    output = tmp_path / "profile.json"
    done = teola_command("profile", workflow(), "--quick", "-o", output, "--quiet")
    assert done.exit_code == 0, done.stderr
    assert done.stderr == f"wrote {output}: 5 operations\n"
    profiles = load_profiles(output)
    store = canonical({"kind": "store", "backend": "fake"})
    for operation, engine in (("chunk", None), ("ingest", store), ("search", store)):
        entry = profiles.entry(operation, engine)
        assert entry is not None
        assert entry.origin == "measured"
        assert entry in profiles.entries[:4]
    assert str(tmp_path) not in output.read_text(encoding="utf-8")


def test_the_table_has_a_row_for_each_operation(teola_command, workflow):
    """Standard output has the table, standard error the progress."""
    done = teola_command("profile", workflow(), "--quick")
    assert done.exit_code == 0, done.stderr
    heading, *rows = (line.split() for line in done.stdout.split("\n") if "  " in line.strip())
    assert heading == "operation engine tokens knee 1 item at knee items/s fit".split()
    assert [row[0] for row in rows[:4]] == ["embed", "chunk", "ingest", "search"]
    assert "engine embedder: ready" in done.stderr
    assert "embed on embedder: done" in done.stderr


def test_the_table_has_whole_names(teola_command, workflow):
    """In 80 columns, those of the longest operations too."""
    path = workflow()
    path.write_text(path.read_text("utf-8").replace("{chunks: chunks.chunks}", HYBRID), "utf-8")
    table = teola_command("profile", path, "--quick").stdout
    assert "keyword_search " in table
    assert "…" not in table


def test_json_is_one_object(teola_command, workflow):
    """The profile as its file, how well it fits, and what is missing."""
    done = teola_command("profile", workflow(), "--quick", "--json", "--engine", "embedder", "-q")
    found = json.loads(done.stdout)
    assert found.keys() == {"profile", "fits", "unmeasured"}
    assert found["profile"]["schema"] == "teola.profile/1"
    fits = [(fit["operation"], fit["engine"]) for fit in found["fits"]]
    assert fits == [("embed", "embedder"), ("chunk", None)]
    assert found["unmeasured"] == []
    assert done.stderr == ""


def test_set_changes_the_engine_that_is_measured(teola_command, workflow):
    """And its entry says so."""
    words = ["--set", "engines.embedder.per_item_ms=1", "--engine", "embedder", "--json", "--quick"]
    found = json.loads(teola_command("profile", workflow(), *words).stdout)
    assert found["profile"]["entries"][0]["engine"]["per_item_ms"] == 1


def test_what_could_not_be_measured_is_named_and_the_rest_is_written(
    teola_command, workflow, tmp_path
):
    """Exit code 1; nothing is passed over in silence."""
    output = tmp_path / "profile.json"
    words = ["--quick", "-q", "-o", output]
    done = teola_command("profile", workflow(", fail_items: [' ']"), *words)
    assert done.exit_code == 1
    assert done.stderr.split("\n") == [
        f"wrote {output}: 4 operations",
        "not measured: embed on embedder: the fake engine was told to fail on ' '",
        "",
    ]
    assert load_profiles(output).entries[0].operation == "chunk"


def test_nothing_measured_writes_no_file(teola_command, tmp_path):
    """A profile without entries would say that there is one."""
    output = tmp_path / "profile.json"
    graph = inspect.cleandoc("""
        graph t
        engine emb = {"kind": "embedder", "backend": "fake", "die_after": 0}
        input texts: list<text>
        %e = embed texts=%inputs:texts {engine = emb}
        output e: list<embedding> = %e:embeddings
    """)
    source = tmp_path / "t.pgraph"
    source.write_text(graph + "\n", encoding="utf-8")
    words = ["--quick", "-q", "-o", output]
    done = teola_command("profile", source, *words)
    assert done.exit_code == 1, done.stderr
    assert done.stderr.startswith("not measured: embed on emb: ")
    assert done.stdout == ""
    assert not output.exists()


def test_an_unknown_engine_is_bad_input(teola_command, workflow):
    done = teola_command("profile", workflow(), "--engine", "llm", "-q")
    assert done.exit_code == 2
    assert done.stderr == "error: small has no engine 'llm': it has embedder, store\n"


def test_a_graph_without_engines_is_bad_input(teola_command, tmp_path):
    source = tmp_path / "t.pgraph"
    text = "graph t\ninput x: text\n%w = wrap value=%inputs:x\noutput y: list<text> = %w:items\n"
    source.write_text(text, encoding="utf-8")
    done = teola_command("profile", source, "-q")
    assert done.exit_code == 2
    assert done.stderr == "error: t has no engines: there is nothing to measure\n"


def test_a_file_that_could_not_be_written_is_refused_before_measuring(
    teola_command, workflow, tmp_path
):
    """Minutes of measuring are not thrown away; nor is the workflow."""
    source = workflow()
    missing = teola_command("profile", source, "-o", tmp_path / "absent" / "p.json")
    assert missing.exit_code == 2
    assert "there is no folder" in missing.stderr
    itself = teola_command("profile", source, "-o", source)
    assert itself.exit_code == 2
    assert "would overwrite what is measured" in itself.stderr


def test_all_that_the_package_offers_is_there():
    """`__all__` is the surface."""
    assert all(hasattr(profiling, name) for name in profiling.__all__)
