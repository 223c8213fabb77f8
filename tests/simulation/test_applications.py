"""Several applications on one pool."""

from dataclasses import replace

import pytest

from teola.compiler.cost.sizes import Sizes, parse_sizes
from teola.runtime.errors import InputError
from teola.runtime.simulation import Application, Workload, simulate, simulate_together
from teola.runtime.simulation.told_apart import told_apart, unique
from tests.simulation.loads import ONE_SECOND, calling, embedding, profile

ONE_TEXT = Sizes({"texts": 1})
STEPS = {"operation": "decode", "knee": 8, "base_ms": 10, "item_ms": 0}
NO_PREFILL = {"operation": "prefill", "knee": 1, "base_ms": 0, "item_ms": 0}


def texts(*arrivals, **workload):
    """A workload of one text a query."""
    return Workload(arrivals, ONE_TEXT, **workload)


def test_engines_of_equal_settings_are_one(tmp_path):
    """Two queries of two applications that come together are served one after the other."""
    both = [Application(embedding(name=name), texts(0.0)) for name in ("a", "b")]
    report = simulate_together(both, profile=profile(tmp_path, ONE_SECOND))
    assert [one.latency.mean for one in report.applications] == pytest.approx([1, 2])
    assert [(engine.name, engine.work) for engine in report.engines] == [("emb", 2)]


def test_engines_of_other_settings_are_others(tmp_path):
    """And go by the application's name where theirs is taken."""
    both = [
        Application(embedding(batch_size=size, name=name), texts(0.0))
        for size, name in ((1, "a"), (2, "b"))
    ]
    report = simulate_together(both, profile=profile(tmp_path, ONE_SECOND))
    assert report.latency.most == pytest.approx(1)
    assert [engine.name for engine in report.engines] == ["b:emb", "emb"]


def test_one_engine_by_two_names_has_the_first(tmp_path):
    """Whatever the second application calls it."""
    first, second = embedding(name="a"), embedding(name="b")
    graph = second.graph
    (node,) = graph.nodes
    renamed = graph.with_(
        engines={"other": graph.engines["emb"]},
        nodes=(replace(node, engine="other"),),
    )
    both = [
        Application(first, texts(0.0)),
        Application(replace(second, graph=renamed), texts(0.0)),
    ]
    report = simulate_together(both, profile=profile(tmp_path, ONE_SECOND))
    assert [(engine.name, engine.work) for engine in report.engines] == [("emb", 2)]


def test_each_application_is_told_and_all_together(tmp_path):
    """Counts add up; the samples of all are those of each, in order of arrival."""
    first = Application(embedding(name="a"), texts(0.0, 10.0))
    second = Application(embedding(name="b"), texts(5.0))
    report = simulate_together([first, second], profile=profile(tmp_path, ONE_SECOND))
    assert [(one.name, one.queries, one.done) for one in report.applications] == [
        ("a", 2, 2),
        ("b", 1, 1),
    ]
    assert report.done == 3
    assert [sample.arrival_s for sample in report.samples] == [0, 5, 10]
    assert report.throughput == pytest.approx(sum(one.throughput for one in report.applications))


@pytest.mark.parametrize(("same", "items"), [(frozenset(), 2), (frozenset({"texts"}), 1)])
def test_inputs_of_two_applications_differ_unless_they_are_the_same(tmp_path, same, items):
    """What is made of equal inputs is made once, whoever asks."""
    both = [Application(embedding(name=name), texts(0.0, same=same)) for name in ("a", "b")]
    report = simulate_together(both, profile=profile(tmp_path, ONE_SECOND))
    assert report.engines[0].items == items


def test_answers_have_the_lengths_of_their_application(tmp_path):
    """Primitives of one name on one engine, in two workflows: 11 and 41 tokens, 10 ms a step."""
    both = []
    for name, tokens in (("a", 11), ("b", 41)):
        plan = calling({"max_tokens": 100}, name=name)
        sizes = parse_sizes([f"a.decode:tokens={tokens}"], plan.graph)
        both.append(Application(plan, Workload((0.0,), sizes, spread=0)))
    report = simulate_together(both, profile=profile(tmp_path, STEPS, NO_PREFILL))
    assert [one.latency.mean for one in report.applications] == pytest.approx([0.1, 0.4])
    assert [one.first_token.mean for one in report.applications] == [0, 0]
    assert len(report.engines) == 1


def test_one_application_is_a_crowd_of_one(tmp_path):
    """Alone it draws what it draws by ``simulate``."""
    workload = texts(0.0, 0.5, seed=3)
    costs = profile(tmp_path, {**ONE_SECOND, "token_ms": 1})
    together = simulate_together([Application(embedding(), workload)], profile=costs)
    assert together == simulate(embedding(), workload, profile=costs)


def test_names_are_told_apart():
    """The second of a kind is numbered, and so is its workflow."""
    assert unique(["a", "b", "a", "a", "a#2"]) == ["a", "b", "a#2", "a#3", "a#2#2"]
    both = told_apart([Application(embedding(), texts(0.0)) for _ in range(2)])
    assert [one.plan.name for one in both] == [one.name for one in both] == ["t", "t#2"]


@pytest.mark.parametrize(
    ("workloads", "message"),
    [
        ([], "needs an application"),
        ([texts(0.0), texts()], "needs arrivals: t has none"),
        ([texts(0.0), texts(0.0, seed=1)], "need one seed and one spread"),
        ([texts(0.0), texts(0.0, spread=0)], "need one seed and one spread"),
    ],
)
def test_what_cannot_be_simulated_together_is_said(workloads, message):
    """Before any time passes."""
    with pytest.raises(InputError, match=message):
        simulate_together([Application(embedding(), workload) for workload in workloads])
