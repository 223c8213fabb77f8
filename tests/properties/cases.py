"""A case: a workflow, the passes and profile that it is compiled with, and how its run goes."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import yaml
from hypothesis import strategies as st

from teola.compiler.passes.pipeline import PASSES
from tests.generators import (
    COLLECTIONS,
    GIVEN,
    MODES,
    SIZES,
    WORDS,
    WorkflowDraft,
    latencies,
    sentences,
)
from tests.properties.faults import RETRIES, Faults, faults

Draw = Callable[[Any], Any]

COSTLY = ("chunk", "embed", "ingest", "search", "score", "prefill", "decode")
"""What a profile speaks of."""

OF_TEXT = ("{{ NAME }} ", "{% set x = NAME %}{{ x }}: ")
OF_LIST = (
    "{{ NAME | length }} of {{ NAME | join(' and ') }}. ",
    "{% for one in NAME %}<{{ one }}>{% endfor %} ",
)
OF_ITEMS = (
    "{{ NAME | tojson }} ",
    "{% for one in NAME %}{{ one.name }}; {% endfor %}{{ NAME | length }} ",
)
OF_ANY = (
    "{% if NAME %}Given{% endif %} ",
    "Say it in the words of a lake that knows no river. ",
)
"""What a prompt says of its variable NAME; the last says nothing of any."""


@dataclass(frozen=True)
class Schedule:
    """When things happen: settings of the engines, their faults, who runs beside the query.

    ``starts`` are seconds that each kind of engine takes to start; a query beside it with the same
    inputs is cancelled ``cancelled_after`` seconds; ``neighbour`` is the question of another; at
    most so many ``tokens`` of a call are told at a time.
    """

    engines: Mapping[str, Mapping[str, float]]
    starts: Mapping[str, float]
    faults: Faults
    cancelled_after: float | None
    neighbour: str | None
    share: bool
    tokens: int


@dataclass(frozen=True)
class Case:
    """Everything that decides what happens; ``passes`` is a pipeline as text."""

    workflow: Mapping[str, Any]
    inputs: Mapping[str, Any]
    passes: str
    knees: Mapping[str, int]
    schedule: Schedule

    def text(self, *, scheduled: bool, suffix: str = "") -> str:
        """The workflow's file, with its engines as the schedule has them or as quick as can be;
        its named collections with ``suffix``."""
        file = copy.deepcopy(dict(self.workflow))
        for kind in file["engines"]:
            if scheduled:
                file["engines"][kind] |= self.schedule.engines[kind]
        for module in file["modules"].values():
            if "collection" in module.get("with", {}):
                module["with"]["collection"] += suffix
        return yaml.safe_dump(file, sort_keys=False, width=10_000)

    @property
    def apart(self) -> bool:
        """Whether single items go on one by one, even those that are there together: in two of
        three cases."""
        return crc32(repr((self.inputs, self.schedule)).encode()) % 3 > 0

    def profile(self) -> str:
        """The profile's file."""
        entries = [
            {"operation": name, "knee": knee, "base_ms": 5, "item_ms": 1}
            for name, knee in self.knees.items()
        ]
        return json.dumps({"schema": "teola.profile/1", "entries": entries})


class Draft(WorkflowDraft):
    """A workflow with the shapes that rewrites have to take care of."""

    def generate(self) -> None:
        """One call over some of what there is, in any order."""
        inputs = {"a": self.pick("text") or "inputs.question"}
        if self.draw(st.booleans()):
            inputs["b"] = self.pick("texts") or "inputs.names"
        if (passages := self.pick("passages", "chunks")) is not None and self.draw(st.booleans()):
            inputs["c"] = passages
        if (items := self.pick("items")) is not None:
            inputs["d"] = items
        kinds = {name: {"a": OF_TEXT, "d": OF_ITEMS}.get(name, OF_LIST) for name in inputs}
        first = "".join(
            self.draw(st.sampled_from(kinds[name] + OF_ANY)).replace("NAME", name)
            for name in self.draw(st.permutations(sorted(inputs)))
        )
        told = [{"role": "system", "content": first}, {"role": "user", "content": "So {{ a }}"}]
        if self.draw(st.booleans()):
            self.call(inputs, {"messages": told})
        else:
            self.call(inputs, {"prompt": first + told[1]["content"]})

    def call(self, inputs: dict[str, str], prompt: dict[str, Any]) -> None:
        """A call of any shape; its inputs are those that the prompt speaks of."""
        used = set(re.findall(r"\b[abcd]\b", str(prompt)))
        inputs = {name: ref for name, ref in inputs.items() if name in used}
        self.shaped(inputs, {**prompt, **self.sampling()})

    def sampling(self) -> dict[str, Any]:
        temperature = {"temperature": 0.5} if self.draw(st.integers(0, 5)) == 0 else {}
        tokens = self.draw(st.sampled_from([12, 40, 80]))
        return {"sampling": {"max_tokens": tokens, **temperature}}

    def between_writers(self) -> None:
        """A named collection that is written, read, and written again with other chunks of the same
        documents, often by the slower writer first and read in the same way."""
        name, top_k = (
            self.draw(st.sampled_from(COLLECTIONS)),
            self.draw(st.sampled_from([2, 50])),
        )
        self.modes.setdefault(name, self.draw(st.sampled_from(MODES)))
        reading = {"collection": name, "top_k": top_k, **self.way(name)}
        asked = {"query": self.pick("text") or "inputs.question"}
        slow = [id_ for id_, module in self.modules.items() if "sampling" in module.get("with", {})]
        for size in self.draw(st.permutations(SIZES))[:2]:
            self.chunk(size)
            writer = self.write(self.ports["chunks"][-1], name)
            if slow and self.draw(st.booleans()):
                self.modules[writer]["needs"] = [slow.pop()]
            if self.draw(st.integers(0, 3)):
                self.add("search", asked, dict(reading), passages="passages")
                asked = self.draw(st.sampled_from([asked, asked, {"query": "inputs.question"}]))

    def both_ways(self) -> None:
        """One list that one module takes item by item and another one whole."""
        self.expand_query()
        queries = self.ports["texts"][-1]
        self.search()
        if (collection := self.pick("collection")) is None:
            self.index()
            return
        self.find(queries, collection, [1, 3, 50])
        self.call({"a": queries}, {"prompt": "Join {{ a | join(', ') }}"})

    def many(self) -> None:
        """A search of the queries that the caller gave; all of them may find the same chunks."""
        if (collection := self.pick("collection")) is None:
            self.index()
            return
        self.find("inputs.names", collection, [3, 50, 50])

    def rankings(self) -> None:
        """A search of those queries by words and embeddings, each of which may find other chunks
        first."""
        self.chunk(min(SIZES))
        writer = self.write(self.ports["chunks"][-1], modes=["hybrid"])
        inputs = {"queries": "inputs.names", "collection": f"{writer}.collection"}
        settings = {"top_k": self.draw(st.sampled_from([1, 2]))}
        self.add("search", inputs, settings, passages="passages")

    def find(self, queries: str, collection: str, top_k: Sequence[int]) -> None:
        """A search for several queries."""
        inputs = {"queries": queries, "collection": collection}
        settings = {"top_k": self.draw(st.sampled_from(top_k)), **self.way(collection)}
        self.add("search", inputs, settings, passages="passages")

    def regions(self) -> None:
        """Calls for each item: a chain, or a tree."""
        passages = self.pick("passages", "chunks", "texts") or "inputs.names"
        settings = self.draw(st.sampled_from([{"mode": "refine"}, {"mode": "tree", "fan_in": 2}]))
        inputs = {"passages": passages, "question": self.pick("text") or "inputs.question"}
        self.answer(inputs, {**settings, **self.sampling()})

    def outputs(self) -> dict[str, str]:
        """All that no module takes, and now and then something that one takes: what is computed
        is seen."""
        used = {ref for module in self.modules.values() for ref in module["inputs"].values()}
        refs = [ref for kind in GIVEN for ref in self.ports.get(kind, ()) if "inputs" not in ref]
        if self.draw(st.integers(0, 3)):
            refs = [ref for ref in refs if ref not in used or self.draw(st.integers(0, 3)) == 0]
            if refs:
                return {f"out{number}": ref for number, ref in enumerate(refs)}
        return super().outputs()


ENGINES = ("llm", "embedder", "reranker", "store")
STEPS = (
    *(Draft.chunk, Draft.index, Draft.index, Draft.search, Draft.search, Draft.rerank),
    *(Draft.expand_query, Draft.rewrite_query, Draft.generate, Draft.generate, Draft.synthesize),
    *(Draft.between_writers, Draft.between_writers, Draft.both_ways, Draft.many, Draft.rankings),
    *(Draft.regions, Draft.regions),
)
MOMENTS = (0, 0.003, 0.02, 0.06, 0.13, 0.25, 0.4, 1, 2.03, 2.2, 3)
"""When a query is cancelled; some engines start for 2 s."""
MODULES = (1, 4, 6, 8, 10, 12, 16, 20, 30)


@st.composite
def _workflows(draw: Draw) -> dict[str, Any]:
    draft = Draft(draw)
    draft.ports = {"documents": ["inputs.documents"], "text": ["inputs.question"]}
    draft.ports["texts"] = ["inputs.names"]
    room = draw(st.sampled_from(MODULES))
    while len(draft.modules) < room - 4:
        draw(st.sampled_from(STEPS))(draft)
    draw(st.sampled_from(STEPS))(draft)
    return {
        "teola": 1,
        "name": "generated",
        "inputs": {"documents": "list<document>", "question": "text", "names": "list<text>"},
        "defaults": {
            "retry": {
                "max": RETRIES,
                "backoff": "constant",
                "initial": "20ms",
                "on": ["item", "engine", "memory", "died"],
            }
        },
        "engines": {kind: {"kind": kind, "backend": "fake"} for kind in ENGINES},
        "modules": draft.modules,
        "outputs": draft.outputs(),
    }


long_sentences = sentences | st.lists(st.sampled_from(WORDS), min_size=20, max_size=60).map(
    " ".join
)


@st.composite
def _lists(draw: Draw, items: Any, most: int) -> list[str]:
    """Of one or none now and then, not often."""
    least, bound = draw(st.sampled_from([0, 1, 3])), draw(st.sampled_from([1, most, most]))
    return draw(st.lists(items, min_size=least, max_size=max(least, bound)))


@st.composite
def _documents(draw: Draw) -> list[dict[str, str]]:
    """None, one, some; now and then one text twice."""
    texts = draw(_lists(long_sentences, 5))
    if texts and draw(st.integers(0, 3)) == 0:
        texts.append(texts[0])
    return [{"name": f"d{number}.txt", "text": text} for number, text in enumerate(texts)]


@st.composite
def _passes(draw: Draw) -> str:
    """A subset of the passes in any order, with options."""
    number = st.sampled_from
    options = {
        "decompose-stages": {"max-group": draw(number([1, 2, 3, 5, 8, 17, 64]))},
        "split-prefill": {
            "min-new-tokens": draw(number([0, 1, 16, 64])),
            "ahead": draw(number([0, 1, 2, 8])),
        },
    }
    order = draw(st.permutations(sorted(PASSES)))
    left_out = draw(st.sets(st.sampled_from(order), max_size=3))
    texts = []
    for name in (name for name in order if name not in left_out):
        chosen = ",".join(f"{key}={value}" for key, value in options.get(name, {}).items())
        texts.append(f"{name}{{{chosen}}}" if chosen else name)
    return ",".join(texts)


@st.composite
def _schedules(draw: Draw) -> Schedule:
    settings: dict[str, dict[str, float]] = {
        "llm": {
            "max_requests": draw(st.sampled_from([1, 2, 5, 64])),
            "kv_tokens": draw(st.sampled_from([8192, 9000, 65536])),
            "per_token_ms": draw(st.sampled_from([0, 0.05, 1])),
        },
        "embedder": {"batch_size": draw(st.sampled_from([1, 3, 7, 32]))},
        "reranker": {"batch_size": draw(st.sampled_from([1, 2, 5, 32]))},
        "store": {"batch_size": draw(st.sampled_from([1, 4, 32]))},
    }
    for of in settings.values():
        of |= {"latency_ms": draw(latencies), "per_item_ms": draw(latencies)}
        of["replicas"] = draw(st.sampled_from([1, 1, 2, 3]))
    return Schedule(
        settings,
        {kind: draw(st.sampled_from([0, 0, 0.01, 2])) for kind in settings},
        draw(faults()),
        draw(st.none() | st.sampled_from(MOMENTS)),
        draw(st.none() | sentences),
        draw(st.booleans()),
        draw(st.sampled_from([1, 3, 16])),
    )


@st.composite
def cases(draw: Draw) -> Case:
    """A random case."""
    question, names = draw(sentences), draw(_lists(sentences, 20))
    return Case(
        draw(_workflows()),
        {"documents": draw(_documents()), "question": question, "names": names},
        draw(_passes()),
        {name: draw(st.integers(1, 40)) for name in COSTLY},
        draw(_schedules()),
    )
