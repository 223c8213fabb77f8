"""A store of FAISS indexes, in memory or in a folder."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from teola.runtime.engines.collections.folder import CollectionFolder, Draft, Held, names_in
from teola.runtime.engines.collections.gpu import dispatcher
from teola.runtime.engines.collections.index_settings import IndexSettings
from teola.runtime.engines.collections.keyword_index import KeywordIndex
from teola.runtime.engines.collections.nearest import use_matrix_products
from teola.runtime.engines.collections.search import passages, unknown, unsearchable
from teola.runtime.engines.collections.store import UNNAMED, CollectionStore
from teola.runtime.engines.collections.vector_index import VectorIndex
from teola.runtime.engines.collections.version import Change, CollectionVersion
from teola.runtime.engines.protocol import Capabilities, Failure, Request
from teola.runtime.errors import RunError

MAX_ITEMS = 256

T = TypeVar("T")


class FaissStore(CollectionStore):
    """Collections in FAISS indexes.

    Every publication makes a new version beside the thread that searches, and then puts it in the
    old one's place: a search sees one version, whole. With ``path`` versions of named collections
    are in a folder, where other processes see and replace them, too.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self._settings = IndexSettings.of(config)
        self._language = str(config.get("language") or "english")
        path = config.get("path")
        self._root = None if path is None else Path(path)
        self._held: dict[str, Held] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    async def start(self) -> Capabilities:
        """Load the library; one thread suffices and leaves the cores to the models.

        Raises:
            RunError: there is no folder to keep collections in, or no GPU.
        """
        import faiss

        if self._root == Path():
            raise RunError(
                "the folder of a durable store is not named in a plan: --set engines.NAME.path="
                "FOLDER"
            )
        if self._root is not None:
            self._root.mkdir(parents=True, exist_ok=True)
        if self._settings.gpu is not None:
            dispatcher(self._settings.gpu).start()
        faiss.omp_set_num_threads(1)
        use_matrix_products()
        return Capabilities(max_items=MAX_ITEMS, details=self._settings.fixed())

    async def close(self) -> None:
        """Let all collections go; what is in a folder stays there."""
        self._held.clear()
        self._pending.clear()

    async def _search(self, request: Request) -> Sequence[Any] | Failure:
        common = request.common
        name, where = common["collection"], common.get("where")
        try:
            version = await self._version(name)
            if version is None:
                named = (one for one in self._names() if one[:1] != UNNAMED)
                return Failure("item", unknown(name, named))
            among = None if where is None else version.metadata.places(where)
        except RunError as error:
            return Failure("item", str(error))
        if problem := unsearchable(name, version.mode, request.operation):
            return Failure("item", problem)
        return passages(name, version, request, among)

    def _names(self) -> list[str]:
        """The collections that there are, whoever made them."""
        kept = [] if self._root is None else names_in(self._root)
        kept = [name for name in kept if self._place(name).newest() is not None]
        return sorted({*kept, *(name for name in self._held if not self._is_kept(name))})

    def _is_kept(self, name: str) -> bool:
        return self._root is not None and name[:1] != UNNAMED

    def _place(self, name: str) -> CollectionFolder:
        """Where a collection is kept."""
        return CollectionFolder(self._root or Path(), name, self._settings, self._language)

    async def _version(self, name: str) -> CollectionVersion | None:
        """The newest version of a collection; None where there is none."""
        held = self._held.get(name)
        if not self._is_kept(name):
            return held.version if held else None
        place = self._place(name)
        mark = place.newest()
        if mark is None:
            self._held.pop(name, None)
            return None
        if held is None or held.mark != mark:
            held = self._held[name] = await _beside(partial(place.load, held))
        return held.version

    async def _bring(self, name: str, change: Change) -> int:
        async with self._turns.setdefault(name, asyncio.Lock()):
            held = self._held[name] = await self._next(name, change)
        return len(held.version.chunks)

    async def _next(self, name: str, change: Change) -> Held:
        """The version after a change, published."""
        held = self._held.get(name)
        if self._is_kept(name):
            draft = await _drafted(
                partial(self._place(name).draft, lambda one: one.changed(name, change), held)
            )
            return draft.publish()
        before = held.version if held else self._nothing()
        return Held(await _beside(partial(before.changed, name, change)))

    def _nothing(self) -> CollectionVersion:
        return CollectionVersion(VectorIndex(self._settings), KeywordIndex(self._language))

    async def _drop(self, name: str) -> bool:
        there = self._held.pop(name, None) is not None
        self._turns.pop(name, None)
        return await _beside(self._place(name).drop) if self._is_kept(name) else there

    async def _describe(self, name: str | None) -> Any:
        if name is not None:
            return await self._described(name)
        found = {name: await self._described(name) for name in self._names()}
        return {
            "collections": {name: one for name, one in found.items() if one},
            "pending": sorted(self._pending),
        }

    async def _described(self, name: str) -> dict[str, Any] | None:
        if self._is_kept(name):
            return await _beside(self._place(name).describe)
        held = self._held.get(name)
        return held.version.describe() if held else None


async def _beside(work: Callable[[], T]) -> T:
    """What takes long, or waits for other processes, beside the thread that searches."""
    return await asyncio.get_running_loop().run_in_executor(None, work)


async def _drafted(work: Callable[[], Draft]) -> Draft:
    """A draft; where nobody waits for it any more it is abandoned."""
    job = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        job.add_done_callback(_abandoned)
        raise


def _abandoned(job: asyncio.Future[Draft]) -> None:
    if not job.cancelled() and job.exception() is None:
        job.result().abandon()
