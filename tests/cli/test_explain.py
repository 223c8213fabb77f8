"""``teola explain``: what each pass did, what it is predicted to gain, and what bad input is told.

The golden cases are ``tests/golden/explain/NAME.txt``. After a wanted change run this file as a
script: it writes the texts anew, and the difference is reviewed.
"""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from teola.compiler.api import compile_workflow
from teola.compiler.graph.text import parse_graph, print_graph
from teola.compiler.source import Source
from teola.runtime.cli.application import teola

FOLDER = Path(__file__).resolve().parent.parent / "golden" / "explain"
OPTIONS = "rag.yaml --profile profile.json --disable split-prefill"
CASES = {
    "rag": "rag.yaml --profile profile.json --assume documents=4 --bound",
    "rag_run": f"{OPTIONS} --run run.json",
    "rag_level_0": "rag.yaml --profile profile.json -O0",
    "replicas": "rag.yaml --profile profile.json --assume documents=40 --bound -O1"
    " --set engines.embedder.replicas=2 --set engines.reranker.replicas=3",
    "twins": "twins.pgraph --profile profile.json",
    "heads": "heads.pgraph --profile profile.json --assume question=20 --assume passages=20",
    "until": "twins.pgraph --until prune-order",
    "after_all": "twins.pgraph --print-after-all",
}


def said(words, folder=FOLDER):
    """What ``teola explain`` writes in a folder, 80 columns wide."""
    here = Path.cwd()
    os.chdir(folder)
    try:
        done = CliRunner(env={"COLUMNS": "80"}).invoke(teola, ["explain", *words.split()])
    finally:
        os.chdir(here)
    return done


def explained(words):
    done = said(f"{words} --json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", CASES)
def test_what_is_said_is_as_reviewed(case):
    """Every word and figure is the reviewed one, and the second time too."""
    done = said(CASES[case])
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == (FOLDER / f"{case}.txt").read_text(encoding="utf-8")
    assert said(CASES[case]).stdout == done.stdout


@pytest.mark.parametrize("case", CASES)
def test_it_fits_80_columns_without_colour(case):
    """In a pipe there are no control sequences, and but for graphs no long lines."""
    text = (FOLDER / f"{case}.txt").read_text(encoding="utf-8")
    assert "\x1b" not in text
    if case not in ("until", "after_all"):
        assert max(map(len, text.splitlines())) <= 80


def test_until_gives_a_graph_that_explain_takes_again(tmp_path):
    """The text form after a pass parses, and the passes go on from there."""
    text = said("twins.pgraph --until prune-order").stdout
    assert print_graph(parse_graph(Source("x", text))) == text
    (tmp_path / "pruned.pgraph").write_text(text, encoding="utf-8")
    again = said("pruned.pgraph -p deduplicate --json", tmp_path)
    assert [one["changed"] for one in json.loads(again.stdout)["passes"]] == [True]


def test_every_piece_of_print_after_all_parses():
    """One header a pass; what stands between two is a whole graph, or nothing where the pass
    changed nothing."""
    pieces = said("twins.pgraph --print-after-all").stdout.split("# -----// after ")[1:]
    assert [piece.partition(" //")[0] for piece in pieces[:4]] == [
        "prune-order",
        "deduplicate",
        "remove-dead",
        "pipeline-decode: no change",
    ]
    for piece in pieces:
        header, _, text = piece.partition("\n")
        assert ("no change" in header) == (not text)
        if text:
            assert print_graph(parse_graph(Source("x", text))) == text


def test_gains_of_passes_add_up():
    """From the chain as written to the optimised graph, pass by pass."""
    plain = explained("rag.yaml --profile profile.json")
    gains = sum(one["gain_ms"] for one in plain["passes"])
    assert gains == pytest.approx(plain["before"]["total_ms"] - plain["after"]["total_ms"], abs=0.1)
    assert plain["bound"] is None
    assert plain["run"] is None


def test_sizes_say_where_they_come_from():
    """A run's sizes are measured, those of the command line come before them."""
    facts = explained(f"{OPTIONS} --run run.json --assume chunks.chunk:chunks=50")["sizes"]
    sizes = {one["name"]: one for one in facts}
    assert (sizes["documents"]["items"], sizes["documents"]["origin"]) == (4, "measured")
    assert sizes["chunks.chunk:chunks"]["items"] == 50
    assert sizes["chunks.chunk:chunks"]["origin"] == "given"
    assert sizes["answer.decode"]["origin"] == "measured"
    assert sizes["question"]["origin"] == "assumed"


def test_an_answer_of_fixed_length_is_not_assumed():
    """``ignore_eos`` fixes how many tokens come."""
    words = "rag.yaml --set modules.answer.with.sampling.ignore_eos=true"
    sizes = {one["name"]: one["origin"] for one in explained(words)["sizes"]}
    assert (sizes["answer.decode"], sizes["expand.decode"]) == ("fixed", "assumed")


def test_a_run_is_compared_in_total_and_by_module():
    """By when a module has ended; the error is the share by which the prediction is late."""
    run = explained(f"{OPTIONS} --run run.json")["run"]
    assert run["total"]["measured_ms"] == 3000.0
    assert set(run["modules"]) == {"chunks", "indexed", "expand", "found", "best", "answer"}
    assert run["modules"]["found"]["measured_ms"] == 520.0
    answer = run["modules"]["answer"]
    assert answer["measured_ms"] == 3000.0
    assert answer["error"] == pytest.approx(answer["predicted_ms"] / 3000 - 1, abs=1e-3)


def test_the_bound_is_no_longer_than_the_prediction():
    """And the share is what the passes gain of what can be gained."""
    found = explained("rag.yaml --profile profile.json --bound")["bound"]
    assert found["bound_ms"] <= found["predicted_ms"] <= found["chain_ms"]
    possible = found["chain_ms"] - found["bound_ms"]
    share = (found["chain_ms"] - found["predicted_ms"]) / possible
    assert found["share"] == pytest.approx(share, abs=1e-3)


def test_json_has_the_graphs_that_were_asked_for():
    """``graph`` with --until, ``graphs`` with --print-after-all."""
    plain = explained("twins.pgraph --until deduplicate --print-after-all")
    assert [one["after"] for one in plain["graphs"]] == ["prune-order", "deduplicate"]
    assert plain["graph"] == plain["graphs"][-1]["graph"]
    assert [one["name"] for one in plain["passes"]] == ["prune-order", "deduplicate"]


def test_costs_are_sorted_by_what_they_are_worth():
    """Rough figures are named as such; a profile of the command line goes before them."""
    rough = explained("rag.yaml")["costs"]
    assert "decode on llm" in rough["rough"]
    given = explained("rag.yaml --profile profile.json")["costs"]
    assert "decode on llm" in given["given"]
    assert given["rough"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("missing.yaml", "error: missing.yaml: no such file"),
        ("rag.yaml --until polish", "error: --until polish: there is no such pass; those that run"),
        ("rag.yaml --until prune-oder", "did you mean 'prune-order'?"),
        ("rag.yaml -O0 --until prune-order", "it does not run here; those that run: none"),
        ("rag.yaml --disable polish", "error: there is no pass 'polish'"),
        ("rag.yaml --disable split-prefil", "; did you mean 'split-prefill'?"),
        ("rag.yaml -p prune-oder", "; did you mean 'prune-order'?"),
        ("rag.yaml --profile nope.json", "error: nope.json: the profile cannot be read: No such"),
        ("rag.yaml --assume expand.prefill:state=3", "names nothing of this workflow"),
        (
            "rag.yaml --assume document=4",
            "names nothing of this workflow: did you mean 'documents'",
        ),
        ("rag.yaml --assume documents=many", "error: cannot read the size 'documents=many'"),
        ("rag.yaml --assume documents=999999", "error: "),
        ("rag.plan.json", "error: rag.plan.json: a plan has the graph after all passes, but not"),
        ("rag.yaml --run missing.json", "error: missing.json: cannot be read: No such file"),
        ("rag.yaml --run rag.yaml", "error: rag.yaml: no JSON: "),
        ("rag.yaml --run profile.json", "error: profile.json: not the result of a run"),
        ("twins.pgraph --run run.json", "error: run.json: a run of another workflow than twins"),
        (
            "rag.yaml --run run.json",
            "made with -O2 --disable split-prefill, this is -O2: give the options that the run",
        ),
        (
            f"{OPTIONS} --until prune-order --json --run run.json",
            "this is -O2 --disable split-prefill --until prune-order: give",
        ),
        (
            f"{OPTIONS} --set engines.embedder.replicas=2 --run run.json",
            "of rag, also of -O2 --disable split-prefill: give the --set and --profile that",
        ),
        ("rag.yaml --until prune-order --bound", "error: --until and --print-after-all print gra"),
    ],
)
def test_bad_input_ends_with_2_and_a_message(words, message):
    """What was wrong, and what would be right."""
    done = said(words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_sizes_can_be_given_for_what_somebody_takes():
    """The message lists those, and no ports of other shapes of an answer."""
    listed = said("rag.yaml --assume nothing=3").stderr.partition("can be given for: ")[2]
    names = listed.strip().removesuffix(", …").split(", ")
    assert {"documents", "expand.decode:lines", "expand.prefill"} < set(names)
    assert not {"expand.decode:json_list", "expand.prefill:state", "expand.decode:bool"} & {*names}


def test_a_run_is_of_what_is_explained_whatever_options_say_so(tmp_path):
    """A run of a plan file is one of its workflow, and one with -p "" one with -O0; a comment or
    an input's default change nothing, a run that does not say of which plan it is is refused."""
    graph = """graph tiny
input queries: list<text> = ["a", "b"]
%a.distinct = distinct items=%inputs:queries @a
%b.take = take items=%a.distinct:items {count = 2} @b
order %a.distinct -> %b.take
output found: list<text> = %b.take:items
"""
    (tmp_path / "tiny.pgraph").write_text(graph, encoding="utf-8")
    call, file = CliRunner().invoke, str(tmp_path / "tiny.pgraph")
    runs = {name: tmp_path / f"{name}.json" for name in ("default", "chain", "nameless")}
    call(teola, ["compile", file, "-o", str(tmp_path / "tiny.plan.json")])
    runs["default"].write_text(
        call(teola, ["run", str(tmp_path / "tiny.plan.json"), "--json", "-q"]).stdout
    )
    chain = call(teola, ["run", file, "--json", "-q", "-p", ""]).stdout
    runs["chain"].write_text(chain)
    runs["nameless"].write_text(json.dumps(json.loads(chain) | {"plan": None}))
    (tmp_path / "tiny.pgraph").write_text("# new\n" + graph.replace('"b"]', '"c"]'), "utf-8")

    def told(run, *options):
        return call(teola, ["explain", file, "--run", str(runs[run]), *options])

    assert told("default").exit_code == told("chain", "-O0").exit_code == 0
    assert "it was made with -O0, this is -O2: give the options" in told("chain").stderr
    assert "it was made with -O2, this is -O0: give the options" in told("default", "-O0").stderr
    assert "does not say of which plan it is: run the workflow again" in told("nameless").stderr


def stamp() -> None:
    """Let the run be one of the plan that the cases compile."""
    made = compile_workflow(
        FOLDER / "rag.yaml", disable=["split-prefill"], profile=FOLDER / "profile.json"
    )
    run = FOLDER / "run.json"
    result = json.loads(run.read_text(encoding="utf-8")) | {"plan": made.identity()}
    run.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    stamp()
    for name, line in CASES.items():
        written = said(line)
        if written.exit_code:
            raise SystemExit(f"{name}: {written.stderr}")
        (FOLDER / f"{name}.txt").write_text(written.stdout, encoding="utf-8")
