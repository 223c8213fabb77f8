"""Whatever is in a file, `teola check` gives problems with a place, or says that it is well."""

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from teola.compiler.check import check
from teola.compiler.diagnostics import render, to_json
from teola.compiler.graph.lowering import lower
from teola.compiler.graph.verify import verify
from teola.compiler.locations import gallery
from teola.compiler.source import Source
from tests.generators import workflows

GALLERY = tuple(path.read_text(encoding="utf-8") for path in sorted(gallery().glob("*.yaml")))
SCRAPS = st.one_of(
    st.sampled_from("\t: \n{}[]'\"#~\x00\u00a0\u201c\ufeffé%"),
    st.sampled_from(["- ", "&a", "*a", "!x", "|", ">", "{{ q }}", "${{ q }}", "inputs.", "null"]),
    st.sampled_from(["<<: ", "---\n", "modules", "uses", "with", "list<text>", "1e9", "steps:"]),
    st.sampled_from(["if: x.y", "-1", "&& ", "x.y[0]", "default:"]),
    st.sampled_from(["path: ~/a", "${A}", "{q}", "{{ q.text }}", "size: 1", "steps.a.outputs."]),
    st.sampled_from(["temperature: 1", "{% for p in passages %}", "https://a.b/c", "outputs: a"]),
)


@st.composite
def mutated(draw):
    """A workflow, generated or of the gallery, with up to eight cuts, moves and scraps."""
    text = draw(st.one_of(st.sampled_from(GALLERY), workflows(6)))
    for _ in range(draw(st.integers(0, 8))):
        at = draw(st.integers(0, len(text)))
        length = draw(st.integers(0, 30))
        kind = draw(st.sampled_from(["cut", "insert", "replace", "repeat", "move"]))
        piece = text[at : at + length]
        if kind == "cut":
            text = text[:at] + text[at + length :]
        elif kind == "insert":
            text = text[:at] + draw(SCRAPS) + text[at:]
        elif kind == "replace":
            text = text[:at] + draw(SCRAPS) + text[at + length :]
        elif kind == "repeat":
            text = text[:at] + piece + text[at:]
        else:
            rest = text[:at] + text[at + length :]
            to = draw(st.integers(0, len(rest)))
            text = rest[:to] + piece + rest[to:]
    return text


@settings(
    max_examples=1000,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(mutated())
def test_any_file_is_checked(text):
    """1,000 generated and mutated files: no exception, no message of a library, every place inside
    the file; and what is well can be lowered to a valid graph."""
    source = Source("x.yaml", text)
    graph, diagnostics = check(source)
    drawn = render(diagnostics)
    assert "Traceback" not in drawn
    assert "mapping values are not allowed" not in drawn
    assert "validation error" not in drawn
    assert len(to_json(diagnostics)) == len(list(diagnostics))
    lines = text.count("\n") + 2
    for problem in diagnostics:
        assert 1 <= problem.span.line <= lines
        assert problem.span.column >= 1
    assert (graph is None) == bool(diagnostics.errors)
    if graph is not None:
        verify(lower(graph))
