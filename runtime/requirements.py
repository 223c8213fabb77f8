"""What a plan asks for and no backend gives yet is refused before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teola.compiler.graph.pgraph import PGraph, Primitive
from teola.runtime.errors import UnsupportedError

GREEDY = {"temperature": 0, "top_p": None, "stop": None, "seed": None}
"""Sampling settings that backends do not have yet, with the values that ask for nothing."""


def check_requirements(graph: PGraph) -> None:
    """Refuse sampling that is not greedy.

    Raises:
        UnsupportedError: naming every module, its line and the setting.
    """
    problems = []
    for node in graph.nodes:
        if isinstance(node, Primitive) and isinstance(node.config.get("sampling"), Mapping):
            backend = graph.engines.get(node.engine or "", {}).get("backend")
            problems += [
                f"module '{node.module}' (line {node.line}): sampling.{name} is not available "
                f"on backend '{backend}' of engine '{node.engine}', nor on any other yet; "
                "decoding is greedy: leave it out"
                for name in _asked(node.config["sampling"])
            ]
    if problems:
        raise UnsupportedError("\n".join([f"{graph.name} cannot run:", *dict.fromkeys(problems)]))


def _asked(sampling: Any) -> list[str]:
    return [
        name for name, nothing in GREEDY.items() if sampling.get(name, nothing) not in (nothing, [])
    ]
