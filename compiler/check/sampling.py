"""Sampling that the module's engine is known not to have: said before anything starts."""

from __future__ import annotations

from teola.compiler.check.context import Context, Draft
from teola.compiler.check.engines import backend_of
from teola.compiler.modules.llm import LLMSettings
from teola.compiler.sampling import backends_with, lacking


def check_sampling(context: Context, module: Draft) -> None:
    """Refuse settings of ``sampling`` that the backend of the module's llm does not have."""
    engine = module.engines.get("llm")
    if not isinstance(module.settings, LLMSettings) or engine is None:
        return
    backend = backend_of(context, engine)
    asked = module.settings.sampling.config()
    for name in lacking({"kind": "llm", "backend": backend}, asked):
        context.error(
            "unsupported-sampling",
            f"{name!r} is not available on the backend {backend!r} of engine {engine!r} yet",
            (*module.path, "with", "sampling", name),
            key=True,
            notes=[f"backends that have it: {', '.join(backends_with(name))}"],
            help="leave it out: decoding is greedy",
        )
