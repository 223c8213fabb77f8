"""A trace that is written while things happen, so that it may be of any length."""

from __future__ import annotations

import json
from pathlib import Path

from teola.runtime.observing.observations import Observation
from teola.runtime.observing.perfetto import PerfettoTrace
from teola.runtime.observing.trace_events import Json

HEAD, FOOT = '{"displayTimeUnit": "ms", "traceEvents": [\n', "\n]}\n"


class TraceFile:
    """An observer that writes a ``PerfettoTrace`` to a file, an event a line; only what is known of
    queries that run is kept. ``close`` makes the file whole.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._file.write(HEAD)
        self._trace = PerfettoTrace(self._write)
        self._between = ""
        self._error: OSError | None = None

    def see(self, event: Observation) -> None:
        """Tell what happened, unless something could not be written before."""
        if self._error is None:
            try:
                self._trace.see(event)
            except OSError as error:
                self._error = error

    def _write(self, event: Json) -> None:
        self._file.write(self._between + json.dumps(event, ensure_ascii=False))
        self._between = ",\n"

    def close(self) -> None:
        """Write what is known of queries that have not ended, and the end.

        Raises:
            OSError: not all could be written.
        """
        with self._file:
            if self._error is not None:
                raise self._error
            for event in self._trace.unfinished():
                self._write(event)
            self._file.write(FOOT)
