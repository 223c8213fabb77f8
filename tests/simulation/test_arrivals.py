"""Arrivals: at random, or from a trace."""

from itertools import pairwise

import pytest

from teola.runtime.errors import InputError
from teola.runtime.simulation import poisson, poisson_together, read_trace


def test_poisson_arrivals_have_their_rate():
    """And standard deviations of the gaps as large as their mean."""
    arrivals = poisson(4.0, 20_000, seed=2)
    gaps = [late - early for early, late in pairwise(arrivals)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert mean == pytest.approx(0.25, rel=0.03)
    assert variance**0.5 == pytest.approx(mean, rel=0.03)
    assert poisson(4.0, 10, seed=2) == arrivals[:10] != poisson(4.0, 10, seed=3)


@pytest.mark.parametrize(("rate", "count"), [(0, 5), (-1, 5), (float("nan"), 5), (1, 0)])
def test_there_is_no_such_process(rate, count):
    """Rates and counts are above 0."""
    with pytest.raises(InputError, match="must be above 0"):
        poisson(rate, count)


def test_processes_that_come_together_are_independent():
    """The first arrivals of all, each process at its own rate; the first as if it were alone."""
    first, second = poisson_together([3.0, 1.0], 8000, seed=2)
    assert len(first) + len(second) == 8000
    assert len(first) == pytest.approx(6000, rel=0.03)
    assert first == poisson(3.0, len(first), seed=2)
    assert max(first[-1], second[-1]) == pytest.approx(2000, rel=0.03)
    one, other = poisson_together([1.0, 1.0], 100)
    assert not set(one) & set(other)


def test_a_rare_process_may_not_come():
    """Among few arrivals."""
    assert poisson_together([1000.0, 0.001], 5)[1] == ()


def test_a_trace_is_read_in_order_of_time(tmp_path):
    """Other keys and blank lines do not matter."""
    path = tmp_path / "arrivals.jsonl"
    path.write_text('{"at_s": 2.5}\n\n{"at_s": 0, "question": "why"}\n')
    assert read_trace(path) == (0.0, 2.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no arrivals"),
        ('{"at_s": 1}\n{"at": 1}\n', "jsonl:2: expected"),
        ('{"at_s": -1}\n', "jsonl:1: expected"),
        ('{"at_s": true}\n', "jsonl:1: expected"),
        ("1.5\n", "jsonl:1: expected"),
        ("{\n", "jsonl:1: not JSON"),
    ],
)
def test_a_broken_trace_says_where(tmp_path, text, message):
    """The file and the line."""
    path = tmp_path / "arrivals.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_trace(path)


def test_a_missing_trace_is_named(tmp_path):
    """With the reason."""
    with pytest.raises(InputError, match="none.jsonl: the trace cannot be read"):
        read_trace(tmp_path / "none.jsonl")
