"""Files with a graph in text form: every broken rule stands at the line that breaks it."""

import pytest

from teola.compiler.api import compile_workflow
from teola.compiler.errors import CompileError

HEAD = """\
graph g
engine llm = {"kind": "llm", "backend": "fake"}
input question: text
%a.wrap = wrap value=%inputs:question @a
"""


def problems(tmp_path, text):
    """What is wrong with the graph's lines after the head: place, message and help of each."""
    file = tmp_path / "g.pgraph"
    file.write_text(HEAD + text)
    with pytest.raises(CompileError) as caught:
        compile_workflow(file)
    assert f"{file}:" in str(caught.value)
    found = []
    for item in caught.value.diagnostics:
        line = item.span.source.line(item.span.line)
        under = line[item.span.column - 1 : item.span.end_column - 1]
        found.append((item.span.line, under, item.help))
        assert item.code == "graph-rule"
    return found


CALL = (
    "%c.prefill = prefill {engine = llm, messages = [], sampling = {}}\n"
    "%c.decode = decode state=%c.prefill:state {engine = llm}\n"
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("%b = warp value=1", [(5, "warp", "did you mean wrap?")]),
        ("%b = wrap value=%a.warp:items", [(5, "%a.warp:items", "did you mean %a.wrap:items?")]),
        ("%b = wrap value=%a.wrap:item", [(5, "%a.wrap:item", "did you mean %a.wrap:items?")]),
        ("%b = wrap value=%inputs:questoin",
         [(5, "%inputs:questoin", "did you mean %inputs:question?")]),
        ("%b = wrap value=%zzz:items", [(5, "%zzz:items", None)]),
        ("%b = wrap value=1 valeu=2", [(5, "valeu", "did you mean value?")]),
        ("%b = wrap", [(5, "%b", None)]),
        (CALL.replace("engine = llm, m", "engine = lm, m"),
         [(5, "lm", "did you mean llm?"), (6, "%c.prefill", None)]),
        ("# a comment\n\n%b = wrap value=1 {group = 2}", [(7, "%b", None)]),
        ("%r = each items=[] -> x=%r:item [\n  %b = wrap vlaue=1\n]",
         [(6, "%b", None), (6, "vlaue", "did you mean value?")]),
        ("output o: text = %a.wrap:itms", [(5, "%a.wrap:itms", "did you mean %a.wrap:items?")]),
        ("order %a.wrap -> %b.wrap", [(5, "%b.wrap", "did you mean %a.wrap?")]),
        ("%b = wrap value=%c:items\n%c = wrap value=%b:items", [(5, "%b", None)]),
    ],
)  # fmt: skip
def test_broken_rules_have_a_place(tmp_path, text, found):
    """Line, the word at fault, and the nearest that there is."""
    assert problems(tmp_path, text) == found


def test_all_of_them_are_reported_together(tmp_path):
    """In file order."""
    lines = [line for line, *_ in problems(tmp_path, "%b = x\n%c = y\noutput o: text = %d:e")]
    assert lines == [5, 6, 7]
