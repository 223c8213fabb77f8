"""An explanation on the terminal, or as JSON."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from teola.compiler.cost.sizes import parse_sizes
from teola.compiler.explain import Explanation, explain, read_run
from teola.compiler.explain.words import listed
from teola.compiler.graph.text import print_graph
from teola.runtime.cli.terminal import is_terminal, printable, write_now

if TYPE_CHECKING:
    from teola.compiler.api import Compilation
    from teola.compiler.explain.explanation import (
        BoundFact,
        CostFacts,
        Deed,
        PassStory,
        RunFact,
        SizeFact,
        Step,
    )

SECOND_MS = 1000
NOTICED = 0.0005
"""The share of the whole time below which a gain is called none."""
WIDTH, READING_WIDTH = 80, 100


def explained(
    compiled: Compilation, assume: Sequence[str], run: Path | None, *, with_bound: bool
) -> Explanation:
    """Explain a compilation with sizes that were typed, or measured by a run.

    Raises:
        CompileError: a size or the run's file cannot be used.
    """
    given = parse_sizes(assume, compiled.source)
    finished = read_run(run, compiled) if run is not None else None
    return explain(compiled, given, finished, with_bound=with_bound)


def to_json(found: Explanation, compiled: Compilation, *, until: str | None, every: bool) -> str:
    """The explanation as one object; ``graph`` is the text form after ``until``, ``graphs`` has
    it after ``every`` pass that changed something."""
    plain = found.to_json()
    if until is not None:
        plain["graph"] = print_graph(compiled.plan.graph)
    if every:
        plain["graphs"] = [
            {"after": step.by.name, "graph": print_graph(step.after)}
            for step in compiled.steps
            if step.after is not step.before
        ]
    return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"


def show(found: Explanation, file: str) -> None:
    """Write the explanation to standard output, as wide as its terminal, or 80 columns."""
    seen = is_terminal(sys.stdout)
    width = None if seen or "COLUMNS" in os.environ else WIDTH
    paper = Console(file=io.StringIO(), force_terminal=seen, width=width, highlight=False)
    paper.width = min(paper.width, READING_WIDTH)
    for part in _page(found, file):
        paper.print(part)
    written = paper.file
    if isinstance(written, io.StringIO):
        write_now("\n".join(line.rstrip() for line in written.getvalue().split("\n")))


def _page(found: Explanation, file: str) -> Iterator[RenderableType]:
    yield from _summary(found)
    yield from _passes(found.passes)
    yield from _path(found.path, found.replicas)
    if found.bound is not None:
        yield from _bound(found.bound, found.replicas)
    if found.run is not None:
        yield from _run(found.run)
    yield from _sizes(found.sizes, file)
    several = [_several(name, found.replicas) for name in found.replicas]
    yield from _costs(found.costs, several, found.cached, file)


def _summary(found: Explanation) -> Iterator[RenderableType]:
    yield Text(
        f"{found.workflow}: one query before and after the passes, as predicted", style="bold"
    )
    table = _table(("", ""), ("before", ">"), ("after", ">"), ("", ""))
    rows = [("whole answer", found.before.total_ms, found.after.total_ms)]
    if found.before.first_token_ms is not None and found.after.first_token_ms is not None:
        rows.append(("its first token", found.before.first_token_ms, found.after.first_token_ms))
    for name, before, after in rows:
        times = f" ({before / after:.2f}x)" if after > 0 else ""
        gain = _gain(before - after, before)
        table.add_row(name, _duration(before), _duration(after), Text.assemble(gain, times))
    yield table
    yield Text()


def _passes(passes: Sequence[PassStory]) -> Iterator[RenderableType]:
    yield Text("What each pass did", style="bold")
    if not passes:
        yield Padding(Text("No pass ran: modules run one after another, as written."), (0, 2))
    for number, story in enumerate(passes, 1):
        yield Text()
        yield _heading(number, story)
        yield _indented(Text(printable(story.about), style="dim"))
        for deed in story.did:
            yield from _deed(deed)
        if not story.changed:
            yield _indented(Text(f"Nothing to do. {story.reason or ''}".rstrip()))
        elif story.gain_ms < -NOTICED * story.before.total_ms:
            yield _indented(
                Text(
                    f"Predicted to lose with these sizes and costs: --disable {story.name} "
                    "leaves it out.",
                    style="yellow",
                )
            )
    yield Text()


def _heading(number: int, story: PassStory) -> RenderableType:
    line = Table.grid(expand=True)
    line.add_column()
    line.add_column(justify="right", no_wrap=True)
    gain: str | Text = ""
    if story.changed:
        whole, first = story.before.total_ms, story.first_token_gain_ms or 0.0
        gain = _gain(story.gain_ms, whole)
        if min(abs(first), abs(first - story.gain_ms)) > NOTICED * whole:
            gain = Text.assemble(gain, "; first token ", _gain(first, whole))
    line.add_row(Text(f"{number} {story.name}", style="bold"), gain)
    return line


def _deed(deed: Deed) -> Iterator[RenderableType]:
    yield _indented(Text(printable(deed.text)))
    if deed.rows:
        rows = Table.grid(padding=(0, 2))
        for row in deed.rows:
            rows.add_row(*(Text(printable(cell)) for cell in row))
        yield Padding(rows, (0, 0, 0, 6))


def _indented(text: Text) -> Padding:
    return Padding(text, (0, 0, 0, 2))


def _path(steps: Sequence[Step], replicas: Mapping[str, int]) -> Iterator[RenderableType]:
    yield Text("What the answer waits for (critical path, in ms)", style="bold")
    table = _table(("primitive", ""), ("engine", ""), ("before", ">"), ("after", ">"), ("why", ""))
    for step in steps:
        on_path = step.after_ms is not None
        table.add_row(
            Text(step.primitive, overflow="fold"),
            _several(step.engine, replicas) if step.engine else "–",
            _whole(step.before_ms),
            _whole(step.after_ms),
            Text(step.why),
            style="" if on_path else "dim",
        )
    yield table
    yield Text()


def _several(engine: str, replicas: Mapping[str, int]) -> str:
    """An engine, and how many there are of it where it is not alone."""
    return f"{engine} x{replicas[engine]}" if engine in replicas else engine


def _bound(found: BoundFact, replicas: Mapping[str, int]) -> Iterator[RenderableType]:
    yield Text("How far it can go", style="bold")
    lines = [f"No schedule of these primitives takes less than {_duration(found.bound_ms)}: "]
    if found.engine is None:
        lines.append(
            "the longest path, pipelined perfectly wherever all of a list need not be waited for."
        )
    else:
        lines.append(
            f"{_duration(found.head_ms)} until the engine {found.engine} can begin, "
            f"{_duration(found.work_ms)} of work {_where(found, replicas)}, "
            f"{_duration(found.tail_ms)} after its last work."
        )
    yield _indented(Text("".join(lines)))
    if found.share is None:
        yield _indented(Text("The chain as written is no slower than that."))
    else:
        saved, possible = found.chain_ms - found.predicted_ms, found.chain_ms - found.bound_ms
        yield _indented(
            Text(
                f"The passes gain {_duration(saved)} of the {_duration(possible)} that can be "
                f"gained: {found.share:.0%}."
            )
        )
    yield Text()


def _where(found: BoundFact, replicas: Mapping[str, int]) -> str:
    """Who has to do the work that makes the bound."""
    if found.replicas > 1:
        return f"divided among its {found.replicas} replicas"
    return "on the replica of one collection" if found.engine in replicas else "on it"


def _run(found: RunFact) -> Iterator[RenderableType]:
    yield Text("The run, beside its prediction: ms until a module has ended", style="bold")
    table = _table(("module", ""), ("predicted", ">"), ("measured", ">"), ("error", ">"))
    for name, one in (*found.modules.items(), ("in total", found.total)):
        error = "" if one.error is None else f"{100 * one.error:+.0f} %"
        table.add_row(name, _whole(one.predicted_ms), _whole(one.measured_ms), error)
    yield table
    yield Text()


def _sizes(sizes: Sequence[SizeFact], file: str) -> Iterator[RenderableType]:
    yield Text("Sizes behind the prediction", style="bold")
    table = _table(("name", ""), ("items", ">"), ("tokens", ">"), ("from", ""))
    for one in sizes:
        items = "" if one.items is None else f"{one.items:,}"
        tokens = "" if one.tokens is None else f"{one.tokens:,}"
        table.add_row(Text(one.name, overflow="fold"), items, tokens, one.origin)
    yield table
    assumed = [one for one in sizes if one.origin == "assumed"]
    if assumed:
        first = next((one for one in assumed if one.items is not None), assumed[0])
        yield _indented(
            Text(
                "Tokens of a list are those of one item. Nobody said the assumed sizes: give "
                f"them, as with --assume {first.name}={first.items or first.tokens}, or take all "
                f"from a run: teola run {file} … --json > run.json, then --run run.json."
            )
        )
    yield Text()


def _costs(
    costs: CostFacts, several: Sequence[str], cached: Mapping[str, int], file: str
) -> Iterator[RenderableType]:
    yield Text("Costs behind the prediction", style="bold")
    profile = f"teola profile {file} -o profile.json"
    if several:
        yield _indented(Text(f"Engines with replicas: {', '.join(several)}."))
    if cached:
        heads = listed(f"{name} ({tokens} tokens)" for name, tokens in cached.items())
        yield _indented(Text(f"Cached since an earlier query, as these texts are fixed: {heads}."))
    for names, what in (
        (costs.given, "From the profile that was given: "),
        (costs.shipped, "Measured, but on the machine of the shipped profile: "),
        (costs.rough, "Rough figures, good for comparing only: "),
        (costs.unknown, "Unknown, counted as free: "),
    ):
        if names:
            yield _indented(Text(f"{what}{', '.join(names)}."))
    if costs.shipped or costs.rough or costs.unknown:
        yield _indented(
            Text(f"For the figures of your machine: {profile}, then --profile profile.json.")
        )


def _table(*columns: tuple[str, str]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name, side in columns:
        if side:
            table.add_column(name, justify="right", no_wrap=True)
        else:
            table.add_column(name, overflow="fold")
    return table


def _gain(ms: float, whole_ms: float) -> Text:
    if abs(ms) <= NOTICED * whole_ms:
        return Text("no gain to speak of", style="dim")
    word, style = ("sooner", "green") if ms > 0 else ("later", "red")
    return Text(f"{_duration(abs(ms))} {word}", style=style)


def _whole(ms: float | None) -> str:
    if ms is None:
        return "–"
    return f"{ms:,.0f}" if ms >= 10 else f"{ms:.1f}"


def _duration(ms: float) -> str:
    return f"{_short(ms)} ms" if abs(ms) < SECOND_MS else f"{_short(ms / SECOND_MS)} s"


def _short(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
