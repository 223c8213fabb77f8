"""What a plan asks for and no backend gives yet is refused before anything starts."""

from __future__ import annotations

from collections.abc import Mapping

from teola.compiler.graph.pgraph import PGraph, Primitive
from teola.compiler.sampling import backends_with, lacking
from teola.runtime.errors import UnsupportedError


def check_requirements(graph: PGraph) -> None:
    """Refuse sampling that its engine's backend does not have.

    Raises:
        UnsupportedError: naming every module, its line and the setting.
    """
    problems = []
    for node in graph.nodes:
        sampling = node.config.get("sampling")
        if isinstance(node, Primitive) and isinstance(sampling, Mapping):
            engine = graph.engines.get(node.engine or "", {})
            problems += [
                f"module '{node.module}' (line {node.line}): sampling.{name} is not available "
                f"on backend '{engine.get('backend')}' of engine '{node.engine}' yet "
                f"(it is on: {', '.join(backends_with(name))}); decoding is greedy: leave it out"
                for name in lacking(engine, sampling)
            ]
    if problems:
        raise UnsupportedError("\n".join([f"{graph.name} cannot run:", *dict.fromkeys(problems)]))
