"""``teola simulate``."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

LIGHT = ("naive_rag", "--rate", "0.05", "--queries", "20", "--assume", "documents=1")


def test_the_same_bytes_for_the_same_seed():
    """In other processes, whatever order their hashes have; another seed gives another run."""
    found = []
    for seed, hashes in (("5", "1"), ("5", "2"), ("6", "1")):
        command = [sys.executable, "-m", "teola.runtime.cli", "simulate", *LIGHT, "--json"]
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


def test_json_has_everything_but_the_queries(teola_command):
    """One object."""
    done = teola_command("simulate", *LIGHT, "--json", "--policy", "fifo", "-O0")
    found = json.loads(done.stdout)
    assert found["policy"] == "fifo"
    assert found["level"] == "O0"
    assert found["queries"] == found["done"] == 20
    assert found["latency"]["p50"] <= found["latency"]["p99"] <= found["latency"]["most"]
    assert {engine["name"] for engine in found["engines"]} == {"embedder", "llm", "store"}
    assert "samples" not in found


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
    assert (found["level"], found["queries"]) == ("O1", 2)
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
    ],
)
def test_mistakes_are_explained(teola_command, words, message):
    """Exit code 2 where what was given is at fault."""
    done = teola_command("simulate", "naive_rag", *words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stdout == ""
