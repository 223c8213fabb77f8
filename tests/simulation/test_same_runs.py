"""A simulation has the same outcome whichever process runs it: under all policies, with faults."""

import json
import os
import subprocess
import sys

from teola.runtime.policies import POLICIES

WORDS = (
    *("simulate", "naive_rag", "advanced_rag", "--queries", "24", "--rate", "0.5"),
    *("--assume", "documents=1", "--seed", "3", "--json", "--quiet"),
)
MORE = ((), ("--max-wait", "8"), ("--replicas", "llm=2", "--replicas", "embedder=2"))
SIMULATE = """
import json, sys
from teola.runtime.cli.application import teola

for words in json.loads(sys.argv[1]):
    teola(words, standalone_mode=False)
"""
SOAK = """
import json, sys
from benchmarks.soak import virtual

for seed in (0, 1):
    found = virtual(45.0, seed)
    print(json.dumps({name: found[name] for name in ("queries", "faults", "outcomes")}))
"""


def twice(program, *words):
    """The lines that a program prints, in two processes whose hashes have different orders."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, *words],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONHASHSEED": hashes},
        )
        for hashes in ("1", "2")
    ]
    told = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert told[0] == told[1]
    return told[0].decode().splitlines()


def test_every_policy_simulates_alike():
    """Alone, with a bound on waiting, and with replicas; and each policy is another run."""
    told = twice(
        SIMULATE,
        json.dumps([[*WORDS, "--policy", name, *more] for name in POLICIES for more in MORE]),
    )
    found = [json.loads(line) for line in "".join(told).replace("}{", "}\n{").splitlines()]
    latencies = {json.dumps(one["latency"]) for one in found}
    assert len(found) == len(POLICIES) * len(MORE)
    assert len(latencies) > len(POLICIES)


def test_faults_happen_alike():
    """The same seed has the same faults and outcomes; another one has others."""
    one, other = twice(SOAK)
    assert one != other
    assert sum(json.loads(one)["faults"].values()) > 10
