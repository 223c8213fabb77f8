"""The search for replica counts."""

from math import inf

import pytest

from teola.compiler.cost.sizes import Sizes
from teola.runtime.errors import InputError
from teola.runtime.simulation import Application, Workload, poisson, simulate_together
from teola.runtime.simulation.objective import Objective
from teola.runtime.simulation.report import ApplicationReport, EngineLoad, Outcome, Report, Sample
from teola.runtime.simulation.search import apart, search
from tests.simulation.loads import ONE_SECOND, embedding, profile


def report_of(latencies, busy=(), name="a"):
    """What a search looks at."""
    samples = [Sample(0.0, latency) for latency in latencies]
    outcome = Outcome.of(samples, {}, (), 1.0)
    application = ApplicationReport(**vars(outcome), name=name, options="-O1")
    engines = tuple(EngineLoad(name, "x", 1, share, share, 1, 1, None) for name, share in busy)
    return Report(
        **vars(outcome),
        policy="fifo",
        seed=0,
        seconds=1.0,
        applications=(application,),
        engines=engines,
        structural=(),
        unknown=(),
    )


class Line:
    """Engines one after the other: each takes its work divided by its replicas, and a second more
    that no replica helps."""

    def __init__(self, **work):
        self.work = work
        self.tried = []

    def load(self, counts):
        """What a query takes with so many replicas."""
        self.tried.append(dict(counts))
        busy = {name: work / counts[name] for name, work in self.work.items()}
        return report_of([1 + sum(busy.values())], busy.items())


def searched(line, limit_s, most=9, **least):
    """The search for a mean of ``limit_s``."""
    counts = dict.fromkeys(line.work, 1) | least
    objectives = [Objective("mean", limit_s)]
    return search(objectives, counts, most, line.load, lambda _: report_of([1.0]))


def test_it_grows_the_bottleneck():
    """One by one: 1 + 8/n + 1/1 is at most 4 from n = 4 on."""
    found = searched(Line(llm=8, emb=1), 4)
    assert found.holds
    assert found.counts == {"llm": 4, "emb": 1}
    assert found.report.latency.mean == 4


def test_what_holds_already_is_left():
    """One simulation."""
    line = Line(llm=1)
    assert searched(line, 2).counts == {"llm": 1}
    assert line.tried == [{"llm": 1}]


def test_what_is_not_needed_is_taken_away():
    """On the way to where it holds the bottleneck changes: none of the counts can be less."""
    line = Line(llm=7, emb=6, store=5)
    found = searched(line, 5)
    for name, count in found.counts.items():
        if count > 1:
            fewer = line.load({**found.counts, name: count - 1})
            assert fewer.latency.mean > 5


def test_it_begins_where_it_is_told():
    """And takes nothing of that away."""
    assert searched(Line(llm=8, emb=1), 9, emb=3).counts == {"llm": 2, "emb": 3}


def test_where_no_count_holds_it_says_so():
    """With what the most replicas reach, and what queries reach that meet no others."""
    found = searched(Line(llm=8), 1.5)
    assert not found.holds
    assert found.counts == {"llm": 9}
    assert found.report.latency.mean == pytest.approx(1 + 8 / 9)
    assert found.alone.latency.mean == 1.0


def test_the_counts_are_the_least_of_a_simulated_load(tmp_path):
    """One engine, one second a query, 2.5 queries a second: fewer replicas do not hold it."""
    costs = profile(tmp_path, ONE_SECOND)
    texts = Workload(poisson(2.5, 400), Sizes({"texts": 1}))
    applications = [Application(embedding(), texts)]

    def load(counts, of=applications):
        return simulate_together(of, profile=costs, replicas=counts)

    objective = Objective("p95", 1.5)
    found = search(
        [objective], {"emb": 1}, 8, load, lambda counts: load(counts, apart(applications))
    )
    assert found.holds
    assert found.counts["emb"] > 2
    assert not objective.holds(load({"emb": found.counts["emb"] - 1}))
    none = search(
        [Objective("p50", 0.9)],
        {"emb": 1},
        8,
        load,
        lambda counts: load(counts, apart(applications)),
    )
    assert not none.holds
    assert none.alone.latency.most == pytest.approx(1)


def test_queries_that_are_apart_meet_no_others():
    """Those of two applications neither."""
    both = [Application(embedding(), Workload((0.0, 0.0))) for _ in range(2)]
    arrivals = [at_s for one in apart(both) for at_s in one.workload.arrivals]
    assert len(set(arrivals)) == 4


def test_a_query_that_fails_never_ends():
    """A mean is infinite, a percentile if it reaches that far."""
    report = report_of([1.0, 2.0, 3.0, None])
    assert Objective("p50", 1).reached(report) == {"a": 2.0}
    assert Objective("mean", 1).reached(report) == {"a": inf}
    assert not Objective("p99", 100).holds(report)


def test_an_objective_may_be_for_one_application():
    """Others do not matter to it."""
    report = report_of([3.0])
    assert Objective("mean", 1, "other").holds(report)
    assert not Objective("mean", 1, "a").holds(report)


def test_objectives_are_read():
    """A measure and a time."""
    assert Objective.parse("p95=4s") == Objective("p95", 4.0)
    assert Objective.parse("mean = 200ms", "a") == Objective("mean", 0.2, "a")
    assert str(Objective("p95", 4.0, "a")) == "a: p95 of 4 s"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p95", "'' is no duration"),
        ("p96=4s", "it can begin with mean, p50"),
        ("p95=4", "has no unit; for seconds write 4s"),
        ("p95=soon", "'soon' is no duration"),
    ],
)
def test_what_is_no_objective_is_said(text, message):
    """With what to write."""
    with pytest.raises(InputError, match=message):
        Objective.parse(text)
