"""Collections know their store, embedder and mode; whoever searches one must agree (rule 19)."""

from __future__ import annotations

from teola.compiler.check.context import Context, Draft
from teola.compiler.check.settings import report_problems
from teola.compiler.graph.pgraph import INPUTS, Ref
from teola.compiler.modules.search import SearchSettings

SHARED = ("embedder", "store")


def check_collection(context: Context, module: Draft) -> None:
    """A search of an index's collection runs on the index's own store and embedder."""
    binding = module.bindings.get("collection")
    if binding is None or binding.type.name != "collection":
        return
    if not isinstance(binding.operand, Ref) or binding.operand.node == INPUTS:
        return
    index = context.modules[binding.operand.node]
    if module.settings is None or index.settings is None:
        return
    for kind in SHARED:
        if kind not in index.engines:
            continue
        if getattr(module.settings, kind, None) is not None and kind in module.engines:
            _compare(context, module, index, kind)
        module.engines[kind] = index.engines[kind]
    _choose_mode(context, module, index)


def inherits_engines(module: Draft) -> bool:
    """Whether the module's collection decides its engines: it comes from an index."""
    binding = module.bindings.get("collection")
    return (
        binding is not None
        and binding.type.name == "collection"
        and isinstance(binding.operand, Ref)
        and binding.operand.node != INPUTS
    )


def _compare(context: Context, module: Draft, index: Draft, kind: str) -> None:
    mine, theirs = module.engines[kind], index.engines[kind]
    if mine != theirs:
        context.error(
            "collection-mismatch",
            f"the collection of {index.id!r} was made with the {kind} {theirs!r}, "
            f"{module.id!r} searches it with {mine!r}",
            (*module.path, "with", kind),
            notes=[f"{index.id!r} is declared at {context.place(index.path)}"],
            help=f"leave {kind} out: the collection knows its own",
        )


def _choose_mode(context: Context, module: Draft, index: Draft) -> None:
    """The search's own mode, which the collection must have, else the collection's."""
    if not isinstance(module.settings, SearchSettings):
        return
    mine, theirs = module.settings.mode, getattr(index.settings, "mode", None)
    if mine is None:
        module.settings = module.settings.model_copy(update={"mode": theirs})
        report_problems(context, module)
    elif theirs not in (mine, "hybrid"):
        context.error(
            "collection-mismatch",
            f"the collection of {index.id!r} is {theirs}, {module.id!r} searches it as {mine}",
            (*module.path, "with", "mode"),
            notes=[f"{index.id!r} is declared at {context.place(index.path)}"],
            help=f"leave mode out, or give {index.id!r} mode: "
            + " or ".join(dict.fromkeys((mine, "hybrid"))),
        )
