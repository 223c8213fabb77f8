"""DOT, the language of Graphviz."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from html import escape

from teola.compiler.draw.view import (
    MARKS,
    MEANINGS,
    Box,
    Engine,
    Frame,
    Line,
    Mark,
    Style,
    View,
    marks_of,
)

COLOURS = {
    "llm": "#f6c28b",
    "embedder": "#a9d3f5",
    "reranker": "#c9b8f0",
    "store": "#b5e0b0",
}
"""Engine kind -> fill colour."""
NO_ENGINE, OTHER_ENGINE, INPUT, OUTPUT = "#ececec", "#f3b5c0", "#ffffff", "#fff3b0"

LINES: dict[Style, tuple[str, str]] = {
    "data": ("#444444", ""),
    "stream": ("#1f6feb:#ffffff:#1f6feb", "penwidth=1.6, arrowhead=vee"),
    "order": ("#b0b0b0", "style=dashed"),
    "effect": ("#a86400", "style=dashed"),
    "again": ("#8a63d2", "style=dashed, constraint=false"),
    "hint": ("#2a9d8f", "style=dashed, arrowhead=onormal"),
}
"""Style of a line -> its colour (a stream's is a double line), and what else tells it apart."""
MARKED: dict[Mark, str] = {"added": "#009e73", "changed": "#e08a00", "removed": "#1c2129"}
LIT = "#b8002e"
"""The colours of marks and of the critical path, to be told apart without red and green as well."""

FRAMES = {"module": "rounded", "region": '"dashed,rounded"'}
MOST_ACROSS = 12
"""Boxes of a picture that runs from left to right; a larger one runs downwards."""


def draw_dot(view: View) -> str:
    """The view as a DOT file, with a legend of what it uses."""
    return "\n".join(_dot(view)) + "\n"


def _dot(view: View) -> Iterator[str]:
    yield f"digraph {_quote(view.title)} {{"
    downwards = len(view.boxes) > MOST_ACROSS
    yield f'  rankdir={"TB" if downwards else "LR"}; nodesep=0.3; ranksep=0.3; bgcolor="white";'
    yield f'  fontname="Helvetica"; labelloc=t; label={_heading(view)};'
    yield '  node [shape=box, style="rounded,filled", color="#777777", fontname="Helvetica", '
    yield '        fontsize=12, height=0.4, margin="0.12,0.04"];'
    yield '  edge [fontname="Helvetica", fontsize=9, fontcolor="#666666", arrowsize=0.7];'
    several = {kind for kind, names in _names_by_kind(view).items() if len(names) > 1}
    yield from _boxes(view, "", "  ", several, downwards=downwards)
    titles = {box.id: box.title for box in view.boxes}
    notes = {box.id: box.note.split(", ") for box in view.boxes}
    entering = Counter(line.target for line in view.lines)
    for line in (_said_once(line, notes[line.target]) for line in view.lines):
        same = line.ports == (titles[line.source],)
        needless = same or entering[line.target] == 1 or line.style == "again"
        yield "  " + _line(line, () if needless else line.ports, "e" if downwards else "n")
    yield "}"


def _boxes(
    view: View, frame: str, indent: str, several: set[str], *, downwards: bool
) -> Iterator[str]:
    """Boxes and frames inside ``frame``; engines of a kind with ``several`` are named."""
    for box in view.boxes:
        if box.frame == frame:
            yield indent + _box(box, several)
    for inner in view.frames:
        if inner.parent == frame:
            colour = LINES["again"][0] if inner.kind == "region" else "#bbbbbb"
            yield f"{indent}subgraph {_quote('cluster_' + inner.id)} {{"
            label = _label(inner.title, inner.note, " ")
            above = '""' if downwards else label
            yield f"{indent}  label={above}; labeljust=l;"
            yield f'{indent}  fontsize=12; style={FRAMES[inner.kind]}; color="{colour}";'
            if downwards:
                yield from _title(view, inner, label, indent + "  ")
            yield from _boxes(view, inner.id, indent + "  ", several, downwards=downwards)
            yield f"{indent}}}"


def _title(view: View, frame: Frame, label: str, indent: str) -> Iterator[str]:
    """A frame's name as a node above what is in it: lines run around nodes, but across labels."""
    own = dict.fromkeys(box.id for box in view.boxes if box.frame == frame.id)
    entered = {line.target for line in view.lines if line.source in own and line.style != "again"}
    inner = [f"title:{one.id}" for one in view.frames if one.parent == frame.id]
    title = _quote(f"title:{frame.id}")
    yield f'{indent}{title} [shape=plaintext, style="", height=0.2, margin="0,0", label={label}];'
    for below in (*inner, *(box for box in own if box not in entered)):
        yield f"{indent}{title} -> {_quote(below)} [style=invis, weight=0];"


def _box(box: Box, several: set[str]) -> str:
    shape = "" if box.role == "work" else ", shape=ellipse"
    on = [f"on {engine.name}" for engine in box.engines if engine.kind in several]
    label = _label(box.title, ", ".join(filter(None, (box.note, *on))), "<br/>")
    return f"{_quote(box.id)} [label={label}, {_fill(box)}{shape}{_outline(box)}];"


def _outline(box: Box) -> str:
    """The mark of a box, or that it is on the critical path, as its outline."""
    if box.mark == "removed":
        return f', style="rounded,dashed", color="{MARKED[box.mark]}", fontcolor="#999999"'
    if box.mark:
        return f', penwidth=2.5, color="{MARKED[box.mark]}"'
    return f', penwidth=2.5, color="{LIT}"' if box.lit else ""


def _label(title: str, note: str, between: str) -> str:
    small = f'{between}<font point-size="9" color="#555555">{escape(note)}</font>' if note else ""
    return f"<{escape(title)}{small}>"


def _fill(box: Box) -> str:
    """One colour an engine kind: side by side where there are several."""
    if box.role != "work":
        return f'fillcolor="{INPUT if box.role == "input" else OUTPUT}"'
    colours = list(dict.fromkeys(map(_colour, box.engines))) or [NO_ENGINE]
    if len(colours) == 2:
        return f'fillcolor="{colours[0]};0.5:{colours[1]}"'
    stripes = ", style=striped" if len(colours) > 2 else ""
    return f'fillcolor="{":".join(colours)}"{stripes}'


def _colour(engine: Engine) -> str:
    return COLOURS.get(engine.kind, OTHER_ENGINE)


def _line(line: Line, ports: Sequence[str], side: str) -> str:
    """An arrow; one that leads back does so at the ``side``, clear of those that lead on."""
    colour, rest = LINES[line.style]
    at = f":{side}" if line.style == "again" else ""
    label = f", label={_quote(_words(line, ports))}" if ports or line.group else ""
    if line.mark == "removed":
        colour, rest, label = MARKED["removed"], "style=dashed, constraint=false", ""
    elif line.mark:
        colour = colour.replace(colour.partition(":")[0], MARKED[line.mark])
        rest += ", penwidth=2.5" if "penwidth" not in rest else ""
    elif line.lit:
        colour = colour.replace(colour.partition(":")[0], LIT)
    rest = rest.removeprefix(", ")
    looks = f'color="{colour}"{rest and f", {rest}"}{label}'
    return f"{_quote(line.source)}{at} -> {_quote(line.target)}{at} [{looks}];"


def _said_once(line: Line, notes: Sequence[str]) -> Line:
    """The line without its group where the box says that it takes so many at a time: fewer words
    beside arrows, which Graphviz puts across the names of frames."""
    return replace(line, group=None) if f"groups of {line.group}" in notes else line


def _words(line: Line, ports: Sequence[str]) -> str:
    """What a line carries, and in groups of how many items."""
    by = f"by {line.group}" if line.group else ""
    return " ".join(filter(None, (", ".join(ports), by)))


def _heading(view: View) -> str:
    """The title, and below it what the colours and lines mean."""
    title = f'<font point-size="18">{escape(view.title)}</font>'
    rows = [title, _row(_swatches(view)), _row((*_arrows(view), *_marks(view)))]
    cells = "".join(f"<tr><td>{row}</td></tr>" for row in rows if row)
    return f'<<table border="0" cellspacing="0">{cells}</table>>'


def _row(entries: Iterable[str]) -> str:
    cells = "".join(entries)
    return f'<table border="0" cellborder="0" cellspacing="4"><tr>{cells}</tr></table>' * bool(
        cells
    )


def _swatches(view: View) -> Iterator[str]:
    kinds = _names_by_kind(view)
    colours = {
        kind: (COLOURS.get(kind, OTHER_ENGINE), _meaning(kind, kinds[kind])) for kind in kinds
    }
    if any(box.role == "work" and not box.engines for box in view.boxes):
        colours["cpu"] = (NO_ENGINE, "no engine (CPU)")
    colours |= {"input": (INPUT, "input"), "output": (OUTPUT, "output")}
    for colour, meaning in colours.values():
        swatch = f'<td border="1" color="#777777" bgcolor="{colour}" width="18"></td>'
        yield f'{swatch}<td><font point-size="10">{escape(meaning)}  </font></td>'


def _names_by_kind(view: View) -> dict[str, list[str]]:
    """Engine kind -> the names of its engines, as they are met."""
    kinds: dict[str, dict[str, None]] = {}
    for box in view.boxes:
        for engine in box.engines:
            kinds.setdefault(engine.kind, {})[engine.name] = None
    return {kind: list(names) for kind, names in kinds.items()}


def _meaning(kind: str, names: list[str]) -> str:
    return kind if names == [kind] else f"{kind}: {', '.join(names)}"


def _arrows(view: View) -> Iterator[str]:
    """What the lines mean, where there are several sorts of them."""
    styles = dict.fromkeys(line.style for line in view.lines)
    for style in styles if len(styles) > 1 else ():
        colour, rest = LINES[style]
        arrow = "- -&gt;" if "dashed" in rest else "&#8658;" if ":" in colour else "&#8594;"
        colour = colour.partition(":")[0]
        meaning = f'<font point-size="10">{MEANINGS[style]}</font>'
        yield f'<td><font color="{colour}">{arrow}</font>  {meaning}</td>'


def _marks(view: View) -> Iterator[str]:
    """What marks mean, and which path is lit."""
    used = marks_of(view)
    meanings = [(MARKED[mark], meaning, mark) for mark, meaning in MARKS.items() if mark in used]
    if any(box.lit for box in view.boxes):
        meanings.append((LIT, "critical path", ""))
    for colour, meaning, mark in meanings:
        dashed = ' style="dashed"' if mark == "removed" else ""
        yield (
            f'<td border="2" color="{colour}" width="18"{dashed}></td>'
            f'<td><font point-size="10">{meaning}  </font></td>'
        )


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
