"""How the tokens of a call are chosen, and by which weights: its module's settings, with a seed of
its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teola.compiler.graph.pgraph import Primitive
from teola.runtime.engines.protocol import Sampling
from teola.runtime.instance.run import Run
from teola.runtime.seeds import call_seed


def settings_of(head: Primitive) -> Mapping[str, Any]:
    """The settings of ``sampling`` that a prefill carries."""
    found = head.config.get("sampling")
    return found if isinstance(found, dict | Mapping) else {}


def adapter_of(head: Primitive) -> str | None:
    """The adapter that a prefill's call names."""
    found = head.config.get("adapter")
    return found if isinstance(found, str) else None


def sampling_of(run: Run, settings: Mapping[str, Any], run_seed: int) -> Sampling:
    """What an engine is told; an attempt that is made again is told the same."""
    temperature = float(settings.get("temperature") or 0)
    top_p, stop = float(settings.get("top_p") or 1), tuple(settings.get("stop") or ())
    if not temperature:
        return Sampling(temperature, top_p, stop)
    seed = call_seed(run_seed, run.prepared.id, run.scope.path, settings.get("seed"))
    return Sampling(temperature, top_p, stop, seed)
