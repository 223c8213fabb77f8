"""Which engine each module runs on (language.md, rule 18)."""

from __future__ import annotations

from collections.abc import Mapping

from teola.compiler.check.context import Context, Draft, listed
from teola.compiler.diagnostics import nearest
from teola.compiler.engines import KINDS, default_backend
from teola.compiler.modules.chunk import ChunkSettings
from teola.compiler.source import TreePath

KNOWN_EXAMPLES: Mapping[str, str] = {
    "llm": "{kind: llm, model: smollm2-135m-instruct}",
    "embedder": "{kind: embedder, model: all-minilm-l6-v2}",
    "reranker": "{kind: reranker, backend: maxsim, model: all-minilm-l6-v2}",
    "store": "{kind: store, backend: faiss}",
}


def choose_engines(context: Context, module: Draft, *, inherited: bool = False) -> None:
    """Find the engine of every kind that the module needs; where they are ``inherited``, from a
    collection, only those that it names itself."""
    definition, settings = module.definition, module.settings
    if definition is None or settings is None:
        return
    unneeded = definition.unneeded(settings)
    for kind in definition.engines:
        if kind in unneeded:
            continue
        given = getattr(settings, kind)
        if kind == "tokenizer":
            name = _tokenizer(context, module, given)
        elif given is not None:
            name = _named(context, (*module.path, "with", kind), given, (kind,))
        else:
            name = None if inherited else _implied(context, module, kind)
        if name is not None:
            module.engines[kind] = name


def check_defaults(context: Context) -> None:
    """Engines that ``defaults`` names exist and are of their kind."""
    kinds = {kind_of(context, name) for name in context.engines} | set(KNOWN_EXAMPLES)
    for kind, name in context.defaults.items():
        if kind in kinds and isinstance(name, str):
            _named(context, ("defaults", kind), name, (kind,))


def kind_of(context: Context, name: str) -> str | None:
    """The kind of a declared engine."""
    engine = context.engines.get(name)
    kind = engine.get("kind") if isinstance(engine, Mapping) else None
    return kind if isinstance(kind, str) else None


def backend_of(context: Context, name: str) -> str | None:
    """The backend of a declared engine, as written or by its kind; None where it is not valid."""
    engine, kind = context.engines.get(name), kind_of(context, name)
    given = engine.get("backend") if isinstance(engine, Mapping) else None
    if given is None and kind in KINDS:
        return default_backend(str(kind))
    return given if isinstance(given, str) else None


def of_kind(context: Context, kind: str) -> list[str]:
    """The names of the engines of a kind."""
    return [name for name in context.engines if kind_of(context, name) == kind]


def _named(context: Context, path: TreePath, name: str, kinds: tuple[str, ...]) -> str | None:
    have = [engine for kind in kinds for engine in of_kind(context, kind)]
    wanted = " or ".join(kinds)
    if name not in context.engines:
        near = nearest(name, have)
        context.error(
            "unknown-engine",
            f"there is no engine {name!r}: engines are declared under 'engines:'",
            path,
            notes=[f"engines of kind {wanted}: {listed(have)}"],
            help=f"did you mean {near!r}?" if near else None,
        )
        return None
    kind = kind_of(context, name)
    if kind is not None and kind not in kinds:
        context.error(
            "wrong-kind",
            f"the engine {name!r} is of kind {kind}, not {wanted}",
            path,
            notes=[f"engines of kind {wanted}: {listed(have)}"],
        )
        return None
    return name


def _implied(context: Context, module: Draft, kind: str) -> str | None:
    """The one that ``defaults`` names, or the only one."""
    default = context.defaults.get(kind)
    if isinstance(default, str):
        return default if default in context.engines else None
    have = of_kind(context, kind)
    if len(have) == 1:
        return have[0]
    if any(kind_of(context, name) is None for name in context.engines):
        return None  # an engine whose kind could not be read may be the one
    uses = module.entry.get("uses")
    if have:
        context.error(
            "ambiguous-engine",
            f"module {module.id!r} ({uses}) needs one engine of kind {kind}; there are several",
            module.path,
            key=True,
            notes=[f"engines of kind {kind}: {listed(have)}"],
            help=f"with: {{{kind}: {have[0]}}}, or defaults: {{{kind}: {have[0]}}}",
        )
        return None
    example = KNOWN_EXAMPLES.get(kind, f"{{kind: {kind}}}")
    context.error(
        "missing-engine",
        f"module {module.id!r} ({uses}) needs an engine of kind {kind}, and none is declared",
        module.path,
        key=True,
        help=f"engines: {{{kind}: {example}}}",
    )
    return None


def _tokenizer(context: Context, module: Draft, given: str | None) -> str | None:
    """The engine whose tokens are counted: named, else the only embedder, else the only llm."""
    settings = module.settings
    if not isinstance(settings, ChunkSettings) or settings.by == "characters":
        return None
    if given is not None:
        path = (*module.path, "with", "tokenizer")
        return _named(context, path, given, ("embedder", "llm"))
    for kind in ("embedder", "llm"):
        default = context.defaults.get(kind)
        if isinstance(default, str) and default in context.engines:
            return default
        if len(have := of_kind(context, kind)) == 1:
            return have[0]
    context.error(
        "missing-engine",
        f"module {module.id!r} counts tokens, and no single embedder or llm says whose",
        module.path,
        key=True,
        help="with: {tokenizer: NAME}, or with: {by: characters, size: 1000}",
    )
    return None
