"""Settings of a module: constants under ``with``, checked against the module's own model."""

from __future__ import annotations

from teola.compiler.check.context import Context, Draft, listed
from teola.compiler.check.references import in_scope
from teola.compiler.diagnostics import nearest
from teola.compiler.modules import MODULES, find_module
from teola.compiler.modules.definition import ModuleDefinition
from teola.compiler.modules.llm import PROMPT_KEYS
from teola.compiler.validation import Place, validate

_FOREIGN = {
    **dict.fromkeys(("split", "splitter", "chunker", "chunking"), "chunk"),
    **dict.fromkeys(("embed", "embedding", "ingest", "store"), "index"),
    **dict.fromkeys(("retrieve", "retriever", "retrieval", "query", "vector_search"), "search"),
    **dict.fromkeys(("ranker", "reranker", "rank"), "rerank"),
    **dict.fromkeys(("multi_query", "query_expansion", "expand"), "expand_query"),
    **dict.fromkeys(("condense", "condense_question", "rewrite"), "rewrite_query"),
    **dict.fromkeys(("llm", "prompt", "chat", "completion", "llm_call", "lm"), "generate"),
    **dict.fromkeys(("answer", "qa", "summarize", "summarise", "response"), "synthesize"),
}
"""What other systems call our modules."""


def find_definition(context: Context, module: Draft) -> None:
    """Look up what ``uses`` names."""
    name = module.entry.get("uses")
    if not isinstance(name, str):
        return
    path = (*module.path, "uses")
    try:
        module.definition = find_module(name)
    except Exception as error:  # noqa: BLE001 - a plug-in's import may raise anything
        context.error("broken-plugin", f"the module {name!r} cannot be loaded: {error}", path)
        return
    if module.definition is None:
        near = _FOREIGN.get(name.lower().replace("-", "_")) or nearest(name, MODULES)
        context.error(
            "unknown-uses",
            f"there is no module {name!r} to use",
            path,
            notes=[f"uses: {listed(MODULES)}"],
            help=f"did you mean {near!r}?" if near else None,
        )


def read_settings(context: Context, module: Draft) -> None:
    """Validate the settings; they decide which outputs the module has."""
    definition = module.definition
    if definition is None:
        return
    data = {}
    for name, given in module.mapping("with").items():
        if name in definition.settings.model_fields:
            if _is_constant(context, module, name, given):
                data[name] = given
        elif name not in definition.values:
            _unknown(context, module, definition, str(name))
    place = Place(context.tree, (*module.path, "with"))
    before = len(context.diagnostics)
    module.settings = validate(definition.settings, data, place, context.diagnostics)
    if module.settings is None:
        return
    if len(context.diagnostics) == before:
        report_problems(context, module)
    module.outputs = definition.outputs(module.settings)


def report_problems(context: Context, module: Draft) -> None:
    """Say what is wrong among settings that are valid one by one, once."""
    definition = module.definition
    if definition is None or not module.sound:
        return
    for problem in definition.problems(module.settings):
        module.sound = False
        path = (*module.path, "with", *problem.path)
        if not problem.path and "with" not in module.entry:
            path = module.path
        context.error("bad-setting", problem.message, path, key=True, help=problem.help)


def _is_constant(context: Context, module: Draft, name: str, given: object) -> bool:
    if not in_scope(context, given):
        return True
    module.sound = False
    context.error(
        "reference-under-with",
        f"{given!r} is a reference, but {name!r} is a setting: a constant",
        (*module.path, "with", name),
        help="bind it under inputs: and write {{ its_name }}" if name in PROMPT_KEYS else None,
    )
    return False


def _unknown(context: Context, module: Draft, definition: ModuleDefinition, name: str) -> None:
    path = (*module.path, "with", name)
    near = nearest(name, definition.parameters)
    context.error(
        "unknown-key",
        f"{definition.name} has no setting {name!r}",
        path,
        key=True,
        notes=[f"{definition.name} has: {listed(definition.parameters)}"],
        help=f"did you mean {near!r}?" if near else None,
    )
