"""DOT, the language of Graphviz."""

from __future__ import annotations

import json
from collections.abc import Iterator

from teola.compiler.draw.view import Box, Frame, Line, View

COLOURS = {
    "llm": "#f6c28b",
    "embedder": "#a9d3f5",
    "reranker": "#c9b8f0",
    "store": "#b5e0b0",
    "cpu": "#ececec",
    "input": "#ffffff",
    "output": "#fff3b0",
}
"""Engine kind -> fill colour."""

NAMES = {"cpu": "no engine (CPU)"}
STYLES = {
    "data": 'color="#444444"',
    "stream": 'color="#1f6feb", penwidth=2.2, arrowhead=vee',
    "order": 'color="#b0b0b0", style=dashed, constraint=true',
    "effect": 'color="#c0392b", style=dashed',
}
MEANINGS = {
    "data": "data, whole",
    "stream": "data, item by item",
    "order": "order of the file only",
    "effect": "effect",
}


def draw_dot(view: View) -> str:
    """The view as a DOT file, with a legend of what it uses."""
    return "\n".join(_dot(view)) + "\n"


def _dot(view: View) -> Iterator[str]:
    yield f"digraph {_quote(view.title)} {{"
    yield f'  label={_quote(view.title)}; labelloc=t; fontname="Helvetica"; fontsize=18;'
    yield '  rankdir=LR; nodesep=0.25; ranksep=0.45; compound=true; bgcolor="white";'
    yield '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11];'
    yield '  edge [fontname="Helvetica", fontsize=9, fontcolor="#777777", arrowsize=0.7];'
    yield from _boxes(view, "", "  ")
    for line in view.lines:
        yield "  " + _line(line)
    yield from _legend(view)
    yield "}"


def _boxes(view: View, frame: str, indent: str) -> Iterator[str]:
    for box in view.boxes:
        if box.frame == frame:
            yield indent + _box(box)
    for inner in view.frames:
        if inner.parent == frame:
            yield from _frame(view, inner, indent)


def _frame(view: View, frame: Frame, indent: str) -> Iterator[str]:
    region = frame.id.startswith("region:")
    style = 'style=rounded; color="#bbbbbb"'
    if region:
        style = 'style="dashed,rounded"; color="#8a63d2"'
    yield f"{indent}subgraph {_quote('cluster_' + frame.id)} {{"
    yield f"{indent}  label={_quote(frame.label)}; fontsize=12; labeljust=l; {style};"
    yield from _boxes(view, frame.id, indent + "  ")
    yield f"{indent}}}"


def _box(box: Box) -> str:
    shape = ", shape=ellipse" if box.kind in ("input", "output") else ""
    return (
        f'{_quote(box.id)} [label={_quote(box.label)}, fillcolor="{COLOURS.get(box.kind, "#fff")}"'
        f"{shape}];"
    )


def _line(line: Line) -> str:
    label = f", label={_quote(line.label)}" if line.label else ""
    return f"{_quote(line.source)} -> {_quote(line.target)} [{STYLES[line.style]}{label}];"


def _legend(view: View) -> Iterator[str]:
    kinds = dict.fromkeys(box.kind for box in view.boxes)
    rows = "".join(
        f'<tr><td bgcolor="{COLOURS.get(kind, "#fff")}" width="22"></td>'
        f'<td align="left">{NAMES.get(kind, kind)}</td></tr>'
        for kind in kinds
    )
    marks = {"data": "#444444", "stream": "#1f6feb", "order": "#b0b0b0", "effect": "#c0392b"}
    for style in dict.fromkeys(line.style for line in view.lines):
        arrow = "- &gt;" if style in ("order", "effect") else "&#8594;"
        rows += (
            f'<tr><td><font color="{marks[style]}">{arrow}</font></td>'
            f'<td align="left">{MEANINGS[style]}</td></tr>'
        )
    table = f'<<table border="0" cellborder="0" cellspacing="3">{rows}</table>>'
    yield f"  legend [shape=plaintext, style=solid, fontsize=10, label={table}];"


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
