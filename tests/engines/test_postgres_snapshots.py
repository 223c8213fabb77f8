"""What others do between two statements of a search: it sees the collection as it found it."""

import asyncio

import pytest

from teola.runtime.engines.postgres import catalog
from teola.runtime.engines.protocol import Failure
from tests.engines.test_postgres import QUERIES, VECTORS, Store, collections, run


@pytest.fixture
def meanwhile(monkeypatch):
    """What happens as soon as a collection has been found, once each."""
    events, find = [], catalog.find

    async def found(*arguments, **how):
        collection = await find(*arguments, **how)
        if events:
            await events.pop(0)()
        return collection

    monkeypatch.setattr(catalog, "find", found)
    return events


def generations(found):
    return [[one["meta"]["generation"] for one in passages] for passages in found]


@pytest.mark.parametrize("index", ["flat", "hnsw"])
def test_a_publication_in_between_is_not_seen_in_half(database, meanwhile, index):
    """All queries that went together see the version that was found."""

    async def scenario():
        async with Store(database, index=index) as one, Store(database, index=index) as other:
            name = f"between {index}"
            await one.fill(1, name)
            meanwhile.append(lambda: other.fill(2, name))
            assert generations(await one.find(name, QUERIES[:3])) == [[1] * 20] * 3
            assert generations(await one.find(name, QUERIES[:3])) == [[2] * 20] * 3

    run(scenario())


def test_connections_that_share_a_batch_search_one_version(database, monkeypatch):
    """Though one has found the collection before another publication, and the others after it."""
    find, first, published = catalog.find, asyncio.Event(), asyncio.Event()

    async def scenario():
        async with Store(database) as one, Store(database) as other:
            await one.fill(1, "shared")

            async def found(connection, name, *, lock=False):
                if first.is_set() and not lock:
                    await published.wait()
                collection = await find(connection, name, lock=lock)
                if not first.is_set():
                    first.set()
                    await other.fill(2, "shared")
                    published.set()
                return collection

            monkeypatch.setattr(catalog, "find", found)
            assert generations(await one.find("shared", VECTORS[:30])) == [[2] * 20] * 30

    run(scenario())


def test_a_collection_that_is_dropped_in_between_is_unknown(database, meanwhile):
    async def scenario():
        async with Store(database) as one, Store(database) as other:
            await one.fill(1, "dropped")
            meanwhile.append(lambda: other.engine.control("drop", {"collection": "dropped"}))
            failure = await one.find("dropped")
            assert isinstance(failure, Failure)
            assert failure.kind == "item"
            assert "there is no collection 'dropped'" in failure.message

    run(scenario())


def test_a_collection_that_is_made_anew_in_between_is_searched(database, meanwhile):
    async def scenario():
        async with Store(database) as one, Store(database) as other:
            await one.fill(1, "anew")

            async def make_anew():
                await other.engine.control("drop", {"collection": "anew"})
                await other.fill(2, "anew")

            meanwhile.append(make_anew)
            assert generations(await one.find("anew")) == [[2] * 20]

    run(scenario())


def test_what_is_dropped_in_between_is_not_described(database, meanwhile):
    async def scenario():
        async with Store(database) as one, Store(database) as other:
            await one.fill(1, "a passing one")
            before = await collections(one)
            meanwhile.append(lambda: other.engine.control("drop", {"collection": "a passing one"}))
            after = await collections(one)
            assert after == {key: before[key] for key in before if key != "a passing one"}

    run(scenario())
