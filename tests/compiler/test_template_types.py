"""Templates beside the types of their variables: what is reported would fail, what is right is not
reported."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import nodes

from teola.compiler.check.template_types import misuses
from teola.compiler.check.template_values import single_braces
from teola.compiler.prompts import PromptError, template
from teola.compiler.prompts.environment import ENVIRONMENT
from teola.compiler.types import FIELDS, parse_type

PASSAGE = {
    "id": "a", "text": "t", "document": "d", "index": 0, "context": "c", "meta": {"page": 1},
    "score": 0.5, "rank": 1, "url": "u",
}  # fmt: skip
VALUES = {
    "question": "why",
    "number": 3,
    "document": {"name": "n", "text": "t", "meta": {}},
    "passages": [PASSAGE, {**PASSAGE, "id": "b"}],
    "texts": ["a", "b"],
    "facts": {"a": {"b": 1}},
}
TYPES = {
    "question": parse_type("text"),
    "number": parse_type("int"),
    "document": parse_type("document"),
    "passages": parse_type("list<passage>"),
    "texts": parse_type("list<text>"),
    "facts": parse_type("json"),
}


def reported(source):
    """What is misused: (type, field) of each."""
    tree = ENVIRONMENT.parse(source)
    assert isinstance(tree, nodes.Template)
    return [(str(misuse.of), misuse.name) for misuse in misuses(tree, TYPES)]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("{{ question.x }}", [("text", "x")]),
        ("{{ document['x'] }}", [("document", "x")]),
        ("{{ passages }}", [("list<passage>", "")]),
        ("{% if passages %}{{ passages.text }}{% endif %}", [("list<passage>", "text")]),
        ("{% for p in passages %}{{ p.x }}{{ p.text }}{% endfor %}", [("passage", "x")]),
        ("{{ passages|sort(attribute='score')|map(attribute='x')|join }}", [("passage", "x")]),
        ("{{ passages[0].x }}", [("passage", "x")]),
        ("{{ (passages|first).x }}", [("passage", "x")]),
        ("{% set a = document %}{{ a.x }}", [("document", "x")]),
        ("{% with a = document %}{{ a.x }}{% endwith %}", [("document", "x")]),
        ("{{ number + question.x }}", [("text", "x")]),
        ("{% set question %}{{ question.x }}{% endset %}", [("text", "x")]),
        ("{{ question.x | upper }}", [("text", "x")]),
    ],
)
def test_what_cannot_be_right_is_found(source, found):
    """Through loops, sets, filters and branches; and it would have failed when rendered."""
    assert reported(source) == found
    with pytest.raises(PromptError):
        template(source).render(VALUES)


@pytest.mark.parametrize(
    "source",
    [
        "{{ question.x | default('') }}",
        "{% if document.x is defined %}{{ document.x }}{% endif %}",
        "{% if question is mapping %}{{ question.x }}{% endif %}",
        "{{ facts.a.b }}{{ facts['a'].b }}",
        "{% for p in passages %}{{ loop.index }}{{ p.meta.page }}{% endfor %}",
        "{% set a = document %}{% if facts %}{% set a = facts %}{% endif %}{{ a.a.b }}",
        "{{ passages | map(attribute='text') | join }}{{ texts | join }}{{ passages | length }}",
        "{{ passages | tojson }}{{ passages[:1] | length }}",
        "{{ passages | map(attribute='x', default='-') | join }}",
        "{% for passages in texts %}{{ passages }}{% endfor %}",
        "{% for a, b in facts | dictsort %}{{ b.b }}{% endfor %}",
    ],
)
def test_what_is_not_certain_is_not_reported(source):
    """Tested fields, defaults, JSON, names that are set anew; all of it renders."""
    assert reported(source) == []
    template(source).render(VALUES)


EXPRESSIONS = st.one_of(
    st.sampled_from(["question", "number", "document", "facts.a.b", "texts", "passages"]),
    st.builds(
        "{}.{}".format,
        st.sampled_from(["document", "p", "question", "passages", "passages[1]"]),
        st.sampled_from(sorted({*FIELDS["passage"], *FIELDS["document"], "x"} - {"meta"})),
    ),
)
PIECES = st.recursive(
    st.builds("{{{{ {} }}}}".format, EXPRESSIONS),
    lambda inner: st.one_of(
        st.builds("{}{}".format, inner, inner),
        st.builds("{{% for p in passages %}}{}{{% endfor %}}".format, inner),
        st.builds("{{% for document in passages %}}{}{{% endfor %}}".format, inner),
        st.builds("{{% set p = {} %}}{}".format, st.sampled_from([*VALUES, "passages[0]"]), inner),
    ),
    max_leaves=6,
)


@given(st.builds("{{% set p = document %}}{}".format, PIECES))
def test_a_template_fails_exactly_where_something_is_reported(source):
    """Every loop runs and every value is there: no report, no failure, and the reverse."""
    try:
        template(source).render(VALUES)
        failed = False
    except PromptError:
        failed = True
    assert bool(reported(source)) == failed


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("a {question}", {"question": 1}),
        ("\n{ question }\n{question}", {"question": 2}),
        ("{{ question }} ${question} {{question}} {# {question} #}", {}),
        ('{{ "{question}" }} {"question": 1} {other} {}', {}),
    ],
)
def test_names_in_single_braces_are_text(source, found):
    """As f-strings write them; only names that the prompt has are meant."""
    assert single_braces(source, ["question", "number"]) == found
