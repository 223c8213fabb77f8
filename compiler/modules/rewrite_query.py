"""``rewrite_query``: one question of a conversation as a query that stands alone."""

from __future__ import annotations

from collections.abc import Mapping

from teola.compiler.graph.pgraph import Ref
from teola.compiler.modules.build import Build
from teola.compiler.modules.definition import ModuleDefinition, Prompt, Value
from teola.compiler.modules.llm import PromptSettings, one_prompt, prompt_of
from teola.compiler.types import TEXT, parse_type

PROMPT = """\
Rewrite the question as one short search query that can be understood alone. \
Write only the query.

{% if history %}
Conversation so far:
{% for message in history %}
{{ message.role }}: {{ message }}
{% endfor %}

{% endif %}
Question: {{ question }}
"""


def prompts(settings: PromptSettings) -> Mapping[str, Prompt]:
    """The one prompt; it sees ``question`` and ``history``."""
    return {"prompt": prompt_of(settings, PROMPT, {})}


def lower(build: Build) -> Mapping[str, Ref]:
    """One call."""
    settings = build.settings
    if not isinstance(settings, PromptSettings):
        raise TypeError("rewrite_query needs settings with a prompt")
    return {"query": Ref(build.call(prompts(settings)["prompt"]), "text")}


REWRITE_QUERY = ModuleDefinition(
    name="rewrite_query",
    doc="Rewrite a question of a conversation as a query that stands alone.",
    values={
        "question": Value((TEXT,), "What is asked"),
        "history": Value((parse_type("list<message>"),), "Messages before it", required=False),
    },
    settings=PromptSettings,
    outputs=lambda _: {"query": TEXT},
    lower=lower,
    engines=("llm",),
    open_inputs=True,
    prompts=prompts,
    problems=one_prompt,
)
