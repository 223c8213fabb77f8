"""What a run gives."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from teola.compiler.explain.explanation import RunFact
    from teola.compiler.plan import Plan


NOTHING: Mapping[str, int] = MappingProxyType({})


class TimelineEntry(NamedTuple):
    """One task: times are seconds after the query's start; ``queued_s`` is when its inputs were
    there. ``path`` holds the region indices, ``items`` the number of items; ``prompt_tokens`` and
    ``completion_tokens`` are those of an LLM call or a warm-up. ``emitted``: the items of each list
    that it gave, by port; ``item_tokens``: the tokens of one item that it took, where somebody
    counts them (a mean; equal items of an engine count once); ``text_tokens``: those of each text
    of the workflow's inputs that a call's prompt has, by port."""

    primitive: str
    module: str
    path: tuple[str, ...]
    engine: str | None
    queued_s: float
    started_s: float
    ended_s: float
    items: int
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    emitted: Mapping[str, int] = NOTHING
    item_tokens: float | None = None
    text_tokens: Mapping[str, int] = NOTHING


@dataclass
class Usage:
    """What the LLM calls of one query took; calls shared with other queries count here too.
    ``warm_ups``: prompts whose beginning was computed before they were complete."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    warm_ups: int = 0


@dataclass(frozen=True)
class RunResult(Mapping[str, Any]):
    """The outputs by name, in the workflow's order; the first is the main one.

    ``truncated`` names the modules whose text was cut off by ``max_tokens``; ``warnings`` tells
    what of the inputs was left out or is empty; ``plan`` is what ran.
    """

    outputs: Mapping[str, Any]
    run_id: str
    timeline: tuple[TimelineEntry, ...] = ()
    usage: Usage = field(default_factory=Usage)
    truncated: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    plan: Plan | None = field(default=None, repr=False, compare=False)

    def __getitem__(self, name: str) -> Any:
        return self.outputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)

    def predicted(self, profile: Path | None = None) -> RunFact:
        """The prediction for the sizes of this run, beside what was measured: in total, for each
        module and each primitive. Costs come from ``profile`` (see ``teola profile``) and the
        shipped ones. It is made now: a run that nobody asks costs nothing.

        Raises:
            ValueError: the result does not know its plan.
            CompileError: the profile cannot be used, or the sizes are too large to predict.
        """
        from teola.compiler.cost.profile import load_profiles
        from teola.compiler.explain.prediction import predict
        from teola.compiler.explain.run_file import finished_run

        if self.plan is None:
            raise ValueError("a prediction needs the plan that ran: this result has none")
        graph = self.plan.graph
        measured = finished_run(self.to_json(), graph)
        return measured.beside(predict(graph, measured.sizes, load_profiles(profile)))

    def to_json(self) -> dict[str, Any]:
        """One JSON object: outputs, run_id, plan, timeline, usage, truncated, warnings."""
        return {
            "outputs": {name: plain(value) for name, value in self.outputs.items()},
            "run_id": self.run_id,
            "plan": self.plan and self.plan.identity(),
            "timeline": [plain(entry._asdict()) for entry in self.timeline],
            "usage": asdict(self.usage),
            "truncated": list(self.truncated),
            "warnings": list(self.warnings),
        }


def plain(value: Any) -> Any:
    """A value as JSON data: arrays become lists, collection handles their description."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "describe"):
        return value.describe()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    json.dumps(value)
    return value
