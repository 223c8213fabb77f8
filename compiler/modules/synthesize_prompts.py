"""The built-in prompts of ``synthesize``: what is known early first, passages and answers last.

They are written for small models, short and direct, and ask for one sentence: a small model that
may go on repeats itself.
"""

from __future__ import annotations

from collections.abc import Mapping

ANSWER = """\
{% if question %}
Answer the question in one short sentence. Use only what the passages below say.

Question: {{ question }}

{% else %}
Sum up the passages below in one short sentence.

{% endif %}
{% if passages %}
Passages:
{% for passage in passages %}

{{ passage }}
{% endfor %}

{% if question %}
Question: {{ question }}
Answer in one short sentence:
{% endif %}
{% else %}
No passages were found. Say in one sentence that nothing was found about this.
{% endif %}
"""

REFINE = """\
{% if question %}
Answer the question in one short sentence, from the new passage and the draft answer.

Question: {{ question }}

{% else %}
Sum up the new passage and the existing summary in one short sentence.

{% endif %}
New passage:
{{ passage }}

{% if question %}
Draft answer: {{ answer }}

Question: {{ question }}
Answer in one short sentence:
{% else %}
Existing summary: {{ answer }}
{% endif %}
"""

COMBINE = """\
{% if question %}
Combine the answers below into one answer to the question, in one short sentence. \
Leave out answers that say that nothing was found.

Question: {{ question }}

{% else %}
Combine the summaries below into one short sentence.

{% endif %}
Answers:
{% for answer in answers %}
- {{ answer }}
{% endfor %}
"""

_CITE = "Use only what the passages below say."
_CITE_NUMBERED = "Use only what the passages below say, and cite them by number, like [1]."
_KEEP = "from the new passage and the draft answer."
_KEEP_NUMBERED = "from the new passage and the draft answer; keep citations like [1]."


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
            "in one short sentence. L", "in one short sentence; keep citations like [1]. L"
        ),
    }
