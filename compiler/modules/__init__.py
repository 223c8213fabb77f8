"""The module vocabulary: what may stand after ``uses:``."""

from __future__ import annotations

from importlib.metadata import entry_points

from teola.compiler.modules.chunk import CHUNK
from teola.compiler.modules.definition import ModuleDefinition
from teola.compiler.modules.expand_query import EXPAND_QUERY
from teola.compiler.modules.generate import GENERATE
from teola.compiler.modules.index import INDEX
from teola.compiler.modules.rerank import RERANK
from teola.compiler.modules.rewrite_query import REWRITE_QUERY
from teola.compiler.modules.search import SEARCH
from teola.compiler.modules.synthesize import SYNTHESIZE

__all__ = ["ENTRY_POINTS", "MODULES", "ModuleDefinition", "find_module", "register_module"]

MODULES: dict[str, ModuleDefinition] = {
    definition.name: definition
    for definition in (
        CHUNK,
        INDEX,
        SEARCH,
        RERANK,
        EXPAND_QUERY,
        REWRITE_QUERY,
        GENERATE,
        SYNTHESIZE,
    )
}
"""Every module known so far, by name; plug-ins join when they are first named."""

ENTRY_POINTS = "teola.modules"
"""The entry-point group of plug-in modules: name -> a ModuleDefinition."""


def find_module(name: str) -> ModuleDefinition | None:
    """The module ``name``: built in, or a plug-in's, which is loaded now; None where there is none.

    Raises:
        ValueError: the plug-in gives something else than a definition of that name.
    """
    if name in MODULES:
        return MODULES[name]
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        definition = entry.load()
        if not isinstance(definition, ModuleDefinition) or definition.name != name:
            raise ValueError(f"the plug-in {entry.value!r} gives no module {name!r}")
        register_module(definition)
        return definition
    return None


def register_module(definition: ModuleDefinition) -> None:
    """Add a module to the vocabulary.

    Raises:
        ValueError: a module of that name exists, or its definition contradicts itself.
    """
    if definition.name in MODULES:
        raise ValueError(f"module {definition.name!r} exists already")
    both = set(definition.values) & set(definition.settings.model_fields)
    if both:
        raise ValueError(f"module {definition.name!r}: {sorted(both)} are value and setting")
    missing = set(definition.engines) - set(definition.settings.model_fields)
    if missing:
        raise ValueError(f"module {definition.name!r}: no setting names the {sorted(missing)}")
    MODULES[definition.name] = definition
