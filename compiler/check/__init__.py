"""Checking a workflow: from a file to a module graph, or to everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from teola.compiler.check.assemble import assemble
from teola.compiler.check.bindings import bind_values
from teola.compiler.check.collections import check_collection, inherits_engines
from teola.compiler.check.context import Context, Draft
from teola.compiler.check.engines import check_defaults, choose_engines
from teola.compiler.check.files import folder_of
from teola.compiler.check.model_paths import locate_models
from teola.compiler.check.needs import check_needs
from teola.compiler.check.order import chain, read_needs
from teola.compiler.check.ports import lint_unused, read_inputs, read_outputs
from teola.compiler.check.prompts import check_prompts
from teola.compiler.check.settings import find_definition, read_settings
from teola.compiler.check.sizes import check_sizes
from teola.compiler.check.text_limits import lint_limits
from teola.compiler.diagnostics import Diagnostics
from teola.compiler.graph.module_graph import ModuleGraph
from teola.compiler.overrides import apply_overrides
from teola.compiler.source import LocatedTree, Source, load_yaml
from teola.compiler.spec import WorkflowSpec, spec_from_tree

__all__ = ["check"]


def check(source: Source, *, sets: Sequence[str] = ()) -> tuple[ModuleGraph | None, Diagnostics]:
    """Check a workflow file and resolve every reference in it.

    ``sets`` are ``path=value`` replacements of constants, checked as if written in the file. The
    graph is None where there are errors; lints do not prevent it. All problems are reported
    together: what builds on something broken is left out, the rest is checked.
    """
    diagnostics = Diagnostics()
    tree = load_yaml(source, diagnostics)
    if tree is None:
        return None, diagnostics
    tree = apply_overrides(tree, sets, diagnostics)
    spec = spec_from_tree(tree, diagnostics)
    graph = _check_meaning(tree, spec, diagnostics)
    return (None if diagnostics.errors else graph), diagnostics


def _check_meaning(
    tree: LocatedTree, spec: WorkflowSpec | None, diagnostics: Diagnostics
) -> ModuleGraph | None:
    """Check what the file's parts mean together, on the tree: also where its shape has faults."""
    if not isinstance(tree.data, Mapping):
        return None
    context = Context(tree, diagnostics, tree.data)
    context.engines = context.section("engines")
    context.defaults = context.section("defaults")
    for index, (name, entry) in enumerate(context.section("modules").items()):
        given = entry if isinstance(entry, Mapping) else {}
        context.modules[str(name)] = Draft(str(name), given, index)
    modules = list(context.modules.values())
    read_inputs(context)
    if not modules:
        return None  # without modules every reference would be wrong
    check_defaults(context)
    for module in modules:
        find_definition(context, module)
    for module in modules:
        read_settings(context, module)
    for module in modules:
        bind_values(context, module)
        read_needs(context, module)
    for module in modules:
        choose_engines(context, module, inherited=inherits_engines(module))
    for module in modules:
        check_collection(context, module)
        check_needs(context, module)
        check_sizes(context, module)
        check_prompts(context, module)
    outputs = read_outputs(context)
    order = chain(context)
    engines = spec.engines if spec is not None else {}
    engines = locate_models(tree, engines, folder_of(context), diagnostics)
    if order is None or spec is None or diagnostics.errors:
        return None
    lint_unused(context, outputs)
    lint_limits(context, engines)
    return assemble(context, spec, order, outputs, engines)
