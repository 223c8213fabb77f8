"""An explanation, as data: what is printed, and what ``to_json`` gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from teola.compiler.graph.changes import Changes

DECIMALS = 3
"""Digits of milliseconds, and of shares, in JSON."""

Origin = Literal["measured", "given", "fixed", "derived", "assumed"]
"""Where a size comes from.

measured: a run; given: ``--assume``; fixed: the workflow says so; derived: it follows from other
sizes; assumed: nobody said it.
"""


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that a pass did: a sentence, and the rows of a table that belongs to it."""

    text: str
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Moment:
    """When the whole answer and its first token are there, in milliseconds."""

    total_ms: float
    first_token_ms: float | None


@dataclass(frozen=True, slots=True)
class PassStory:
    """One pass: what it is for, what it did (nothing: why not), and the prediction before and after
    it."""

    name: str
    about: str
    options: Mapping[str, int]
    changed: bool
    did: tuple[Deed, ...]
    reason: str | None
    before: Moment
    after: Moment
    changes: Changes

    @property
    def gain_ms(self) -> float:
        """How much sooner the answer is there."""
        return self.before.total_ms - self.after.total_ms

    @property
    def first_token_gain_ms(self) -> float | None:
        """How much sooner its first token is there."""
        before, after = self.before.first_token_ms, self.after.first_token_ms
        return before - after if before is not None and after is not None else None


@dataclass(frozen=True, slots=True)
class Step:
    """A primitive on the critical path before or after the passes (None: not on it), and why it
    begins when it does (after the passes)."""

    primitive: str
    module: str
    engine: str | None
    before_ms: float | None
    after_ms: float | None
    why: str


@dataclass(frozen=True, slots=True)
class SizeFact:
    """A size that the prediction counts with: ``items`` of a list, ``tokens`` of a text or of each
    item."""

    name: str
    items: int | None
    tokens: int | None
    origin: Origin


@dataclass(frozen=True, slots=True)
class CostFacts:
    """The operations (``decode on llm``) that the prediction counts, by where their costs come
    from: a profile that was given, one that is shipped, rough figures, or nowhere (free)."""

    given: tuple[str, ...]
    shipped: tuple[str, ...]
    rough: tuple[str, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BoundFact:
    """What no schedule of the optimised graph can beat, and what makes it: a path (``engine`` is
    None), or an engine's work, divided among ``replicas``, with the shortest way to it and from it.

    ``share`` is the share of the possible gain, ``(T_chain - T) / (T_chain - T_bound)``; None where
    nothing can be gained.
    """

    chain_ms: float
    predicted_ms: float
    bound_ms: float
    path_ms: float
    engine: str | None
    head_ms: float
    work_ms: float
    tail_ms: float
    replicas: int
    share: float | None


@dataclass(frozen=True, slots=True)
class Compared:
    """Predicted beside measured, in milliseconds; ``error`` is the share of what was measured."""

    predicted_ms: float
    measured_ms: float

    @property
    def error(self) -> float | None:
        """0.1: ten percent too long; None where nothing was measured."""
        return self.predicted_ms / self.measured_ms - 1 if self.measured_ms else None


@dataclass(frozen=True, slots=True)
class RunFact:
    """A finished run beside its prediction: in total, and after how long each module, and each
    primitive, has ended."""

    total: Compared
    modules: Mapping[str, Compared]
    primitives: Mapping[str, Compared]

    def to_json(self) -> dict[str, Any]:
        """One JSON object with every field, and the errors; milliseconds and shares rounded."""
        plain = asdict(self)
        plain["total"]["error"] = self.total.error
        for name, one in self.modules.items():
            plain["modules"][name]["error"] = one.error
        rounded: dict[str, Any] = _rounded(plain)
        return rounded


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that ``teola explain`` knows of a compilation; ``replicas`` counts those of the engines
    that have several, ``cached`` the tokens with which a call's prompt always begins, and which
    count as being in its engine's cache since an earlier query."""

    workflow: str
    passes: tuple[PassStory, ...]
    before: Moment
    after: Moment
    path: tuple[Step, ...]
    sizes: tuple[SizeFact, ...]
    costs: CostFacts
    replicas: Mapping[str, int]
    cached: Mapping[str, int]
    bound: BoundFact | None = None
    run: RunFact | None = None

    def to_json(self) -> dict[str, Any]:
        """One JSON object with every field; milliseconds and shares rounded."""
        plain = asdict(self)
        for story, told in zip(self.passes, plain["passes"], strict=True):
            told["gain_ms"] = story.gain_ms
            told["first_token_gain_ms"] = story.first_token_gain_ms
        if self.run is not None:
            plain["run"] = self.run.to_json()
        rounded: dict[str, Any] = _rounded(plain)
        return rounded


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DECIMALS) + 0.0  # no negative zero
    if isinstance(value, Mapping):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_rounded(one) for one in value]
    return value
