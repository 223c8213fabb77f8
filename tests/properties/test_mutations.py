"""The property tests can fail: each of many deliberate defects is found, by what it does wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, seed

from teola.compiler.errors import TeolaError
from tests.properties.campaign import FAIR
from tests.properties.cases import Case, cases
from tests.properties.checking import check
from tests.properties.mutations import MUTATIONS

SEEDS = (1, 2)


@pytest.fixture(scope="module")
def some_cases() -> list[Case]:
    """A hundred: those that the tests of workflows begin with."""
    found: list[Case] = []
    for number in SEEDS:

        @seed(number)
        @FAIR
        @given(case=cases())
        def draw(case: Case) -> None:
            found.append(case)

        draw()
    return found


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_defect_is_found(name, some_cases, monkeypatch):
    """One of the cases fails, in the way in which the defect shows."""
    mutation = MUTATIONS[name]
    mutation.change(monkeypatch)
    with pytest.raises((AssertionError, TeolaError), match=mutation.symptom):
        check_all(some_cases)


def check_all(some: Sequence[Case]) -> None:
    """Check one after another, up to the first that fails."""
    for case in some:
        check(case, Counter())
