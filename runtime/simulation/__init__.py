"""The simulator: the schedulers of real runs, on simulated engines under a virtual clock."""

from teola.runtime.simulation.arrivals import poisson, read_trace
from teola.runtime.simulation.report import Report
from teola.runtime.simulation.simulate import simulate
from teola.runtime.simulation.workload import Workload

__all__ = ["Report", "Workload", "poisson", "read_trace", "simulate"]
