"""Prompts of a module: templates are valid, see what they use, and use what is bound for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from teola.compiler.check.context import Context, Draft, listed
from teola.compiler.check.files import read_inside
from teola.compiler.check.template_places import TemplatePlace
from teola.compiler.check.template_values import check_values, single_braces
from teola.compiler.diagnostics import nearest
from teola.compiler.modules.definition import Entry, ModuleDefinition, Prompt, Settings
from teola.compiler.modules.llm import LLMSettings, PromptSettings
from teola.compiler.modules.synthesize import PromptFile, SynthesizeSettings
from teola.compiler.names import BOUND_NAMES, JINJA_WORDS, as_id
from teola.compiler.prompts import PromptError, template
from teola.compiler.source import Source, Span


def check_prompts(context: Context, module: Draft) -> None:
    """Check every prompt in effect, and that each further input is used by one."""
    definition = module.definition
    if definition is None or module.settings is None or module.outputs is None:
        return
    read = _with_files(context, module, module.settings)
    if read is None:
        return
    module.settings, files = read
    module.prompts = definition.prompts(module.settings)
    used = set(definition.mentions(module.settings)) if module.sound else set()
    _check_mentions(context, module, used)
    whole = True
    for name, prompt in module.prompts.items():
        found = _check_prompt(context, module, definition, prompt, files.get(name))
        whole = whole and found is not None
        used |= found or set()
    if whole and module.sound and definition.open_inputs:
        _check_unused(context, module, definition, used)
        _check_truncate(context, module, used)
    _lint_braces(context, module)


def _check_mentions(context: Context, module: Draft, used: set[str]) -> None:
    """What an expression of the settings uses is bound under ``inputs``."""
    have = [name for name in module.mapping("inputs") if not _is_parameter(module, name)]
    for name in sorted(used.difference(have)):
        near = nearest(name, have)
        settings = module.mapping("with").items()
        place = next((key for key, text in settings if isinstance(text, str) and name in text), "")
        context.error(
            "undefined-variable",
            f"{place!r} of {module.id!r} uses {name!r}, which is no further input of it",
            (*module.path, "with", place),
            notes=[f"it sees: {listed(have)}"],
            help=f"did you mean {near!r}?" if near else f"inputs: {{{name}: inputs.{name}}}",
        )
        used |= {near} if near else set()


def _is_parameter(module: Draft, name: str) -> bool:
    return module.definition is not None and name in module.definition.parameters


def _with_files(
    context: Context, module: Draft, settings: Settings
) -> tuple[Settings, Mapping[str, Source]] | None:
    """The settings with the text of prompt files in place of their names, and those files."""
    path = (*module.path, "with")
    if isinstance(settings, PromptSettings) and settings.prompt_file is not None:
        source = read_inside(context, (*path, "prompt_file"), settings.prompt_file)
        if source is None:
            return None
        return settings.model_copy(update={"prompt": source.text}), {"prompt": source}
    if not isinstance(settings, SynthesizeSettings):
        return settings, {}
    files: dict[str, Source] = {}
    for name in settings.prompts.model_fields_set:
        given = getattr(settings.prompts, name)
        if isinstance(given, PromptFile):
            source = read_inside(context, (*path, "prompts", name, "file"), given.file)
            if source is None:
                return None
            files[name] = source
    texts = {name: source.text for name, source in files.items()}
    prompts = settings.prompts.model_copy(update=texts)
    return settings.model_copy(update={"prompts": prompts}), files


def _check_prompt(
    context: Context,
    module: Draft,
    definition: ModuleDefinition,
    prompt: Prompt,
    file: Source | None,
) -> set[str] | None:
    """The names that the prompt uses; None where a template could not be read."""
    used: set[str] | None = set()
    for entry in prompt.entries:
        if entry.splice is not None:
            _check_splice(context, module, entry)
            found: Iterable[str] | None = (entry.splice,)
        else:
            found = _check_template(context, module, definition, prompt, entry, file)
        used = None if used is None or found is None else used | set(found)
    return used


def _check_splice(context: Context, module: Draft, entry: Entry) -> None:
    name = entry.splice or ""
    path = (*module.path, "with", *(entry.path or ()))
    if name not in module.mapping("inputs"):
        have = listed(list(module.mapping("inputs")))
        near = nearest(name, module.mapping("inputs"))
        context.error(
            "unknown-input",
            f"{name!r} is not an input of {module.id!r}: a text among messages names one",
            path,
            notes=[f"inputs of {module.id!r}: {have}"],
            help=f"did you mean {near!r}?" if near else "for a message write {role: …, content: …}",
        )
        return
    binding = module.bindings.get(name)
    if binding is not None and str(binding.type) not in ("message", "list<message>"):
        context.error(
            "type-mismatch",
            f"{name!r} is {binding.type}: only message and list<message> can stand among messages",
            path,
        )


def _check_template(
    context: Context,
    module: Draft,
    definition: ModuleDefinition,
    prompt: Prompt,
    entry: Entry,
    file: Source | None,
) -> Iterable[str] | None:
    text = entry.template or ""
    place = TemplatePlace(context, (*module.path, "with", *(entry.path or ())), file)
    try:
        parsed = template(text)
    except PromptError as error:
        span = place.line(error.line or 1)
        context.diagnostics.error("bad-template", str(error), span, help=error.help)
        return None
    seen = [*definition.values, *module.mapping("inputs"), *prompt.variables]
    for name, line in parsed.variables.items():
        if name not in seen:
            _undefined(context, module, seen, name, place.word(line, name))
    bound = {name: binding.target for name, binding in module.bindings.items()}
    check_values(place, text, {**bound, **prompt.types})
    for name, line in single_braces(text, seen).items():
        module.braced.setdefault(name, place.find(line, rf"\{{\s*{name}\s*\}}"))
    meant = {nearest(name, seen) for name in parsed.variables if name not in seen}
    return {*parsed.variables, *(name for name in meant if name is not None)}


def _undefined(context: Context, module: Draft, seen: list[str], name: str, span: Span) -> None:
    near = nearest(name, seen)
    help = f"did you mean {near!r}?" if near else None
    if near is None and (name in context.modules or name == "inputs"):
        help = "a prompt sees the inputs of its module: bind it under inputs: and use that name"
    elif near is None and name in context.inputs:
        help = f"inputs: {{{name}: inputs.{name}}}"
    context.diagnostics.error(
        "undefined-variable",
        f"the prompt of {module.id!r} has no variable {name!r}",
        span,
        notes=[f"it sees: {listed(list(dict.fromkeys(seen)))}"],
        help=help,
    )


def _check_unused(
    context: Context, module: Draft, definition: ModuleDefinition, used: set[str]
) -> None:
    documented = {name for prompt in module.prompts.values() for name in prompt.variables}
    for name in module.mapping("inputs"):
        if name in definition.parameters or name not in module.bindings:
            continue
        path = (*module.path, "inputs", name)
        if name in documented:
            context.error(
                "reserved-name",
                f"{definition.name} itself gives its prompts {name!r}: name the input otherwise",
                path,
                key=True,
            )
        elif name in JINJA_WORDS or name in BOUND_NAMES or as_id(name) != name:
            context.error("bad-id", f"a prompt cannot use the name {name!r}", path, key=True)
        elif name not in used:
            _unused(context, module, name, context.span(path, key=True))


def _unused(context: Context, module: Draft, name: str, span: Span) -> None:
    braced = module.braced.pop(name, None)
    user, use = "no prompt", f"{{{{ {name} }}}}"
    if not module.prompts:
        user, use = "no expression", f"where: meta.{name} == {name}"
    context.diagnostics.error(
        "unused-input",
        f"{user} of {module.id!r} uses the input {name!r}",
        braced or span,
        help=f"did you mean {use}?" if braced is not None else f"use it as {use}, or leave it out",
    )


def _lint_braces(context: Context, module: Draft) -> None:
    """Names in single braces, as other tools write them, are text here."""
    for name, span in module.braced.items():
        context.diagnostics.warning(
            "single-braces",
            f"{{{name}}} is text: a prompt's variables stand in double braces",
            span,
            help=f"did you mean {{{{ {name} }}}}?",
        )


def _check_truncate(context: Context, module: Draft, used: set[str]) -> None:
    name = module.settings.truncate if isinstance(module.settings, LLMSettings) else None
    if name is None:
        return
    path = (*module.path, "with", "truncate")
    binding = module.bindings.get(name)
    lists = [key for key, bound in module.bindings.items() if bound.target.item is not None]
    if name not in module.mapping("inputs") or name not in used:
        near = nearest(name, lists)
        context.error(
            "unknown-input",
            f"truncate names an input that a prompt uses; {name!r} is none",
            path,
            notes=[f"inputs that are lists: {listed(lists)}"],
            help=f"did you mean {near!r}?" if near else None,
        )
    elif binding is not None and binding.target.item is None:
        context.error(
            "type-mismatch", f"truncate drops items of a list; {name!r} is {binding.target}", path
        )
