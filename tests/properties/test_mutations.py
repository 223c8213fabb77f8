"""The property tests can fail: each of many deliberate defects is found, by what it does wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from teola.compiler.errors import TeolaError
from tests.properties.campaign import drawn
from tests.properties.cases import Case
from tests.properties.checking import check
from tests.properties.mutations import MUTATIONS

SEEDS = (3, 4, 6)


@pytest.fixture(scope="module")
def some_cases() -> list[Case]:
    """Half of the 300 of the tests of workflows, unless those are told otherwise."""
    return [case for number in SEEDS for case in drawn(number)]


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
