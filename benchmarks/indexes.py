"""Search throughput and recall@10 of the stores' indexes: batches of 32 against one by one.

The vectors are made up, as passages of documents on subjects: a passage is its document and
something of its own, a document its subject and something of its own, all drawn from a normal
distribution whose dimensions count less and less (the k-th as its root), as those of embeddings do.
A query is a passage that is moved by less than two passages of a document differ. Each index is
built and searched through the store's engine, in a process of its own, on one thread.

Target (fifth issue): batched against one by one, and recall@10, at 1e5 and 1e6 vectors of 384
dimensions. Defaults should find at least 0.95 of the nearest ten.

PostgreSQL runs with the server's own settings beside that process, and makes its graph with as many
processes as it likes; memory is that of the client.

``INDEXES="flat:100000 ivf:1000000"`` measures some; the others keep their last figures. With
``INDEXES_FOLDER=FOLDER`` indexes stay there and are not built again (those of FAISS).
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import resource
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.report import RESULTS, save, spread
from teola.runtime.engines import find_entry
from teola.runtime.engines.protocol import Request

DIMENSION, TOP_K, BATCH, QUERIES, ROUNDS = 384, 10, 32, 64, 5
PARTS = (
    "flat:100000",
    "hnsw:100000",
    "ivf:100000",
    "flat:1000000",
    "ivf:1000000",
    "hnsw:1000000",
    "postgres-hnsw:100000",
)
BUILT = "built.json"
ASKED = {"collection": "shelf", "top_k": TOP_K}


def made_up(count: int, queries: int = 500, seed: int = 20) -> tuple[Any, Any]:
    """``(count, d)`` vectors of length 1 and ``(queries, d)`` to search with."""
    numbers = np.random.default_rng(seed)
    weights = np.arange(1, DIMENSION + 1, dtype=np.float32) ** -0.5

    def drawn(amount: int) -> Any:
        return numbers.standard_normal((amount, DIMENSION), dtype=np.float32) * weights

    subjects, documents = drawn(max(1, count // 2000)), drawn(max(1, count // 10))
    documents += subjects[numbers.integers(len(subjects), size=len(documents))]
    passages = drawn(count)
    passages *= 0.7
    passages += documents[numbers.integers(len(documents), size=count)]
    near = passages[numbers.integers(count, size=queries)] + 0.5 * drawn(queries)
    passages /= np.linalg.norm(passages, axis=1, keepdims=True)
    return passages, near


def right_answers(vectors: Any, queries: Any) -> list[set[str]]:
    """The passages nearest to each query."""
    best = [np.argpartition(-(vectors @ query), TOP_K)[:TOP_K] for query in queries]
    return [{str(place) for place in one} for one in best]


async def fill(store: Any, vectors: Any) -> float:
    """Index the vectors; return the seconds that publishing took."""
    common = {"collection": ASKED["collection"], "pending": "new"}
    for at in range(0, len(vectors), 256):
        rows = enumerate(vectors[at : at + 256], at)
        items = [(passage(number), vector) for number, vector in rows]
        await store.run([Request("ingest", items, common)])
    start = time.perf_counter()
    await store.control("publish", common)
    return time.perf_counter() - start


def passage(number: int) -> dict[str, Any]:
    """A chunk without much in it."""
    return {
        "id": str(number),
        "text": f"passage {number}",
        "document": f"d{number // 10}",
        "index": number % 10,
        "context": "",
        "meta": {},
    }


async def searched(store: Any, queries: Any, batch: int) -> tuple[float, list[set[str]]]:
    """Queries a second, and what they found; each of a batch is a request of its own."""
    found: list[set[str]] = []
    start = time.perf_counter()
    for at in range(0, len(queries), batch):
        requests = [Request("search", [one], ASKED) for one in queries[at : at + batch]]
        for results in await store.run(requests):
            found += [{one["id"] for one in passages} for passages in results]
    return len(queries) / (time.perf_counter() - start), found


async def measured(store: Any, folder: Path, count: int) -> dict[str, Any]:
    """The figures of a store that has been started."""
    vectors, queries = made_up(count)
    right = right_answers(vectors, queries[: 2 * QUERIES])
    if not (folder / BUILT).exists():
        figures: dict[str, Any] = {"build seconds": round(await fill(store, vectors), 1)}
        figures["peak GiB, vectors to index and all"] = round(
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2
        )
        (folder / BUILT).write_text(json.dumps(figures))
    figures = json.loads((folder / BUILT).read_text())
    del vectors
    _, found = await searched(store, queries[: 2 * QUERIES], BATCH)
    shares = [len(a & b) / TOP_K for a, b in zip(found, right, strict=True)]
    speeds: dict[int, list[float]] = {1: [], BATCH: []}
    for _ in range(ROUNDS):
        answers = []
        for batch, values in speeds.items():
            speed, found = await searched(store, queries[:QUERIES], batch)
            values.append(speed)
            answers.append(found)
        figures["a batch finds the same"] = answers[0] == answers[1]
    one, many = (spread(values, 1) for values in speeds.values())
    return {
        "recall@10": round(float(np.mean(shares)), 4),
        "queries a second, one by one": one,
        f"queries a second, batches of {BATCH}": many,
        "times as many": round(many["median"] / one["median"], 2),
        "GiB while it is searched": round(resident_bytes() / 2**30, 2),
        **figures,
    }


def resident_bytes() -> int:
    """The memory that this process has."""
    pages = Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


async def measure(kind: str, count: int, folder: Path) -> dict[str, Any]:
    """The figures of an index of a size."""
    backend, _, index = kind.rpartition("-")
    with ExitStack() as until:
        config = {"index": index, "path": str(folder), "url_env": "TEOLA_BENCHMARK_DATABASE"}
        if backend:
            server = importlib.import_module("tests.postgres_server").postgres()
            os.environ[config["url_env"]] = until.enter_context(server)
        module, _, name = find_entry("store", backend or "faiss").factory.partition(":")
        store = getattr(importlib.import_module(module), name)(config)
        await store.start()
        try:
            return await measured(store, folder, count)
        finally:
            await store.close()


def main() -> None:
    """Measure each in a process of its own."""
    file = RESULTS / "indexes.json"
    figures = json.loads(file.read_bytes())["figures"] if file.exists() else {}
    for part in os.environ.get("INDEXES", " ".join(PARTS)).split():
        with TemporaryDirectory() as name:
            folder = Path(os.environ.get("INDEXES_FOLDER", name)) / part.replace(":", "-")
            folder.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, "-m", "benchmarks.indexes", part, str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        said = f"INDEXES={part} python -m benchmarks.run indexes"
        figures[part] = {**json.loads(done.stdout), "command": said}
        save("indexes", figures)


if __name__ == "__main__":
    what, _, how_many = sys.argv[1].partition(":")
    print(json.dumps(asyncio.run(measure(what, int(how_many), Path(sys.argv[2])))))
