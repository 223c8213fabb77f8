"""The built-in prompts of ``synthesize``: what is known early first, passages and answers last.

They are written for small models: short and direct.
"""

from __future__ import annotations

from collections.abc import Mapping

ANSWER = """\
{% if question %}
Answer the question in one or two sentences. Use only what the passages below say.

Question: {{ question }}

{% else %}
Sum up the passages below in one or two sentences.

{% endif %}
{% if passages %}
Passages:
{% for passage in passages %}

{{ passage }}
{% endfor %}
{% else %}
No passages were found. Say in one sentence that nothing was found about this.
{% endif %}
"""

REFINE = """\
{% if question %}
Improve the existing answer to the question with the new passage. If the passage does not help, \
repeat the existing answer unchanged. Write only the answer, in one or two sentences.

Question: {{ question }}

{% else %}
Add what the new passage says to the existing summary. Write only the summary, in one or two \
sentences.

{% endif %}
New passage:
{{ passage }}

Existing answer: {{ answer }}
"""

COMBINE = """\
{% if question %}
Combine the answers below into one answer to the question, in one or two sentences. \
Leave out answers that say that nothing was found.

Question: {{ question }}

{% else %}
Combine the summaries below into one, in one or two sentences.

{% endif %}
Answers:
{% for answer in answers %}
- {{ answer }}
{% endfor %}
"""

_CITE = "Use only what the passages below say."
_CITE_NUMBERED = "Use only what the passages below say, and cite them by number, like [1]."
_KEEP = "Write only the answer, in one or two sentences."
_KEEP_NUMBERED = "Write only the answer, in one or two sentences; keep citations like [1]."


def numbered() -> Mapping[str, str]:
    """The same prompts with numbered passages, asking for citations (``cite: true``)."""
    return {
        "answer": ANSWER.replace(_CITE, _CITE_NUMBERED).replace(
            "\n{{ passage }}", "\n[{{ index + loop.index }}] {{ passage }}"
        ),
        "refine": REFINE.replace(_KEEP, _KEEP_NUMBERED).replace(
            "\n{{ passage }}", "\n[{{ index + 2 }}] {{ passage }}"
        ),
        "combine": COMBINE.replace(
            "in one or two sentences. L", "in one or two sentences; keep citations like [1]. L"
        ),
    }
