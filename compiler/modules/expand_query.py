"""``expand_query``: further queries for one question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from teola.compiler.graph.pgraph import Json, Ref
from teola.compiler.modules.build import Build
from teola.compiler.modules.definition import ModuleDefinition, Prompt, Value
from teola.compiler.modules.llm import PromptSettings, one_prompt, prompt_of
from teola.compiler.types import INT, TEXT, parse_type

PROMPT = """\
Question: {{ question }}

Write {{ count }} other questions that mean the same, one on each line:
"""

LINES: dict[str, Json] = {"shape": "lines", "on_short": "keep"}


class ExpandQuerySettings(PromptSettings):
    """Settings of ``expand_query``."""

    keep_original: Annotated[
        bool, Field(description="Give the question itself first, before the new queries")
    ] = True


def prompts(settings: ExpandQuerySettings) -> Mapping[str, Prompt]:
    """The one prompt; it sees ``question`` and ``count``."""
    return {"prompt": prompt_of(settings, PROMPT, {})}


def lower(build: Build) -> Mapping[str, Ref]:
    """One call with a list of lines; the question goes before them, where it need not wait."""
    settings = build.settings
    if not isinstance(settings, ExpandQuerySettings):
        raise TypeError("expand_query needs its own settings")
    question, count = build.input("question"), build.input("count")
    answer = build.call(prompts(settings)["prompt"], output=LINES, count=count, exclude=question)
    queries = Ref(answer, "lines")
    if settings.keep_original:
        original = Ref(build.add("wrap", {"value": question}), "items")
        joined = build.add("concat", {"original": original, "queries": queries})
        queries = Ref(joined, "items")
    return {"queries": queries}


EXPAND_QUERY = ModuleDefinition(
    name="expand_query",
    doc="Write further queries for a question; repetitions are dropped.",
    values={
        "question": Value((TEXT,), "What is asked"),
        "count": Value((INT,), "New queries", False, (3,), least=1),
    },
    settings=ExpandQuerySettings,
    outputs=lambda _: {"queries": parse_type("list<text>")},
    lower=lower,
    engines=("llm",),
    open_inputs=True,
    prompts=prompts,
    problems=one_prompt,
)
