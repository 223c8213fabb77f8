"""The bars of the time line: all tasks are in them, and those of one row do not overlap."""

from itertools import pairwise

from hypothesis import given, settings

from teola.compiler.api import compilation
from teola.compiler.cost.critical_path import critical_path
from teola.compiler.cost.estimate import estimate
from teola.compiler.draw.page.bars import LEAST, SHIFT, bars_of, rows_of
from teola.compiler.draw.page.facts import Prediction
from teola.compiler.graph.expand import expand
from tests.generators import pgraphs

WIDTH = 1000
"""Points for the whole query."""
CLOSE = 1e-6


def lanes_of(graph):
    """Engine -> its rows of bars, how many points a millisecond has, and the tasks."""
    egraph = expand(graph)
    timed = estimate(egraph)
    prediction = Prediction(egraph, timed, critical_path(egraph, timed))
    scale = WIDTH / max(timed.total_ms, 0.001)
    lanes = bars_of(prediction, scale)
    return {name: rows_of(bars, scale) for name, bars in lanes.items()}, scale, egraph.tasks


@given(pgraphs())
@settings(max_examples=60, deadline=None)
def test_bars_of_a_row_follow_each_other(graph):
    """In time and as they are drawn, each nearly where it belongs; every task on an engine is in
    one of them."""
    lanes, scale, tasks = lanes_of(graph)
    for rows in lanes.values():
        for row in rows:
            for bar in row:
                assert -CLOSE <= bar.left - bar.start * scale <= SHIFT + CLOSE
                assert bar.right - bar.left >= LEAST - CLOSE
            for one, other in pairwise(row):
                assert one.end <= other.start
                assert one.right <= other.left
    found = [
        task.id for rows in lanes.values() for row in rows for bar in row for task in bar.tasks
    ]
    assert len(found) == len(set(found))
    working = {task.id for task in tasks if task.engine is not None and task.form != "join"}
    assert working <= set(found)


def test_one_after_another_is_one_row():
    """What is done without an engine, and by engines that serve one batch at a time, however short
    its tasks are."""
    lanes, _, _ = lanes_of(compilation("advanced_rag").plan.graph)
    assert {name: len(lanes[name]) for name in ("", "embedder", "store", "reranker")} == {
        "": 1,
        "embedder": 1,
        "store": 1,
        "reranker": 1,
    }
    assert max(len(bar.tasks) for bar in lanes[""][0]) > 1
