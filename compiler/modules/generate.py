"""``generate``: one LLM call with a prompt of the workflow's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import Field

from teola.compiler.graph.pgraph import Const, Ref
from teola.compiler.modules.build import Build
from teola.compiler.modules.definition import ModuleDefinition, Problem, Prompt
from teola.compiler.modules.llm import OutputShape, PromptSettings, one_prompt, prompt_of, shape_of
from teola.compiler.types import TEXT, Type, parse_type


class GenerateSettings(PromptSettings):
    """Settings of ``generate``."""

    output: Annotated[
        OutputShape, Field(description="Shape: text, lines, or {lines: {count: 3}}")
    ] = "text"


def prompts(settings: GenerateSettings) -> Mapping[str, Prompt]:
    """The one prompt; it sees the module's inputs."""
    return {"prompt": prompt_of(settings, None, {})}


def problems(settings: GenerateSettings) -> Iterable[Problem]:
    """There is exactly one prompt."""
    return one_prompt(settings, required=True)


def outputs(settings: GenerateSettings) -> Mapping[str, Type]:
    """The shape's port, and the raw text."""
    shape, _ = shape_of(settings.output)
    ports = {"lines": parse_type("list<text>")} if shape["shape"] == "lines" else {}
    return {**ports, "text": TEXT}


def lower(build: Build) -> Mapping[str, Ref]:
    """One call."""
    settings = build.settings
    if not isinstance(settings, GenerateSettings):
        raise TypeError("generate needs its own settings")
    shape, count = shape_of(settings.output)
    answer = build.call(
        prompts(settings)["prompt"],
        output=shape,
        count=Const(count) if count is not None else None,
    )
    return {port: Ref(answer, port) for port in outputs(settings)}


GENERATE = ModuleDefinition(
    name="generate",
    doc="Call an LLM with a prompt; every input is a variable of the prompt.",
    values={},
    settings=GenerateSettings,
    outputs=outputs,
    lower=lower,
    engines=("llm",),
    open_inputs=True,
    prompts=prompts,
    problems=problems,
)
