"""What a plan asks for and an engine lacks is refused: before anything starts where the settings of
the backend tell, else as soon as the engine has started."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from teola.compiler.graph.pgraph import PGraph, Primitive
from teola.compiler.needs import Group, advice, declared, lacking
from teola.runtime.engines.protocol import Capabilities
from teola.runtime.errors import UnsupportedError


def check_requirements(graph: PGraph) -> None:
    """Refuse what backends are known not to have.

    Raises:
        UnsupportedError: naming every module, its line, its engine and what that lacks.
    """
    _refuse(graph, [one for name in graph.engines for one in _lacking(graph, name, None)])


def check_started(graph: PGraph, engine: str, capabilities: Capabilities) -> None:
    """Refuse what a started engine says that it does not have.

    Raises:
        UnsupportedError: as `check_requirements` does.
    """
    has: dict[Group, Collection[str]] = {
        "sampling": capabilities.sampling,
        "grammars": capabilities.grammars,
        "adapters": capabilities.adapters,
    }
    _refuse(graph, _lacking(graph, engine, has))


def _lacking(
    graph: PGraph, engine: str, has: Mapping[Group, Collection[str] | None] | None
) -> list[str]:
    settings = graph.engines[engine]
    return [
        f"module '{node.module}' (line {node.line}): engine '{engine}' ({settings.get('backend')}) "
        f"has no {need.what}; {advice(need, settings)}"
        for node in graph.nodes
        if isinstance(node, Primitive) and node.engine == engine
        for need in lacking(node.config, settings, has or declared(settings))
    ]


def _refuse(graph: PGraph, problems: list[str]) -> None:
    if problems:
        raise UnsupportedError("\n".join([f"{graph.name} cannot run:", *dict.fromkeys(problems)]))
