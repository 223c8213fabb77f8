"""Prompts: what templates may do, how records print, and how they are cut into parts (rule 13)."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import jinja2.meta
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.compiler.prompts import (
    Budget,
    BudgetError,
    PromptError,
    Template,
    render_messages,
    template,
)
from teola.compiler.prompts.environment import ENVIRONMENT

PASSAGE = {"id": "1", "text": "Paris is old.", "document": "d", "score": 0.5, "meta": {"items": 3}}
VALUES = {
    "question": "Why?",
    "passages": [PASSAGE, {**PASSAGE, "text": "Rome is older."}],
    "passage": PASSAGE,
    "message": {"role": "user", "content": "Hello."},
    "document": {"name": "a.md", "text": "Whole text.", "meta": {}},
    "data": {"items": [1, 2], "name": "x", "flag": True, "nothing": None},
    "number": 3,
}


def render(source, **values):
    return Template(source).render({**VALUES, **values})


def refused(source, **values):
    with pytest.raises(PromptError) as caught:
        render(source, **values)
    return caught.value


# What is printed.


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ passage }}", "Paris is old."),
        ("{{ document }}", "Whole text."),
        ("{{ message }}", "Hello."),
        ("{{ message.role }}: {{ message.content }}", "user: Hello."),
        ("{{ passage ~ '!' }}", "Paris is old.!"),
        ("{{ passages | join(' ') }}", "Paris is old. Rome is older."),
        ("{{ passages | map(attribute='score') | join(',') }}", "0.5,0.5"),
        ("{{ passages | join(',', attribute='meta.items') }}", "3,3"),
        (
            "{% for p in passages %}{{ loop.index }}{{ p }}{% endfor %}",
            "1Paris is old.2Rome is older.",
        ),
        ("{{ data.flag }}{{ data.nothing }}{{ number }}", "true3"),
        ("{{ data.items | tojson }}", "[1, 2]"),
        ("{{ '<é>' | tojson }}", '"<é>"'),
        ("{{ data['name'] }}{{ data.items[1] }}", "x2"),
        ("{{ question | default('none') }}{{ data.x | default('none') }}", "Why?none"),
        ("{% for k, v in data | items %}{{ k }} {% endfor %}", "items name flag nothing "),
        ("{% for i in range(3) %}{{ i }}{% endfor %}", "012"),
        ("{% for g in passages | groupby('score') %}{{ g.grouper }}{% endfor %}", "0.5"),
        ("{{ passages | length }}", "2"),
    ],
)
def test_records_print_their_text_and_fields_are_keys(source, text):
    assert render(source) == text


@pytest.mark.parametrize(
    "source",
    [
        "{{ passages }}",
        "{{ data }}",
        "{{ data.items }}",
        "{{ passages | map('upper') }}",
        "{{ passages ~ 'x' }}",
        "{{ '%s' | format(data) }}",
        "{{ range }}",
        "{{ passages[:1] }}",
    ],
)
def test_lists_maps_and_callables_are_not_printed(source):
    error = refused(source)
    assert "loop over it, or `| join`, `| tojson`" in str(error)
    assert error.line == 1


def test_blocks_leave_no_blank_lines():
    assert render("a\n  {% if number %}\nb\n  {% endif %}\nc\n") == "a\nb\nc"


# What is refused.


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ nope }}", "'nope' is undefined"),
        ("{{ passage.titel }}", "there is no key 'titel'; there are: id, text, document, score"),
        ("{{ passages.text }}", "a list has no field 'text': loop over it"),
        ("{{ passages[7] }}", "there is no item 7: the length is 2"),
        ("{{ question.upper }}", "a text has no field 'upper'"),
        ("{{ question.__class__ }}", "a text has no field '__class__'"),
        ("{{ question['__class__'] }}", "a text has no field '__class__'"),
        ("{{ data.__init__ }}", "there is no key '__init__'"),
        ("{{ number / 0 }}", "division by zero"),
        ("{{ 'a' * 1000000000 }}", "`*` is for numbers"),
        (
            "{{ range(100000000) | list | length }}",
            "`range` gives at most 100,000 numbers here, not 100,000,000",
        ),
    ],
)
def test_what_cannot_be_rendered_is_told_with_its_line(source, said):
    error = refused("line\n\n" + source)
    assert said in str(error)
    assert error.line == 3


@pytest.mark.parametrize(
    ("source", "said", "help"),
    [
        ("{% include 'a' %}", "prompts have no `include`", None),
        ("{% import 'a' as b %}", "prompts have no `import`", None),
        ("{% from 'a' import b %}", "prompts have no `import`", None),
        ("{% extends 'a' %}", "prompts have no `extends`", None),
        ("{% macro a() %}{% endmacro %}", "prompts have no `macro`", None),
        ("{% block a %}{% endblock %}", "prompts have no `block`", None),
        ("{% set n = namespace(a=1) %}", "prompts have no `namespace()`", None),
        ("{{ now() }}", "prompts have no `now()`", "give the time as an input of the module"),
        ("{{ lipsum() }}", "prompts have no `lipsum()`", None),
        ("{{ cycler('a') }}", "prompts have no `cycler()`", "use `loop.cycle`"),
        ("{{ joiner() }}", "prompts have no `joiner()`", "use `{% if not loop.last %}`"),
        ("{{ passages | random }}", "prompts have no filter `random`", None),
        ("{{ data | attr('x') }}", "prompts have no filter `attr`", None),
        ("{{ passages | joi }}", "prompts have no filter `joi`", "did you mean `| join`?"),
        ("{{ number is even_ }}", "there is no test `is even_`", None),
        ("{{ question.upper() }}", "`.upper()` is not available", "write `| upper`"),
        ("{{ data.items() }}", "`.items()` is not available", "write `| items`"),
        ("{{ self.x }}", "prompts have no `self`", None),
        ("{{ 10 ** 10 ** 10 }}", "prompts have no `**`", None),
        ("{{ data['f']() }}", "prompts call nothing but `range`", None),
    ],
)
def test_what_reaches_out_is_refused_before_rendering(source, said, help):
    with pytest.raises(PromptError) as caught:
        Template("line\n" + source)
    assert said in str(caught.value)
    assert caught.value.line == 2
    assert caught.value.help == help


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ x", "`{{` is not closed by `}}`"),
        ("{{ a b }}", "`b` does not belong here"),
        ("{% if a %}", "`{% if %}` is not closed by `{% endif %}`"),
        ("{% endfor %}", "`{% endfor %}` closes nothing that is open"),
        ("{% fro a %}", "there is no tag `{% fro %}`"),
        ("{# a", "`{#` is not closed by `#}`"),
        ("{{ (a }}", "expected `)`, got `}`"),
    ],
)
def test_broken_syntax_is_explained(source, said):
    with pytest.raises(PromptError) as caught:
        Template("one\ntwo\n" + source)
    assert said in str(caught.value)
    assert caught.value.line == 3


def test_only_plain_data_enters():
    error = refused("{{ file }}", file=Path("secret"))
    assert "'file' holds a" in str(error)
    assert "only plain data" in str(error)
    assert "'deep' holds a" in str(refused("{{ deep[0] }}", deep=[{1}]))


def test_values_that_no_template_uses_are_left_alone():
    assert render("{{ number }}", other=object()) == "3"


# Variables and parts.


@pytest.mark.parametrize(
    ("source", "needed"),
    [
        ("{{ a }} {{ b.c }}", ["a", "b"]),
        ("{% set a = b %}{{ a }}", ["b"]),
        ("{{ a }}{% set a = 1 %}", ["a"]),
        ("{% for x in xs %}{{ x }}{{ loop.index }}{{ y }}{% endfor %}{{ x }}", ["xs", "y", "x"]),
        ("{% if a %}{% set b = 1 %}{% endif %}{{ b }}", ["a", "b"]),
        ("{% if a %}{% set b = 1 %}{% else %}{% set b = 2 %}{% endif %}{{ b }}", ["a"]),
        ("{% with a = b %}{{ a }}{% endwith %}{{ a }}", ["b", "a"]),
        ("{% for x in xs %}{% set n = x %}{% endfor %}{{ n }}", ["xs", "n"]),
        ("{% set a %}{{ b }}{% endset %}{{ a }}", ["b"]),
        ("{% filter upper %}{{ a }}{% endfilter %}", ["a"]),
        ("{{ range(n) | join(sep) }}{{ a is defined }}", ["n", "sep", "a"]),
        ("{% for a, b in xs if a > c %}{{ b }}{% else %}{{ d }}{% endfor %}", ["xs", "c", "d"]),
        ("{% if a %}{% elif b %}{{ c }}{% endif %}", ["a", "c", "b"]),
    ],
)
def test_variables_are_those_that_nothing_sets(source, needed):
    assert sorted(Template(source).variables) == sorted(needed)
    # Jinja's own answer errs on the safe side where every branch sets a name.
    assert set(needed) <= jinja2.meta.find_undeclared_variables(ENVIRONMENT.parse(source))


def test_a_part_needs_what_no_part_before_it_needed():
    parts = Template(
        "Answer {{ question }}.\n{% set n = passages | length %}\n"
        "{% for p in passages %}\n- {{ p }}\n{% endfor %}\n{{ n }} {{ question }} {{ answer }}"
    )
    needs = [sorted(part.needs) for part in parts.parts if part.needs]
    assert needs == [["question"], ["passages"], ["answer"]]


def test_the_ready_prefix_grows_with_what_is_known():
    prompt = Template("Say: {{ a }} then {{ b }} and {{ a }}")
    known = [frozenset(), frozenset("a"), frozenset("ab")]
    texts = [prompt.render_prefix(prompt.ready_prefix(names), {"a": 1, "b": 2}) for names in known]
    assert texts == ["Say: ", "Say: 1 then ", "Say: 1 then 2 and 1"]


PIECES = [
    "text ",
    "\n",
    "  ",
    "{{ a }}",
    "{{ b }}",
    "{% set c = a %}",
    "{% set a = 'new' %}",
    "{{ c | default('-') }}",
    "{% for x in xs %}{{ x }}, {% endfor %}",
    "{% if flag %}\nyes\n{% else %}\nno\n{% endif %}\n",
    "{# nothing #}",
    "{% with d = b %}{{ d }}{% endwith %}",
    "{% filter upper %}{{ b }}{% endfilter %}",
    "{{- a -}}",
]


@given(
    st.lists(st.sampled_from(PIECES), max_size=8).map("".join),
    st.fixed_dictionaries(
        {
            "a": st.text(max_size=5),
            "b": st.integers(),
            "xs": st.lists(st.integers(), max_size=3),
            "flag": st.booleans(),
        }
    ),
)
def test_a_prefix_of_the_parts_renders_a_prefix_of_the_text(source, values):
    prompt = Template(source)
    whole = prompt.render(values)
    assert set(prompt.variables) == jinja2.meta.find_undeclared_variables(ENVIRONMENT.parse(source))
    before = ""
    needed = set()
    for count in range(len(prompt.parts) + 1):
        needed |= prompt.parts[count - 1].needs if count else set()
        text = prompt.render_prefix(
            count, {name: values[name] for name in needed if name in values}
        )
        assert text.startswith(before)
        assert whole.startswith(text)
        before = text
    assert before == whole


@given(st.text(alphabet="{}%# abx.|()[]'\"-+\n", max_size=40))
def test_whatever_stands_in_a_template_is_read_or_refused(source):
    with suppress(PromptError):
        assert isinstance(Template(source).render({"a": 1, "b": [1], "x": "text"}), str)


# Messages and use from threads.


def test_messages_are_rendered_and_spliced():
    entries = [
        {"role": "system", "template": "Be brief."},
        {"splice": "history"},
        {"role": "user", "template": "{{ question }}"},
    ]
    history = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    messages = render_messages(entries, {"question": "Why?", "history": history})
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[-1] == {"role": "user", "content": "Why?"}
    assert render_messages([{"splice": "history"}], {"history": history[0]}) == history[:1]


def test_what_is_no_message_is_not_spliced():
    with pytest.raises(PromptError, match="'history' holds no message"):
        render_messages([{"splice": "history"}], {"history": ["Hi"]})


def test_one_template_renders_in_many_threads():
    source = "{% for x in xs %}{{ x }}{{ y }}{% endfor %}"
    with ThreadPoolExecutor(8) as pool:
        texts = pool.map(
            lambda n: template(source).render({"xs": list(range(50)), "y": n}), range(64)
        )
        assert list(texts) == ["".join(f"{x}{n}" for x in range(50)) for n in range(64)]


def test_templates_are_read_once():
    assert template("{{ a }}") is template("{{ a }}")


# What a rendering may do is bounded.

GREEDY = (
    "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
    "{% for a in range(90000) %}{% for b in 'xxxxxxxxxx' %}{{ text }}{% endfor %}{% endfor %}",
    "{% set x %}{% for a in range(90000) %}" + "y" * 900 + "{% endfor %}{% endset %}{{ x }}",
    "{% filter upper %}{% for a in range(90000) %}" + "y" * 900 + "{% endfor %}{% endfilter %}",
    "{% for a in range(2000) if range(2000) | list | sum %}x{% endfor %}",
    "{% set a = 'x' %}" + "{% set a = a ~ a %}" * 60,
    "{% set a = 'x' %}" + "{% set a = a + a %}" * 60,
    "{% set a = [1] %}" + "{% set a = a + a %}" * 60,
    "{% set a = [1] %}" + "{% set a = [a, a] %}" * 60 + "{{ a | tojson }}",
    "{% set a, b = [1], [1] %}" + "{% set a = [a, a] %}{% set b = [b, b] %}" * 60 + "{{ a == b }}",
    "{{ 'a' | center(1000000000) }}",
    "{{ text | replace('', text) }}",
    "{{ (text | replace(' ', '\\n')) | indent(100000) }}",
    "{{ range(100000) | list | join(text) }}",
    "{{ [1] | batch(1000000000, 'x') | list }}",
    "{{ [1] | slice(1000000000) | list }}",
    "{{ text | replace(' ', 'x') | wordwrap(1) }}",
    "{{ text | replace('word', '<!--') | striptags }}",
    "{{ text | trim(text) }}",
    "{% set n = range(100000) | list %}{{ n | select('in', n) | list | length }}",
    "{% set n = range(9000) | list %}{% for x in n %}{% if x in n %}1{% endif %}{% endfor %}",
    "{% for x in range(100000) %}{% if 'zz' in text %}1{% endif %}{% endfor %}",
    "{% for x in range(100000) %}{% set y = text[1:] %}{% endfor %}",
    "{% for x in range(100000) %}{% set y = text | upper %}{% endfor %}",
    "{% set n = range(9000) | list %}{% for x in n %}{{ loop.changed(n) }}{% endfor %}",
    "{% set n = range(9000) | list %}{% for x in n %}{{ loop.cycle(*n) }}{% endfor %}",
    "{% set n = range(9000) | list %}{% for x in n %}{{ n | map('abs') | first }}{% endfor %}",
    "{% set n = range(9000) | list %}{% for x in n %}{{ (n | sort)[0] }}{% endfor %}",
    "{% set n = range(9000) | list %}{% for x in n %}{{ n is eq([0] + n[1:]) }}{% endfor %}",
)


@pytest.mark.parametrize("source", GREEDY)
def test_a_rendering_ends_where_its_budget_is_used(source):
    """Whatever repeats, multiplies or compares is paid for: no prompt runs for ever."""
    with pytest.raises(BudgetError, match="the prompt (takes|makes) more than [0-9,]+ ") as caught:
        Template("line\n" + source).render({"text": "word " * 20_000}, Budget(200_000, 9_000_000))
    assert caught.value.line == 2


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "{% set a = 10 %}" + "{% set a = a * a %}" * 60,
            "numbers in prompts have at most 4096 bits",
        ),
        ("{{ '%100d' % 1 }}", "`%` is for numbers"),
        ("{{ 1.5 | round(1000000000, 'ceil') }}", "`round` takes a precision of at most 300"),
        ("{{ [1] | tojson(indent=1000000000) }}", "`tojson` takes an indent of at most 1000"),
        ("{{ [[1], [2]] | sum(start=[]) }}", "`sum` is for numbers"),
        ("{{ ('1' | center(20000)) | int }}", "a text of 20,000 characters is no number"),
        ("{{ [1, 2] | string }}", "a list cannot be printed"),
        ("{{ 'x' ~ [1, 2] }}", "a list cannot be printed"),
        ("{{ range(10000000000000000000000) }}", "`range` gives at most 100,000 numbers here"),
        ("{% for a in [1] %}" * 25 + "x" + "{% endfor %}" * 25, "nests too deeply"),
    ],
)
def test_what_no_prompt_needs_is_refused(source, said):
    """Huge numbers, formats and nesting are errors that say so, never Python's own."""
    assert said in str(refused(source))


def test_a_budget_covers_all_messages_of_a_prompt():
    """Two messages that fit by themselves may be too much together."""
    entries = [{"role": "user", "template": "{% for x in xs %}{{ x }}{% endfor %}"}] * 2
    assert len(render_messages(entries, {"xs": [1] * 40}, Budget(steps=80))) == 2
    with pytest.raises(BudgetError, match="more than 79 loop steps"):
        render_messages(entries, {"xs": [1] * 40}, Budget(steps=79))
    with pytest.raises(BudgetError, match="more than 9 characters"):
        render_messages(
            [{"splice": "m"}], {"m": {"role": "user", "content": "x" * 10}}, Budget(9, 9)
        )


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (
            "{% for x in xs %}{{ loop.index }}/{{ loop.length }}{{ loop.last }} {% endfor %}",
            "1/3false 2/3false 3/3true ",
        ),
        ("{% for x in xs if x > 1 %}{{ loop.revindex }}{{ x }}{% endfor %}", "2213"),
        ("{% for x in xs | reverse %}{{ x }}{{ loop.length }}{% endfor %}", "332313"),
        (
            "{{ 1 < 2 < 3 }} {{ 2 in xs }} {{ 4 not in xs }} {{ xs == [1, 2, 3] }}",
            "true true true true",
        ),
        (
            "{{ xs[1:] | join('-') }} {{ 'abc'[:2] }} {{ 7 // 2 }} {{ 7 % 2 }} {{ 1 / 2 }}",
            "2-3 ab 3 1 0.5",
        ),
        ("{% set x %}a{{ xs[0] }}{% endset %}{{ x ~ x }}", "a1a1"),
    ],
)
def test_paying_changes_no_text(source, text):
    """Loops keep their length and position, comparisons and slices their results."""
    assert render(source, xs=[1, 2, 3]) == text
