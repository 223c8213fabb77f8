"""``teola simulate``."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

LIGHT = ("naive_rag", "--rate", "0.05", "--queries", "20", "--assume", "documents=1")


@pytest.mark.parametrize("more", [(), ("advanced_rag", "--replicas", "llm=2")])
def test_the_same_bytes_for_the_same_seed(more):
    """In other processes, whatever order their hashes have; another seed gives another run."""
    found = []
    for seed, hashes in (("5", "1"), ("5", "2"), ("6", "1")):
        command = [sys.executable, "-m", "teola.runtime.cli", "simulate", *LIGHT, *more, "--json"]
        done = subprocess.run(
            [*command, "--seed", seed],
            check=True,
            capture_output=True,
            env=os.environ | {"PYTHONHASHSEED": hashes},
        )
        found.append(done.stdout)
    assert found[0] == found[1]
    assert found[1] != found[2]


def test_it_prints_a_table(teola_command):
    """Percentiles, each engine, the bottleneck."""
    done = teola_command("simulate", *LIGHT)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("naive_rag -O2, remaining-work: 20 queries in ")
    assert lines[1] == "none failed"
    assert lines[3].split() == ["seconds", "mean", "p50", "p90", "p95", "p99", "most"]
    assert [line.split()[0] for line in lines[4:6]] == ["latency", "first"]
    assert [line.split()[0] for line in lines[8:11]] == ["embedder", "llm", "store"]
    assert lines[-1] == "bottleneck: llm"


def test_a_door_refuses_who_comes_while_it_is_full(teola_command):
    """One query at a time: the others are refused, and counted as failures."""
    done = teola_command("simulate", *LIGHT, "--max-queries", "1", "--json")
    found = json.loads(done.stdout)
    assert found["failures"] == {"overloaded": 20 - found["done"]}
    assert 1 <= found["done"] < 20


def test_json_has_everything_but_the_queries(teola_command):
    """One object."""
    done = teola_command("simulate", *LIGHT, "--json", "--policy", "fifo", "-O0")
    found = json.loads(done.stdout)
    assert found["policy"] == "fifo"
    (application,) = found["applications"]
    assert (application["name"], application["options"]) == ("naive_rag", "-O0")
    assert found["queries"] == found["done"] == 20
    assert found["latency"]["p50"] <= found["latency"]["p99"] <= found["latency"]["most"]
    assert {engine["name"] for engine in found["engines"]} == {"embedder", "llm", "store"}
    assert "samples" not in found
    assert "samples" not in application


def test_a_plan_and_a_trace_are_taken(teola_command, tmp_path):
    """With a profile, which a plan cannot be compiled with any more, but simulated."""
    teola_command("compile", "naive_rag", "-O1", "-o", tmp_path / "rag.plan.json")
    (tmp_path / "trace.jsonl").write_text('{"at_s": 1}\n{"at_s": 60}\n')
    entry = {"operation": "decode", "knee": 1, "base_ms": 0, "item_ms": 0, "origin": "measured"}
    engine = {"kind": "llm", "backend": "transformers", "model": "smollm2-135m-instruct"}
    free = [{**entry, "operation": name, "engine": engine} for name in ("prefill", "decode")]
    profile = tmp_path / "free.json"
    profile.write_text(json.dumps({"schema": "teola.profile/1", "entries": free}))
    words = ("--trace", tmp_path / "trace.jsonl", "--profile", profile, "--json")
    done = teola_command("simulate", tmp_path / "rag.plan.json", *words)
    found = json.loads(done.stdout)
    (application,) = found["applications"]
    assert (application["name"], application["options"]) == ("rag", "-O1")
    assert application["queries"] == found["queries"] == 2
    assert found["bottleneck"] == "embedder"


def test_the_plot_is_a_drawing(teola_command, tmp_path):
    """A dot for each query; axes have labels."""
    plot = tmp_path / "latency.svg"
    assert teola_command("simulate", *LIGHT, "--plot", plot).exit_code == 0
    root = ET.fromstring(plot.read_text())  # noqa: S314 - our own drawing
    space = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{space}circle")) == 20
    texts = [element.text for element in root.iter(f"{space}text")]
    assert {"arrival (seconds)", "latency (seconds)"} <= set(texts)


TWO = ("naive_rag", "advanced_rag", "--queries", "16", "--assume", "documents=1")


def test_applications_share_a_pool(teola_command):
    """Each has its own lines, and all together; engines of one kind and model are one."""
    done = teola_command("simulate", *TWO, "--rate", "0.03")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("naive_rag -O2, advanced_rag -O2, remaining-work: 16 queries in ")
    names = [line.split(":")[0] for line in lines[4:] if line and not line.startswith(" ")]
    assert names[:3] == ["naive_rag", "advanced_rag", "together"]
    assert sum(line.startswith("  latency") for line in lines) == 3
    engines = [line.split()[0] for line in lines if line.split()[2:3] and "%" in line]
    assert engines == ["embedder", "llm", "reranker", "store"]


def test_values_may_be_for_one_application(teola_command, tmp_path):
    """Rates, traces, sizes, inputs and settings."""
    (tmp_path / "trace.jsonl").write_text('{"at_s": 3}\n{"at_s": 90}\n')
    words = ("--rate", "naive_rag:0.05", "--trace", f"advanced_rag:{tmp_path / 'trace.jsonl'}")
    words += ("--assume", "advanced_rag:expand.decode:tokens=20", "--same", "naive_rag:documents")
    words += ("--set", "advanced_rag:modules.best.with.top_k=2", "--json")
    done = teola_command("simulate", *TWO, *words)
    assert done.exit_code == 0, done.stderr
    applications = json.loads(done.stdout)["applications"]
    assert [(one["name"], one["queries"]) for one in applications] == [
        ("naive_rag", 16),
        ("advanced_rag", 2),
    ]


def test_one_file_twice_is_two_applications(teola_command):
    """The second is numbered."""
    done = teola_command("simulate", *LIGHT[:1], *LIGHT, "--json", "--rate", "naive_rag#2:0.1")
    assert done.exit_code == 0, done.stderr
    applications = json.loads(done.stdout)["applications"]
    assert [one["name"] for one in applications] == ["naive_rag", "naive_rag#2"]
    assert applications[0]["queries"] < applications[1]["queries"]


def test_each_application_has_its_colour(teola_command, tmp_path):
    """And a legend says which."""
    plot = tmp_path / "latency.svg"
    assert teola_command("simulate", *TWO, "--rate", "0.03", "--plot", plot).exit_code == 0
    root = ET.fromstring(plot.read_text())  # noqa: S314 - our own drawing
    space = "{http://www.w3.org/2000/svg}"
    dots = [one for one in root.iter(f"{space}circle") if one.get("class") == "query"]
    assert len(dots) == 16
    assert len({dot.get("fill") for dot in dots}) == 2
    texts = {element.text for element in root.iter(f"{space}text")}
    assert {"naive_rag", "advanced_rag"} <= texts


def test_replicas_are_given_and_searched_for(teola_command):
    """``--slo`` says what it tried, what holds and what is reached."""
    words = (*LIGHT[:1], "--rate", "0.2", *LIGHT[3:], "--slo", "p95=60s")
    done = teola_command("simulate", *words, "--replicas", "store=2")
    assert done.exit_code == 0, done.stderr
    assert "embedder=1 llm=1 store=2: p95 " in done.stderr
    told = done.stdout.splitlines()[-2:]
    assert told[0].startswith("replicas: embedder=")
    assert told[1].startswith("hold p95 of 60 s: p95 ")
    assert "store x2" in done.stdout


def test_what_no_replicas_hold_is_said(teola_command):
    """Exit code 1; a query alone is too slow already."""
    words = (*LIGHT, "--slo", "mean=10ms", "--most-replicas", "2")
    done = teola_command("simulate", *words)
    assert done.exit_code == 1
    told = done.stdout.splitlines()[-2:]
    assert told[0].startswith("no replicas hold mean of 0.01 s: 2 of each engine have mean ")
    assert told[1].startswith("queries that meet no others are too slow already: mean ")
    as_json = teola_command("simulate", *words, "--json", "--quiet")
    found = json.loads(as_json.stdout)["slo"]
    assert found["holds"] is False
    assert found["objectives"][0]["alone"]["naive_rag"] > 0.01
    assert as_json.stderr == ""


def test_a_timeline_is_a_drawing(teola_command, tmp_path):
    """Of the query that is asked for."""
    words = ("--timeline", tmp_path / "query.svg", "--query", "3", "--span", "30")
    assert teola_command("simulate", *LIGHT, *words).exit_code == 0
    root = ET.fromstring((tmp_path / "query.svg").read_text())  # noqa: S314 - our own drawing
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert any(text.startswith("naive_rag -O2, remaining-work: query 3 took ") for text in texts)
    assert {"embedder", "llm", "store"} <= set(texts)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Give either --rate N or --trace FILE"),
        (("--rate", "1", "--trace", "x.jsonl"), "Give either --rate N or --trace FILE"),
        (("--trace", "x.jsonl", "--queries", "3"), "--queries goes with --rate"),
        (("--rate", "0"), "must be above 0"),
        (("--rate", "1", "--policy", "lifo"), "there are: fifo"),
        (("--rate", "1", "--same", "docs"), "has no input 'docs'"),
        (("--rate", "1", "--assume", "nothing=3"), "names nothing of this workflow"),
        (("--rate", "1", "--plot", "latency.png"), "ends in .svg"),
        (("--rate", "1", "--timeline", "query.png"), "ends in .svg"),
        (("--rate", "1", "--query", "2"), "--query and --span say what --timeline draws"),
        (("--rate", "often"), "no number of queries a second"),
        (("--rate", "rag:1"), "a second; the applications are naive_rag"),
        (("naive_rag", "--rate", "naive_rag:1"), "when do queries of naive_rag#2 come?"),
        (("advanced_rag", "--rate", "1", "--rate", "advanced_rag:1e-9"), "is one of advanced_rag"),
        (("--rate", "1", "--replicas", "lmm=4"), "there is no engine 'lmm'; there are: embedder"),
        (("--rate", "1", "--replicas", "llm"), "write ENGINE=N, as in llm=4"),
        (("--rate", "1", "--slo", "p95=4"), "for seconds write 4s"),
        (("--rate", "1", "--slo", "p95=4s", "--replicas", "llm=99"), "--most-replicas is 32"),
    ],
)
def test_mistakes_are_explained(teola_command, words, message):
    """Exit code 2 where what was given is at fault."""
    done = teola_command("simulate", "naive_rag", *words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stdout == ""
