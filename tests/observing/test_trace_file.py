"""A trace that is written meanwhile: the same events, whole whenever it is closed."""

import asyncio
import errno
import json
from pathlib import Path

import pytest

from teola.runtime.observing.label import LABEL
from teola.runtime.observing.perfetto import PerfettoTrace
from teola.runtime.observing.trace_file import TraceFile
from teola.runtime.simulation.clock import pass_time
from tests.observing.test_perfetto import LOST, PROBLEMS
from tests.observing.witness import both
from tests.runtime.workbench import virtual

FULL = Path("/dev/full")


def events_of(text):
    """The events of a trace."""
    return json.loads(text)["traceEvents"]


@virtual
async def test_the_file_has_the_events_of_a_trace(bench, tmp_path):
    """One a line, in the order in which they were known."""
    path = tmp_path / "run.json"
    file, trace = bench.pool.observe(TraceFile(path)), bench.pool.observe(PerfettoTrace())
    async with bench.runner(both(), share=False) as runner:
        await asyncio.gather(*(runner.run(texts=[q], q=q) for q in "123"))
    file.close()
    text = path.read_text("utf-8")
    assert events_of(text) == events_of(trace.to_json())
    assert len(text.splitlines()) == len(events_of(text)) + 2


@virtual
async def test_a_file_that_is_closed_early_is_whole(bench, tmp_path):
    """With what is known of the queries that run."""
    path = tmp_path / "run.json"
    file = bench.pool.observe(TraceFile(path))
    async with bench.runner(both(), share=False) as runner:
        running = asyncio.ensure_future(runner.run(texts=["x"], q="1"))
        await pass_time(1.25)
        file.close()
        bench.pool.observers.remove(file)
        await running
    assert "e.embed" in {one["name"] for one in events_of(path.read_text("utf-8"))}


@pytest.mark.perfetto
@virtual
async def test_perfetto_reads_the_file(bench, tmp_path, ask_perfetto):
    """Without an error, with the names that callers gave."""
    path = tmp_path / "run.json"
    file = bench.pool.observe(TraceFile(path))

    async def ask(runner, name):
        LABEL.set(name)
        await runner.run(texts=[name], q=name)

    async with bench.runner(both(), share=False) as runner:
        await asyncio.gather(*(ask(runner, f"row {number}") for number in range(20)))
    file.close()
    problems, lost, names = ask_perfetto(
        path.read_text("utf-8"), PROBLEMS, LOST, "select name from process where name like 't %'"
    )
    assert problems == lost == []
    assert {one["name"] for one in names} == {f"t row {number}" for number in range(20)}


@pytest.mark.skipif(not FULL.exists(), reason="needs a device without room")
@virtual
async def test_a_full_disk_ends_the_trace_and_nothing_else(bench):
    """The queries are answered; whoever closes the file is told."""
    file = bench.pool.observe(TraceFile(FULL))
    async with bench.runner(both(), share=False) as runner:
        results = await asyncio.gather(*(runner.run(texts=[q], q=q) for q in map(str, range(40))))
    assert len(results) == 40
    with pytest.raises(OSError, match="No space") as told:
        file.close()
    assert told.value.errno == errno.ENOSPC
