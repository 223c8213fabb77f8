"""What a module needs of its engine, and the engine's backend is known not to have: said before
anything starts."""

from __future__ import annotations

from collections.abc import Mapping

from teola.compiler.check.context import Context, Draft
from teola.compiler.check.engines import backend_of
from teola.compiler.diagnostics import nearest
from teola.compiler.modules.llm import LLMSettings
from teola.compiler.modules.output import wanted
from teola.compiler.needs import Need, advice, declared, lacking

CODES = {"sampling": "sampling", "grammars": "output", "adapters": "adapter"}


def check_needs(context: Context, module: Draft) -> None:
    """Refuse what the backend of the module's llm does not have."""
    name, settings = module.engines.get("llm"), module.settings
    if not isinstance(settings, LLMSettings) or name is None:
        return
    given = context.engines.get(name)
    engine = {**(given if isinstance(given, Mapping) else {}), "backend": backend_of(context, name)}
    asked: dict[str, object] = {
        "sampling": settings.sampling.config(),
        "adapter": settings.adapter,
    }
    if hasattr(settings, "output"):
        asked["output"] = wanted(settings.output).config
    for need in lacking(asked, engine, declared(engine)):
        context.error(
            f"unsupported-{CODES[need.group]}",
            f"engine {name!r} has no {need.what} (its backend is {engine['backend']!r})",
            (*module.path, "with", *need.path),
            key=True,
            notes=[advice(need, engine)],
            help=_help(need, engine),
        )


def _help(need: Need, engine: Mapping[str, object]) -> str | None:
    if need.group == "sampling":
        return "leave it out: decoding is greedy"
    adapters = engine.get("adapters")
    names = list(map(str, adapters)) if isinstance(adapters, Mapping) else []
    near = nearest(need.name, names) if need.group == "adapters" else None
    return f"did you mean {near!r}?" if near else None
