"""Batches: thousands of rows through one runner, resumable at any time.

Rows are read lazily and results are not kept: memory grows with the rows that run at once, and by a
hash for each row. What is recorded stays recorded; a row that was running when the process was
killed is run again.
"""

from teola.runtime.batch.answers import Answer, RowError
from teola.runtime.batch.batch import CONCURRENCY, Batch, run_batch
from teola.runtime.batch.errors import BatchError, BatchInputError
from teola.runtime.batch.resume import Policy
from teola.runtime.batch.row import Row
from teola.runtime.batch.sink import Sink, Stream
from teola.runtime.batch.tally import Tally

__all__ = [
    "CONCURRENCY",
    "Answer",
    "Batch",
    "BatchError",
    "BatchInputError",
    "Policy",
    "Row",
    "RowError",
    "Sink",
    "Stream",
    "Tally",
    "run_batch",
]
