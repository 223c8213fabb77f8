"""``generate``: one LLM call with a prompt of the workflow's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import Field

from teola.compiler.graph.pgraph import Const, Ref
from teola.compiler.modules.build import Build
from teola.compiler.modules.definition import ModuleDefinition, Problem, Prompt
from teola.compiler.modules.llm import PromptSettings, one_prompt, prompt_of
from teola.compiler.modules.output import (
    PORTS,
    PROBABILITIES,
    WEIGHED,
    Output,
    output_problems,
    wanted,
)
from teola.compiler.types import TEXT, Type


class GenerateSettings(PromptSettings):
    """Settings of ``generate``."""

    output: Annotated[
        Output,
        Field(description="Shape: text, lines, json, json_list, bool, or {lines: {count: 3}}"),
    ] = "text"


def prompts(settings: GenerateSettings) -> Mapping[str, Prompt]:
    """The one prompt; it sees the module's inputs."""
    return {"prompt": prompt_of(settings, None, {})}


def problems(settings: GenerateSettings) -> Iterable[Problem]:
    """There is exactly one prompt, and the output is one shape."""
    return (*one_prompt(settings, required=True), *output_problems(settings.output))


def outputs(settings: GenerateSettings) -> Mapping[str, Type]:
    """The shape's port, the raw text, and how likely each answer is of those that there can be."""
    shape = wanted(settings.output).shape
    more = {PROBABILITIES: PORTS["json"]} if shape in WEIGHED else {}
    return {shape: PORTS[shape], "text": TEXT, **more}


def lower(build: Build) -> Mapping[str, Ref]:
    """One call."""
    settings = build.settings
    if not isinstance(settings, GenerateSettings):
        raise TypeError("generate needs its own settings")
    output = wanted(settings.output)
    answer = build.call(
        prompts(settings)["prompt"],
        output=output.config,
        count=Const(output.count) if output.count is not None else None,
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
