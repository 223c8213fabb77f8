"""Engines with replicas, simulated."""

import pytest

from teola.compiler.cost.sizes import Sizes
from teola.runtime.errors import InputError
from teola.runtime.simulation import Workload, poisson, simulate
from tests.simulation.loads import ONE_SECOND, calling, embedding, profile

ONE_TEXT = Sizes({"texts": 1})


@pytest.mark.parametrize("asked", [{"replicas": 2}, {}])
def test_replicas_work_at_the_same_time(tmp_path, asked):
    """As the engine's setting says, or who simulates."""
    plan = embedding(**asked)
    counts = None if asked else {"emb": 2}
    workload = Workload((0.0, 0.0, 0.0), ONE_TEXT)
    report = simulate(plan, workload, profile=profile(tmp_path, ONE_SECOND), replicas=counts)
    (engine,) = report.engines
    assert sorted(sample.latency_s for sample in report.samples) == pytest.approx([1, 1, 2])
    assert (engine.replicas, engine.work, engine.items) == (2, 3, 3)
    assert engine.busy_s == pytest.approx(3)
    assert engine.utilisation == pytest.approx(3 / 4)


def test_calls_go_to_all_replicas(tmp_path):
    """An LLM that holds one call at a time serves two where it has two replicas."""
    prefill = {"operation": "prefill", "knee": 1, "base_ms": 100, "item_ms": 0}
    decode = {"operation": "decode", "knee": 1, "base_ms": 10, "item_ms": 0}
    plan = calling({"max_tokens": 11, "ignore_eos": True}, kv_tokens=60)
    report = simulate(
        plan,
        Workload((0.0, 0.0)),
        profile=profile(tmp_path, prefill, decode),
        replicas={"llm": 2},
    )
    assert report.latency.most == pytest.approx(0.2)
    assert report.engines[0].utilisation == pytest.approx(1)


def test_the_load_is_shared(tmp_path):
    """Four replicas at 3.2 queries a second are busy as one is at 0.8."""
    workload = Workload(poisson(3.2, 2000), ONE_TEXT)
    report = simulate(
        embedding(), workload, profile=profile(tmp_path, ONE_SECOND), replicas={"emb": 4}
    )
    assert report.engines[0].utilisation == pytest.approx(0.8, rel=0.05)


def test_an_engine_that_is_not_there_is_named():
    """With those that are."""
    with pytest.raises(InputError, match="there is no engine 'lmm'; there are: emb"):
        simulate(embedding(), Workload((0.0,), ONE_TEXT), replicas={"lmm": 2})
