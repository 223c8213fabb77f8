"""``synthesize``: answer a question from passages, in one call, by refining, or as a tree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from teola.compiler.graph.pgraph import Const, Operand, Ref, Region
from teola.compiler.modules.build import Build
from teola.compiler.modules.definition import (
    Entry,
    ModuleDefinition,
    Problem,
    Prompt,
    Settings,
    Value,
)
from teola.compiler.modules.llm import LLMSettings
from teola.compiler.modules.synthesize_prompts import ANSWER, COMBINE, REFINE, numbered
from teola.compiler.types import TEXT, Type, parse_type

PASSAGES = parse_type("list<passage>")

USED: Mapping[str, tuple[str, ...]] = {
    "one_shot": ("answer",),
    "refine": ("answer", "refine"),
    "tree": ("answer", "combine"),
}
"""Mode -> the prompts it uses."""

VARIABLES: Mapping[str, Mapping[str, str]] = {
    "answer": {"index": "passages before these: 0, but in the leaves of a tree"},
    "refine": {
        "passage": "the next passage",
        "answer": "the answer so far",
        "index": "0 for the second passage, then counting up",
    },
    "combine": {"answers": "texts to make one of"},
}
"""Prompt -> what it sees beside the module's inputs."""

TYPES = {
    "index": parse_type("int"),
    "passage": parse_type("passage"),
    "answer": TEXT,
    "answers": parse_type("list<text>"),
}


class PromptFile(Settings):
    """A prompt in a file."""

    noun: ClassVar[str] = "a prompt"

    file: Annotated[str, Field(description="Path inside the workflow's folder")]


class Prompts(Settings):
    """The prompts of ``synthesize``; each replaces the built-in one."""

    noun: ClassVar[str] = "prompts"

    answer: Annotated[
        str | PromptFile | None, Field(description="Sees question, passages, index")
    ] = None
    refine: Annotated[
        str | PromptFile | None, Field(description="Sees question, passage, answer, index")
    ] = None
    combine: Annotated[str | PromptFile | None, Field(description="Sees question, answers")] = None


class SynthesizeSettings(LLMSettings):
    """Settings of ``synthesize``."""

    mode: Annotated[
        Literal["one_shot", "refine", "tree"],
        Field(
            description="one_shot: one call over all passages; refine: one call a passage, each "
            "improving the answer; tree: one call a passage, then the answers are combined"
        ),
    ] = "one_shot"
    prompts: Annotated[Prompts, Field(description="Replace the built-in prompts")] = Prompts()
    fan_in: Annotated[int, Field(ge=2, description="Answers that one call of a tree combines")] = 2
    cite: Annotated[
        bool, Field(description="Number the passages and give those cited as `cited`")
    ] = False


def prompts(settings: SynthesizeSettings) -> Mapping[str, Prompt]:
    """The prompts that the mode uses."""
    plain = {"answer": ANSWER, "refine": REFINE, "combine": COMBINE}
    built_in = numbered() if settings.cite else plain
    found = {}
    for name in USED[settings.mode]:
        given = getattr(settings.prompts, name)
        own = isinstance(given, str)
        entry = Entry(
            template=given if own else built_in[name], path=("prompts", name) if own else None
        )
        types = {variable: TYPES[variable] for variable in VARIABLES[name]}
        found[name] = Prompt((entry,), VARIABLES[name], types)
    return found


def problems(settings: SynthesizeSettings) -> Iterable[Problem]:
    """Prompts and numbers that the mode does not use."""
    for name in settings.prompts.model_fields_set:
        if name not in USED[settings.mode]:
            used = ", ".join(USED[settings.mode])
            yield Problem(
                ("prompts", name), f"mode {settings.mode} has no prompt {name!r}; it has: {used}"
            )
    if "fan_in" in settings.model_fields_set and settings.mode != "tree":
        yield Problem(("fan_in",), f"fan_in is for mode tree, not for mode {settings.mode}")


def outputs(settings: SynthesizeSettings) -> Mapping[str, Type]:
    """The answer, and the passages it cites."""
    return {"text": TEXT, "cited": PASSAGES} if settings.cite else {"text": TEXT}


def lower(build: Build) -> Mapping[str, Ref]:
    """The calls of the mode, and what of the passages their answer cites."""
    settings = build.settings
    if not isinstance(settings, SynthesizeSettings):
        raise TypeError("synthesize needs its own settings")
    passages = build.input("passages")
    used = prompts(settings)
    build.prepare(*used.values())
    text = _MODES[settings.mode](build, used, passages)
    if not settings.cite:
        return {"text": text}
    cited = build.add("cited", {"text": text, "passages": passages})
    return {"text": text, "cited": Ref(cited, "passages")}


def _one_shot(build: Build, used: Mapping[str, Prompt], passages: Operand) -> Ref:
    call = build.call(used["answer"], {"passages": passages, "index": Const(0)})
    return Ref(call, "text")


def _refine(build: Build, used: Mapping[str, Prompt], passages: Operand) -> Ref:
    """A first answer from the first passage, then a fold over the others."""
    module = build.module
    first = Ref(build.add("take", {"items": passages}, {"start": 0, "count": 1}), "items")
    initial = build.call(used["answer"], {"passages": first, "index": Const(0)})
    rest = Ref(build.add("take", {"items": passages}, {"start": 1}), "items")
    region = f"{module.id}.refine"
    build.add_region(
        Region(
            region,
            "fold",
            {"items": rest, "initial": Ref(initial, "text")},
            {"text": Ref(f"{region}.decode", "text")},
            guard=module.guard,
            module=module.id,
            line=module.line,
        )
    )
    bound: dict[str, Operand] = {
        "passage": Ref(region, "item"),
        "answer": Ref(region, "state"),
        "index": Ref(region, "index"),
    }
    build.call(used["refine"], bound, id=region, region=region)
    return Ref(region, "text")


def _tree(build: Build, used: Mapping[str, Prompt], passages: Operand) -> Ref:
    """One answer a passage, then ``fan_in`` answers become one until one is left."""
    module, settings = build.module, build.settings
    windows = build.add("windows", {"items": passages}, {"size": 1, "keep_empty": True})
    leaves = f"{module.id}.leaves"
    build.add_region(
        Region(
            leaves,
            "each",
            {"items": Ref(windows, "windows")},
            {"text": Ref(f"{leaves}.decode", "text")},
            guard=module.guard,
            module=module.id,
            line=module.line,
        )
    )
    leaf: dict[str, Operand] = {"passages": Ref(leaves, "item"), "index": Ref(leaves, "index")}
    build.call(used["answer"], leaf, id=leaves, region=leaves)
    tree = f"{module.id}.tree"
    build.add_region(
        Region(
            tree,
            "reduce",
            {"items": Ref(leaves, "text")},
            {"text": Ref(f"{tree}.decode", "text")},
            {"fan_in": settings.fan_in if isinstance(settings, SynthesizeSettings) else 2},
            guard=module.guard,
            module=module.id,
            line=module.line,
        )
    )
    build.call(used["combine"], {"answers": Ref(tree, "items")}, id=tree, region=tree)
    return Ref(tree, "text")


_MODES = {"one_shot": _one_shot, "refine": _refine, "tree": _tree}

SYNTHESIZE = ModuleDefinition(
    name="synthesize",
    doc="Answer a question from passages.",
    values={
        "question": Value(
            (TEXT,), "What is asked; without it the passages are summed up", required=False
        ),
        "passages": Value((PASSAGES,), "What the answer is taken from; may be empty"),
    },
    settings=SynthesizeSettings,
    outputs=outputs,
    lower=lower,
    engines=("llm",),
    open_inputs=True,
    prompts=prompts,
    problems=problems,
)
