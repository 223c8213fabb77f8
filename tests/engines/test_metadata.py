"""Which chunks a ``where`` holds for."""

import pytest

from teola.compiler.where import parse_where
from teola.runtime.engines.collections.metadata import Metadata, holds
from teola.runtime.errors import RunError

META = {
    "type": "html",
    "year": 2021,
    "size": 2.0,
    "draft": False,
    "tags": ["sql", 7],
    "author": {"name": "Ann"},
    "nothing": None,
}


@pytest.mark.parametrize(
    "where",
    [
        'meta.type == "html"',
        'meta.type != "text"',
        "meta.year >= 2021 and meta.year < 2022",
        "2020 < meta.year <= 2021",
        "meta.size == 2",
        "meta.draft == false",
        'meta.type in ["html", "text"]',
        '"sql" in meta.tags',
        "7.0 in meta.tags",
        'meta.author.name == "Ann"',
        'meta["author"]["name"] > "Al"',
        "meta.type is defined and meta.colour is not defined",
        "meta.nothing is not defined",
        "meta.colour == none",
        'meta.colour != "red"',
        'not meta.colour == "red"',
        "meta.colour == 1 or (meta.year == 2021 and not meta.draft == true)",
        'meta.type not in ["text"]',
        'meta.tags == ["sql", 7]',
    ],
)
def test_conditions_that_hold(where):
    assert holds(parse_where(where), META)


@pytest.mark.parametrize(
    "where",
    [
        'meta.type == "HTML"',
        "meta.draft == 0",
        "meta.year == true",
        'meta.year < "3000"',
        "meta.colour < 1",
        "meta.colour >= 1",
        "meta.draft < 1",
        '"htm" in meta.type',
        "1 in meta.colour",
        "meta.type.name == 1",
        "meta.colour is defined",
    ],
)
def test_conditions_that_do_not(where):
    assert not holds(parse_where(where), META)


def test_the_places_of_chunks_in_order():
    chunks = [{"meta": {"n": number % 3}} for number in range(7)] + [{"meta": {}}, {}]
    metadata = Metadata(chunks)
    assert metadata.places(parse_where("meta.n == 1")).tolist() == [1, 4]
    assert metadata.places(parse_where("meta.n != 1")).tolist() == [0, 2, 3, 5, 6, 7, 8]
    assert metadata.places(parse_where("meta.n == 9")).tolist() == []
    assert Metadata([]).places(parse_where("meta.n == 9")).tolist() == []


def test_many_different_questions_are_not_all_kept():
    metadata = Metadata([{"meta": {"n": number}} for number in range(100)])
    for number in (*range(100), *range(100)):
        assert metadata.places(parse_where(f"meta.n == {number}")).tolist() == [number]


def test_a_condition_of_an_unknown_word_is_refused():
    with pytest.raises(RunError, match="knows no 'like'"):
        holds(["like", {"meta": ["type"]}, {"value": "h%"}], META)
