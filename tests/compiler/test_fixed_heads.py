"""The fixed heads of prompts: what an engine has cached that has served the workflow before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.compiler.cost.bound import bound
from teola.compiler.cost.estimate import estimate
from teola.compiler.cost.fixed_heads import fixed_characters
from teola.compiler.cost.profile import Entry, Profiles
from teola.compiler.cost.prompt_tokens import CHAT, PromptTokens
from teola.compiler.cost.shapes import Shapes
from teola.compiler.cost.sizes import parse_sizes
from teola.compiler.graph.expand import expand
from teola.compiler.graph.text_parser import parse_graph
from teola.compiler.source import Source

PROFILES = Profiles(
    (
        Entry(operation="embed", knee=2, base_ms=100, item_ms=10),
        Entry(operation="prefill", knee=1, base_ms=20, item_ms=0, token_ms=0.5),
        Entry(operation="decode", knee=16, base_ms=20, item_ms=2),
    ),
    "test",
)

HEAD = "Answer the question below in one sentence, and say nothing else. Question: "


def graph_of(messages, engine="paged", more=""):
    return parse_graph(
        Source(
            "g.pgraph",
            f"""\
graph g
engine paged = {{"kind": "llm", "backend": "fake", "kv_page_tokens": 8}}
engine blocks = {{"kind": "llm", "backend": "fake", "block_size": 8}}
engine stand_in = {{"kind": "llm", "backend": "simulated", "stands_for": {{"kv_page_tokens": 8}}}}
engine plain = {{"kind": "llm", "backend": "fake"}}
engine emb = {{"kind": "embedder", "backend": "fake"}}
input q: text
input texts: list<text>
input talk: list<message>
%e.embed = embed texts=%inputs:texts {{engine = emb}} @e
{more}
%c.prefill = prefill q=%inputs:q talk=%inputs:talk n=3 x=%e.embed:embeddings \
{{engine = {engine}, messages = [{messages}]}} @c
%c.decode = decode state=%c.prefill:state {{engine = {engine}}} @c
""",
        )
    )


def user(template):
    return f'{{"role": "user", "template": "{template}"}}'


def fixed(*messages):
    graph = graph_of(", ".join(messages))
    return fixed_characters(graph.by_id["c.prefill"], Shapes(graph))


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([user("Say {{ q }}.")], len("Say ")),
        ([user("{% if q %}Say {{ q }}.{% endif %}")], len("Say ")),
        ([user("{{ q }} is said.")], 0),
        ([user("Say {{ n }} words: {{ q }}")], len("Say 3 words: ")),
        ([user("One."), user("Two {{ q }}.")], len("One.Two ")),
        ([user("One."), '{"splice": "talk"}', user("Two.")], len("One.")),
        (['{"splice": "talk"}', user("Two.")], None),
        ([user("Always this.")], len("Always this.")),
        ([user("{% for one in x %}{{ one.no.such }}{% endfor %}")], 0),
    ],
)
def test_the_text_before_the_first_value_is_fixed(messages, expected):
    """Through conditions, constants and several messages; a conversation may begin with anything,
    and a template that wants what nobody has tells nothing."""
    assert fixed(*messages) == expected


@pytest.mark.parametrize("engine", ["paged", "blocks", "stand_in"])
def test_whole_pages_of_it_are_cached(engine):
    """On engines whose settings say how long their pages are, be it of what they stand for."""
    graph = graph_of(user(HEAD + "{{ q }}"), engine)
    tokens = PromptTokens(Shapes(graph)).cached(graph.by_id["c.prefill"])
    assert tokens == (CHAT + len(HEAD) // 4) // 8 * 8 > 0


def test_nothing_is_cached_where_no_settings_speak_of_pages():
    graph = graph_of(user(HEAD + "{{ q }}"), "plain")
    assert PromptTokens(Shapes(graph)).cached(graph.by_id["c.prefill"]) == 0


@given(st.integers(0, 200))
def test_a_prompt_is_never_cached_to_its_end(tokens):
    """The last token of a prompt is computed in any case: it gives the answer's first."""
    graph = graph_of(user(HEAD))
    shapes = Shapes(graph, parse_sizes([f"c.prefill={tokens}"], graph))
    cached = PromptTokens(shapes).cached(graph.by_id["c.prefill"])
    assert cached % 8 == 0
    assert cached < max(1, tokens)


def test_what_is_cached_is_not_prefilled():
    """Neither in the estimate nor in the bound."""
    sizes = ["texts=1", "c.prefill=100", "c.decode=1"]
    totals = {}
    for engine in ("paged", "plain"):
        graph = graph_of(user(HEAD + "{{ q }}"), engine)
        known = parse_sizes(sizes, graph)
        egraph = expand(graph, known)
        totals[engine] = estimate(egraph, PROFILES).total_ms
        assert bound(graph, known, PROFILES).total_ms == totals[engine]
        if engine == "paged":
            cached = egraph.by_id["c.prefill"].cached
    assert cached > 0
    assert totals["plain"] - totals["paged"] == cached * 0.5


@pytest.mark.parametrize(("least", "warm_ups"), [(1, 1), (112, 1), (113, 0)])
def test_a_warm_up_gains_only_what_no_query_left(least, warm_ups):
    """Its tokens beyond those decide, too, whether it is worth its request."""
    hint = (
        "%c.partial_prefill = partial_prefill q=%inputs:q {engine = paged, "
        f'hint = "c.prefill", min_new_tokens = {least}}} @c'
    )
    graph = graph_of(user(HEAD + "{{ q }} {{ x }}"), more=hint)
    sizes = parse_sizes(["texts=1", "q=32", "c.prefill=200", "c.decode=1"], graph)
    egraph = expand(graph, sizes)
    hints = [task for task in egraph.tasks if task.form == "hint"]
    assert len(hints) == warm_ups
    call, found = egraph.by_id["c.prefill"], estimate(egraph, PROFILES)
    left = call.tokens - (hints[0].tokens if hints else call.cached)
    assert found.total_ms == 110 + 20 + left * 0.5
    if hints:
        timing = found.timings[hints[0].id]
        assert timing.end_ms - timing.start_ms == 20 + (hints[0].tokens - call.cached) * 0.5
    assert bound(graph, sizes, PROFILES).total_ms <= found.total_ms
