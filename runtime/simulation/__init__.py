"""The simulator: the schedulers of real runs, on simulated engines under a virtual clock."""

from teola.runtime.simulation.arrivals import poisson, poisson_together, read_trace
from teola.runtime.simulation.report import Report
from teola.runtime.simulation.simulate import simulate, simulate_together
from teola.runtime.simulation.workload import Application, Workload

__all__ = [
    "Application",
    "Report",
    "Workload",
    "poisson",
    "poisson_together",
    "read_trace",
    "simulate",
    "simulate_together",
]
