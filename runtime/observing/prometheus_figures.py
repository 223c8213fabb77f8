"""What engines tell of themselves, as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from teola.runtime.observing.observations import FiguresTold

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

LABELS = ("engine", "replica")


class Figures:
    """Every figure is a metric ``teola_engine_…`` with what was told last of it: a counter if it is
    a total, else a gauge."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], FiguresTold] = {}

    def see(self, event: FiguresTold) -> None:
        """Keep it."""
        self._told[event.engine.name, str(event.engine.replica)] = event

    def collect(self) -> Iterable[Metric]:
        """The metrics of this moment."""
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        found: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for labels, told in self._told.items():
            for name, value in told.values.items():
                if name not in found:
                    figure = told.about[name]
                    kind = CounterMetricFamily if figure.total else GaugeMetricFamily
                    found[name] = kind(f"teola_engine_{name}", figure.about, labels=LABELS)
                found[name].add_metric(labels, value)
        return found.values()
