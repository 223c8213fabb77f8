"""What a profile's points say beyond the straight line through them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.compiler.cost.profile import SHIPPED, Entry, Point, load_profiles


def entry(points, **line):
    found = {"base_ms": 10, "item_ms": 1, "token_ms": 0.5, **line}
    return Entry(
        operation="embed",
        knee=2,
        points=[Point(items=n, tokens=t, ms=ms) for (n, t), ms in points.items()],
        **found,
    )


MEASURED = {(1, 16): 20, (2, 16): 32, (4, 16): 60, (4, 32): 130}


def test_without_points_the_line_counts():
    made = entry({})
    assert made.latency_ms(3, 8) == 10 + 3 * (1 + 8 * 0.5)
    assert made.least_ms(8, 2, 4) == 10 / 2 + 1 + 8 * 0.5
    assert (made.scale(5), made.least_scale(5), made.least_token_ms) == (1, 1, 0.5)


def test_a_batch_that_was_measured_takes_what_was_measured():
    made = entry(MEASURED)
    for (items, tokens), ms in MEASURED.items():
        assert made.latency_ms(items, tokens) == pytest.approx(ms)


def test_between_points_and_beyond_them_it_goes_straight_on():
    """A third sequence costs between two and four; the longest item's rate goes on."""
    made = entry(MEASURED)
    assert made.added_ms(16) == (60 - 10) / 4
    assert made.added_ms(32) == (130 - 10) / 4
    assert made.added_ms(24) == (made.added_ms(16) + made.added_ms(32)) / 2
    assert made.added_ms(48) == pytest.approx(made.added_ms(32) * 48 / 32)
    assert made.scale(3) == (made.scale(2) + made.scale(4)) / 2
    assert made.scale(100) == made.scale(4) == 1


def test_every_measured_batch_of_the_shipped_profiles_is_met():
    """But for single items of other lengths than the usual: big batches tell what these add."""
    assert "embedded.json" in SHIPPED
    for one in load_profiles().entries:
        for point in one.points:
            if point.items > 1 or point.tokens == one.points[0].tokens:
                found = one.latency_ms(point.items, point.tokens)
                assert found == pytest.approx(point.ms, rel=0.01), (one.operation, point)


times = st.dictionaries(
    st.tuples(st.integers(1, 40), st.sampled_from([0.0, 4.0, 16.0, 64.0])),
    st.just(0.0) | st.floats(0.001, 1e4),
    min_size=1,
)


@given(times, st.floats(0, 100), st.floats(0, 50), st.floats(0, 5), st.floats(0, 200))
def test_longer_items_never_cost_less(points, base, item, token, tokens):
    """Whatever was measured, nothing is negative either."""
    made = entry(points, base_ms=base, item_ms=item, token_ms=token)
    assert made.added_ms(tokens) >= 0
    rise = made.added_ms(tokens + 1) - made.added_ms(tokens)
    assert rise >= made.least_token_ms - 1e-6 * (1 + made.added_ms(tokens))
    assert made.least_token_ms >= 0


@given(times, st.floats(0, 100), st.integers(1, 40), st.integers(1, 40))
def test_the_least_is_no_more_than_any_batch(points, base, items, most):
    made = entry(points, base_ms=base)
    items = min(items, most)
    least = made.least_ms(16, items, most)
    assert least <= made.latency_ms(items, 16) / items * (1 + 1e-9) + 1e-9
    assert made.least_scale(most) <= made.scale(items) * (1 + 1e-9)
