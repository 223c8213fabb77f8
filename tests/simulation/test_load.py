"""What simulations find is what queueing theory, profiles and arithmetic say."""

from dataclasses import replace

import pytest

from teola.compiler.cost.sizes import Sizes, parse_sizes
from teola.runtime.errors import RunError
from teola.runtime.simulation import Workload, poisson, simulate
from tests.simulation.loads import ONE_SECOND, calling, embedding, profile

ONE_TEXT = Sizes({"texts": 1})
PREFILL = {"operation": "prefill", "knee": 1, "base_ms": 100, "item_ms": 0, "token_ms": 1}
DECODE = {"operation": "decode", "knee": 8, "base_ms": 10, "item_ms": 2}


@pytest.mark.parametrize(("load", "policy"), [(0.3, "fifo"), (0.6, "remaining-work")])
def test_one_server_waits_as_an_m_d_1_queue(tmp_path, load, policy):
    """Poisson arrivals and equal service times s: the mean wait is rho * s / (2 * (1 - rho))."""
    workload = Workload(poisson(load, 6000, seed=1), ONE_TEXT)
    report = simulate(
        embedding(), workload, profile=profile(tmp_path, ONE_SECOND), policy=policy, share=False
    )
    (engine,) = report.engines
    assert engine.queued.mean == pytest.approx(load / (2 * (1 - load)), rel=0.05)
    assert report.latency.mean == pytest.approx(engine.queued.mean + 1)


def test_a_door_turns_away_what_erlang_says(tmp_path):
    """One place and Poisson arrivals: of those that come while it is taken, rho / (1 + rho) of all
    (Erlang's loss formula), each is refused, and nobody waits."""
    workload = Workload(poisson(0.5, 6000, seed=1), ONE_TEXT)
    costs = profile(tmp_path, ONE_SECOND)
    report = simulate(embedding(), workload, profile=costs, share=False, max_queries=1)
    assert report.failures["overloaded"] / 6000 == pytest.approx(0.5 / 1.5, rel=0.05)
    assert report.done + report.failures["overloaded"] == 6000
    assert report.latency.most == pytest.approx(1)


def test_utilisation_adds_up(tmp_path):
    """Busy time is the time of all batches, and its share of the whole time is the utilisation."""
    workload = Workload(poisson(0.5, 400), ONE_TEXT)
    four = {**ONE_SECOND, "knee": 4}
    report = simulate(embedding(4), workload, profile=profile(tmp_path, four))
    (engine,) = report.engines
    assert report.done == report.queries == engine.items == 400
    assert engine.work < 400, "no two queries shared a batch"
    assert engine.busy_s == pytest.approx(engine.work * 1.0)
    assert engine.utilisation == pytest.approx(engine.busy_s / report.seconds)
    assert engine.running * engine.busy_s == pytest.approx(
        sum(sample.latency_s for sample in report.samples) - 400 * engine.queued.mean
    )
    assert report.throughput == pytest.approx(400 / report.seconds)
    assert report.bottleneck == "emb"


def test_a_call_takes_its_prefill_and_its_steps(tmp_path):
    """The prompt of 16 + 16 tokens in one step, which gives the first token; 9 more steps."""
    plan = calling({"max_tokens": 10, "ignore_eos": True})
    report = simulate(plan, Workload((5.0,)), profile=profile(tmp_path, PREFILL, DECODE))
    assert report.first_token.mean == pytest.approx((100 + 32) / 1000)
    assert report.latency.mean == pytest.approx((100 + 32 + 9 * 12) / 1000)
    assert report.engines[0].busy_s == pytest.approx(report.latency.mean)


def test_calls_decode_together(tmp_path):
    """Two calls that come together prefill in one step and decode in one batch."""
    plan = calling({"max_tokens": 10, "ignore_eos": True})
    report = simulate(plan, Workload((0.0, 0.0)), profile=profile(tmp_path, PREFILL, DECODE))
    assert report.latency.most == pytest.approx((100 + 2 * 32 + 9 * 14) / 1000)
    assert report.engines[0].running == pytest.approx(2)


def test_a_call_that_comes_while_others_decode_waits_for_the_end_of_a_step(tmp_path):
    """The first call decodes from 132 ms on in steps of 12 ms: the second begins at 144 ms."""
    plan = calling({"max_tokens": 30, "ignore_eos": True})
    report = simulate(plan, Workload((0.0, 0.133)), profile=profile(tmp_path, PREFILL, DECODE))
    first_steps = 100 + 32 + 12
    rest = (100 + 32 + 2) + 27 * 14  # the second prefill and one token of the first, then both
    assert report.samples[0].latency_s == pytest.approx((first_steps + rest) / 1000)


def test_calls_wait_for_kv(tmp_path):
    """An engine that holds one call at a time serves one after another."""
    plan = calling({"max_tokens": 10, "ignore_eos": True}, kv_tokens=60)
    report = simulate(plan, Workload((0.0, 0.0)), profile=profile(tmp_path, PREFILL, DECODE))
    assert [s.latency_s for s in report.samples] == pytest.approx([0.24, 0.48])
    assert report.engines[0].queued.most == pytest.approx(0.24)


def test_answers_vary_around_their_mean_and_end_at_max_tokens(tmp_path):
    """Log-normal lengths; the same for a query whatever the policy, so that policies compare."""
    plan = calling({"max_tokens": 400})
    sizes = parse_sizes(["a.decode:tokens=40"], plan.graph)
    workload = Workload(tuple(range(0, 3000, 10)), sizes, seed=3)
    steps = {"operation": "decode", "knee": 8, "base_ms": 10, "item_ms": 0}
    reports = [
        simulate(
            plan,
            workload,
            profile=profile(tmp_path, steps, {**PREFILL, "base_ms": 0, "token_ms": 0}),
            policy=policy,
        )
        for policy in ("fifo", "remaining-work")
    ]
    tokens = [round(sample.latency_s * 100) + 1 for sample in reports[0].samples]
    assert sum(tokens) / len(tokens) == pytest.approx(40, rel=0.1)
    assert min(tokens) < 20
    assert max(tokens) > 80
    assert reports[0].samples == reports[1].samples


def test_what_is_the_same_for_all_queries_is_done_once(tmp_path):
    """Sharing by content holds in simulations, too."""
    arrivals = (0.0, 5.0, 9.0)
    entry = profile(tmp_path, ONE_SECOND)
    own = simulate(embedding(), Workload(arrivals, ONE_TEXT), profile=entry)
    together = Workload((0.0, 0.1, 0.2), ONE_TEXT, same=frozenset({"texts"}))
    shared = simulate(embedding(), together, profile=entry)
    assert (own.engines[0].items, shared.engines[0].items) == (3, 1)


def test_failures_are_counted(tmp_path):
    """Tasks that wait longer than their timeout fail their query."""
    plan = embedding()
    (node,) = plan.graph.nodes
    hurried = replace(node, config={**node.config, "timeout_s": 1.5})
    plan = replace(plan, graph=plan.graph.with_(nodes=(hurried,)))
    report = simulate(plan, Workload((0.0,) * 3, ONE_TEXT), profile=profile(tmp_path, ONE_SECOND))
    assert (report.done, report.failures) == (1, {"timeout": 2})
    assert [sample.latency_s for sample in report.samples].count(None) == 2


def test_rough_and_missing_costs_are_named(tmp_path):
    """A figure that nobody measured is not passed off as one."""
    report = simulate(embedding(), Workload((0.0,), ONE_TEXT))
    assert report.structural == ("embed on emb",)
    assert report.unknown == ()


@pytest.mark.parametrize(
    ("workload", "options", "message"),
    [
        (Workload(()), {}, "needs arrivals"),
        (Workload((0.0,), same=frozenset({"texst"})), {}, "has no input 'texst' .it has texts"),
        (Workload((0.0,)), {"policy": "lifo"}, "no policy 'lifo'"),
    ],
)
def test_what_cannot_be_simulated_is_said(workload, options, message):
    """Before any time passes."""
    with pytest.raises(RunError, match=message):
        simulate(embedding(), workload, **options)
