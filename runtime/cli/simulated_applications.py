"""What ``teola simulate`` is told of its applications."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from teola.compiler.errors import CompileError
from teola.runtime.cli.ending import CommandError
from teola.runtime.cli.simulate_options import QUERIES

if TYPE_CHECKING:
    from teola.compiler.cost.sizes import Sizes
    from teola.compiler.plan import Plan


def names_of(files: Sequence[str]) -> list[str]:
    """What the applications go by: the names of their files, each another."""
    from teola.runtime.simulation.told_apart import unique

    return unique([Path(file).name.partition(".")[0] or file for file in files])


class Words:
    """The values of a repeatable option: those ``for_all`` applications, and the ``own`` ones of
    each, which began with its name and a colon."""

    def __init__(self, words: Sequence[str], names: Sequence[str]) -> None:
        self.for_all: list[str] = []
        self.own: dict[str, list[str]] = {name: [] for name in names}
        for word in words:
            name, colon, rest = word.partition(":")
            if colon and name in self.own:
                self.own[name].append(rest)
            else:
                self.for_all.append(word)

    def of(self, name: str) -> list[str]:
        """An application's, its own last."""
        return [*self.for_all, *self.own[name]]

    def dealt(self, fits: Callable[[str, str], bool]) -> dict[str, list[str]]:
        """As ``of``, but what is for all only where it ``fits`` (an application, a value); what
        fits nowhere goes to all, to be refused."""
        found: dict[str, list[str]] = {name: [] for name in self.own}
        for word in self.for_all:
            fitting = [name for name in found if fits(name, word)]
            for name in fitting or found:
                found[name].append(word)
        return {name: [*words, *self.own[name]] for name, words in found.items()}


def read_sizes(assume: Sequence[str], plans: Mapping[str, Plan]) -> dict[str, Sizes]:
    """The sizes of each application; one that is for all must be a size of one at least.

    Raises:
        CompileError: a size names nothing.
    """
    from teola.compiler.cost.sizes import parse_sizes

    def fits(name: str, word: str) -> bool:
        try:
            parse_sizes([word], plans[name].graph)
        except CompileError:
            return False
        return True

    dealt = Words(assume, list(plans)).dealt(fits)
    return {name: parse_sizes(dealt[name], plan.graph) for name, plan in plans.items()}


def read_same(same: Sequence[str], plans: Mapping[str, Plan]) -> dict[str, frozenset[str]]:
    """The inputs of each application that all queries have alike."""

    def fits(name: str, word: str) -> bool:
        return any(port.name == word for port in plans[name].graph.inputs)

    dealt = Words(same, list(plans)).dealt(fits)
    return {name: frozenset(words) for name, words in dealt.items()}


def read_arrivals(
    rates: Sequence[str],
    queries: int | None,
    traces: Sequence[str],
    seed: int,
    names: Sequence[str],
) -> dict[str, tuple[float, ...]]:
    """When the queries of each application come.

    Raises:
        CommandError: not exactly one of rate and trace is given, or a rate is no number.
        InputError: see ``poisson`` and ``read_trace``.
    """
    from teola.runtime.simulation import poisson_together, read_trace

    if queries is not None and not rates:
        raise CommandError("--queries goes with --rate: a trace has as many as it has lines")
    found: dict[str, tuple[float, ...]] = {}
    at_random: dict[str, float] = {}
    for name in names:
        rate, trace = Words(rates, names).of(name), Words(traces, names).of(name)
        if bool(rate) == bool(trace):
            of = f" of {name}" if len(names) > 1 else ""
            raise CommandError(f"when do queries{of} come? Give either --rate N or --trace FILE")
        if trace:
            found[name] = read_trace(Path(trace[-1]))
        else:
            at_random[name] = _number(rate[-1], names)
    count = QUERIES if queries is None else queries
    drawn = poisson_together(list(at_random.values()), count, seed) if at_random else []
    for name, arrivals in zip(at_random, drawn, strict=True):
        if not arrivals:
            raise CommandError(
                f"none of the first {count} queries is one of {name}: ask for more --queries"
            )
        found[name] = arrivals
    return found


def read_replicas(words: Sequence[str]) -> dict[str, int]:
    """Engine -> how many.

    Raises:
        CommandError: it cannot be read.
    """
    found: dict[str, int] = {}
    for word in words:
        name, _, count = word.rpartition("=")
        if not name or not (count.isascii() and count.isdigit()) or int(count) < 1:
            raise CommandError(f"cannot read --replicas {word}: write ENGINE=N, as in llm=4")
        found[name] = int(count)
    return found


def _number(text: str, names: Sequence[str]) -> float:
    try:
        return float(text)
    except ValueError:
        of = f"; the applications are {', '.join(names)}" if ":" in text else ""
        raise CommandError(f"--rate {text}: this is no number of queries a second{of}") from None
