"""Measuring what operations cost on engines; the result is a profile (`teola.compiler.cost`)."""

from __future__ import annotations

from teola.runtime.profiling.errors import MeasureError
from teola.runtime.profiling.profiler import measure_engines
from teola.runtime.profiling.result import Measured, Profiling, Unmeasured, to_json
from teola.runtime.profiling.sweep import FULL, QUICK, Effort

__all__ = [
    "FULL",
    "QUICK",
    "Effort",
    "MeasureError",
    "Measured",
    "Profiling",
    "Unmeasured",
    "measure_engines",
    "to_json",
]
