"""Hypothesis strategies: graphs that hold every rule of the table, and workflows in YAML."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import yaml
from hypothesis import strategies as st

from teola.compiler.engines import canonical
from teola.compiler.graph.effects import effect_edges
from teola.compiler.graph.pgraph import (
    Const,
    Edge,
    Guard,
    InputPort,
    Json,
    Node,
    Operand,
    OutputPort,
    PGraph,
    Primitive,
    Ref,
    Region,
)
from teola.compiler.passes.rewriting import with_refs

Draw = Callable[[Any], Any]

identifiers = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True) | st.sampled_from(
    ["when", "engine", "group", "graph", "input", "each", "order"]
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
configs = st.dictionaries(
    identifiers.filter(lambda name: name not in ("engine", "group")), json_values, max_size=2
)

ENGINES: dict[str, dict[str, Json]] = {
    name: canonical({"kind": kind, "backend": "fake"})
    for name, kind in (
        ("llm", "llm"),
        ("emb", "embedder"),
        ("alias", "embedder"),
        ("rr", "reranker"),
        ("store", "store"),
    )
}

VARIABLES = ("question", "passages", "lines", "more")
PARTS = (
    "{{ NAME }} ",
    "{{ NAME | length }}, again {{ NAME | length }}",
    "{% if NAME %}yes{% endif %}",
    "{% set x = NAME %}{{ x }}",
    "{% for x in NAME %}{{ x }}{% endfor %}",
    "TEXT ",
)
"""What a prompt says of the variable NAME; a TEXT says nothing of any."""

Ports = dict[str, list[Ref]]


@dataclass
class _Graph:
    """A graph that grows: ``ports`` are the references that can be used now, by type; ``units``
    what each region can have twice, with the ports that each offers."""

    draw: Draw
    nodes: list[Node] = field(default_factory=list)
    ports: Ports = field(default_factory=dict)
    units: dict[str, list[tuple[list[Node], Ports]]] = field(default_factory=dict)
    count: int = 0
    module: str = ""
    guard: tuple[Guard, ...] = ()

    def new_id(self, word: str) -> str:
        self.count += 1
        return f"{self.draw(identifiers)}{self.count}.{word}"

    def offer(self, kind: str, ref: Ref) -> None:
        self.ports.setdefault(kind, []).append(ref)

    def pick(self, *kinds: str) -> Ref | None:
        """One of what there is; half of the time of what was decoded, where there is that."""
        late = [ref for kind in kinds for ref in self.ports.get(f"late {kind}", ())]
        found = [ref for kind in kinds for ref in self.ports.get(kind, ())]
        if late and self.draw(st.booleans()):
            found = late
        return self.draw(st.sampled_from(found)) if found else None

    def primitive(
        self,
        operation: str,
        inputs: dict[str, Operand],
        lists: tuple[str, ...] = (),
        *,
        engine: str | None = None,
        region: str = "",
        config: dict[str, Json] | None = None,
    ) -> str:
        group = None
        chosen = dict(inputs)
        refs = [ref for name in lists if isinstance(ref := chosen[name], Ref)]
        cut = bool(refs) and not any(ref.fields for ref in refs)
        if cut and self.draw(st.integers(0, 3)) == 0:
            group = self.draw(st.integers(1, 100))
            for name in lists:
                ref = chosen[name]
                if isinstance(ref, Ref):
                    chosen[name] = Ref(ref.node, ref.port, ref.fields, True)
        id_ = self.new_id(operation)
        own = {**(config or {}), **self.draw(st.just({}) | configs)}
        self.nodes.append(
            Primitive(id_, operation, chosen, own, engine, self.guard, region, group, self.module)
        )
        return id_

    def step(self, region: str, depth: int) -> None:
        """Add one node, or one unit, or one region with its body: at the top, one module. Now and
        then what is there already comes once more."""
        if not region:
            self.module = self.draw(st.just("") | st.just(f"module{self.count}"))
            go = Guard(Ref("inputs", "go"), self.draw(st.booleans()))
            self.guard = self.draw(st.sampled_from([(), (), (), (go,)]))
        units = self.units.setdefault(region, [])
        if units and self.draw(st.integers(0, 3)) == 0:
            self.again(*self.draw(st.sampled_from(units)))
            return
        start, ports = len(self.nodes), {kind: len(refs) for kind, refs in self.ports.items()}
        steps = [self.lists, self.models, self.models, self.call, self.collection, self.scalar]
        steps += [self.region] if depth < 2 else []
        self.draw(st.sampled_from(steps))(region, depth)
        offered = {kind: refs[ports.get(kind, 0) :] for kind, refs in self.ports.items()}
        if len(self.nodes) > start:
            units.append((self.nodes[start:], offered))

    def again(self, unit: list[Node], offered: Ports) -> None:
        """Add the unit once more, under other names."""
        ids = {node.id: self.new_id("again") for node in unit}

        def change(ref: Ref) -> Ref:
            return replace(ref, node=ids.get(ref.node, ref.node))

        for node in unit:
            copy = with_refs(node, change)
            self.nodes.append(
                replace(copy, id=ids[node.id], region=ids.get(node.region, node.region))
            )
        for kind, refs in offered.items():
            for ref in refs:
                self.offer(kind, change(ref))

    def lists(self, region: str, depth: int) -> None:
        ref = self.pick("texts", "passages")
        if ref is None:
            return
        kind = "texts" if ref in self.ports.get("texts", ()) else "passages"
        name = self.draw(st.sampled_from(["distinct", "take", "concat", "top"]))
        if name == "concat":
            constant: Json = self.draw(st.sampled_from([[], ["a"], ["a", "b"] * 20]))
            other = self.pick(kind) if self.draw(st.booleans()) else None
            inputs: dict[str, Operand] = {self.draw(identifiers): ref}
            inputs[f"{self.draw(identifiers)}_2"] = other or Const(constant)
            id_ = self.primitive("concat", inputs, tuple(inputs), region=region)
        elif name == "top":
            id_ = self.primitive("top", {"items": ref, "count": Const(3)}, region=region)
        else:
            counts: list[dict[str, Json]] = [{"count": 3}, {"count": 40}, {"start": 1}]
            config = self.draw(st.sampled_from(counts)) if name == "take" else {}
            id_ = self.primitive(name, {"items": ref}, ("items",), region=region, config=config)
        self.offer(kind, Ref(id_, "items"))

    def models(self, region: str, depth: int) -> None:
        ref, passages = self.pick("texts"), self.pick("passages")
        if passages is not None and self.draw(st.booleans()):
            query = self.pick("text") or Const("query")
            id_ = self.primitive(
                "score",
                {"passages": passages, "query": query},
                ("passages",),
                engine="rr",
                region=region,
            )
            self.offer("passages", Ref(id_, "passages"))
        elif ref is not None:
            engine = self.draw(st.sampled_from(["emb", "emb", "alias"]))
            id_ = self.primitive("embed", {"texts": ref}, ("texts",), engine=engine, region=region)
            self.offer("vectors", Ref(id_, "embeddings"))

    def call(self, region: str, depth: int) -> None:
        names = list(self.draw(st.permutations(VARIABLES)))
        inputs: dict[str, Operand] = {}
        for kinds in (("text",), ("text", "texts"), ("passages", "texts")):
            ref = self.pick(*kinds)
            if ref is not None and self.draw(st.integers(0, 3)):
                inputs[names.pop()] = ref
        if self.draw(st.integers(0, 3)) == 0:
            inputs[names.pop()] = Const(3)
        sampling: Json = {"max_tokens": 8, "temperature": self.draw(st.sampled_from([0, 0, 0.7]))}
        config: dict[str, Json] = {"messages": self.prompt(list(inputs)), "sampling": sampling}
        head = self.primitive("prefill", inputs, engine="llm", region=region, config=config)
        follow: dict[str, Operand] = {"state": Ref(head, "state")}
        if self.draw(st.booleans()):
            follow["count"] = Const(self.draw(st.integers(1, 3)))
        tail = self.primitive("decode", follow, engine="llm", region=region)
        self.offer("text", Ref(tail, "text"))
        self.offer("texts", Ref(tail, "lines"))
        self.offer("late text", Ref(tail, "text"))
        self.offer("late texts", Ref(tail, "lines"))

    def prompt(self, names: list[str]) -> Json:
        """One or two messages over the variables ``names``, in any order; or with one spliced."""
        parts = [
            self.draw(st.sampled_from(PARTS)).replace("NAME", name)
            for name in self.draw(st.permutations(names))
        ]
        cut = self.draw(st.integers(0, len(parts)))
        first, rest = "".join(parts[:cut]), "".join(parts[cut:])
        messages: list[Json] = [{"role": "user", "template": rest}]
        if names and self.draw(st.integers(0, 5)) == 0:
            messages.insert(0, {"splice": self.draw(st.sampled_from(names))})
        return [{"role": "system", "template": first}, *messages] if first else messages

    def collection(self, region: str, depth: int) -> None:
        vectors = self.pick("vectors")
        if vectors is None:
            return
        name: Operand = Const(self.draw(st.sampled_from(["kb", "other"])))
        if self.draw(st.booleans()):
            chunks = self.pick("passages")
            if chunks is None:
                return
            inputs: dict[str, Operand] = {"chunks": chunks, "embeddings": vectors}
            if self.draw(st.booleans()):
                inputs["collection"] = name
            ordered = self.draw(st.integers(0, 3)) == 0
            id_ = self.primitive(
                "ingest",
                inputs,
                () if ordered else ("chunks", "embeddings"),
                engine="store",
                region=region,
                config={"ordered": True} if ordered else None,
            )
            self.offer("collection", Ref(id_, "collection"))
        else:
            where = self.pick("collection") or name
            inputs = {"embeddings": vectors, "collection": where, "top_k": Const(3)}
            found = self.primitive("search", inputs, ("embeddings",), engine="store", region=region)
            flat = self.primitive(
                "flatten", {"items": Ref(found, "hits")}, ("items",), region=region
            )
            self.offer("passages", Ref(flat, "items"))

    def scalar(self, region: str, depth: int) -> None:
        value: Operand = self.pick("text") or Const(self.draw(texts))
        id_ = self.primitive("wrap", {"value": value}, region=region)
        self.offer("texts", Ref(id_, "items"))

    def region(self, region: str, depth: int) -> None:
        items = self.pick("texts")
        if items is None:
            return
        kind = self.draw(st.sampled_from(["each", "fold", "reduce"]))
        id_ = self.new_id(kind)
        inputs: dict[str, Operand] = {"items": items}
        if kind == "fold":
            inputs["initial"] = self.pick("text") or Const("")
        at = len(self.nodes)
        outside = {name: list(refs) for name, refs in self.ports.items()}
        bound = {"each": "item", "fold": "item", "reduce": "index"}[kind]
        self.offer("text", Ref(id_, bound))
        if kind == "reduce":
            self.offer("texts", Ref(id_, "items"))
        for _ in range(self.draw(st.integers(0, 2))):
            self.step(id_, depth + 1)
        self.call(id_, depth + 1)
        result = self.ports["text"][-1]
        config: dict[str, Json] = {"fan_in": 2} if kind == "reduce" else {}
        self.nodes.insert(
            at, Region(id_, kind, inputs, {"text": result}, config, self.guard, region, self.module)
        )
        self.ports = outside
        self.offer("texts" if kind == "each" else "text", Ref(id_, "text"))


@st.composite
def pgraphs(draw: Draw, steps: int = 12) -> PGraph:
    """A random p-graph that the verifier takes: regions, streams, units, effects, order edges,
    guards, prompts over what is early and late, and units that come twice."""
    graph = _Graph(draw)
    inputs = [
        InputPort("texts", "list<text>", None, draw(texts)),
        InputPort("question", "text", draw(st.none() | st.tuples(texts))),
        InputPort("passages", "list<passage>"),
        InputPort("anything", "json", draw(st.none() | st.tuples(json_values))),
        InputPort("go", "bool"),
    ]
    for kind, name in (("texts", "texts"), ("text", "question"), ("passages", "passages")):
        graph.offer(kind, Ref("inputs", name))
    graph.offer("text", Ref("inputs", "anything", ("a", "b"), default=("",)))
    graph.offer("texts", Ref("inputs", "anything", ("names",), default=([],)))
    for _ in range(draw(st.integers(0, steps) | st.just(steps))):
        graph.step("", 0)
    kinds = {"text": "text", "texts": "list<text>", "passages": "list<passage>"}
    outputs = tuple(
        OutputPort(f"out{number}", kinds[kind], ref)
        for number, (kind, ref) in enumerate(
            (kind, draw(st.sampled_from(refs)))
            for kind, refs in graph.ports.items()
            if kind in kinds
        )
    )
    top = [node.id for node in graph.nodes if not node.region]
    order = {
        Edge("order", source, target) for source, target in pairwise(top) if draw(st.booleans())
    }
    return PGraph(
        draw(identifiers),
        tuple(inputs),
        outputs,
        tuple(graph.nodes),
        frozenset(order) | effect_edges(graph.nodes, ENGINES),
        ENGINES,
        {node.module: "generate" for node in graph.nodes if node.module},
    )


WORDS = "lake river stone cloud seven blue query index answer slow".split()
sentences = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)
documents = st.lists(sentences, max_size=3).map(
    lambda found: [{"name": f"d{n}.txt", "text": text} for n, text in enumerate(found)]
)
latencies = st.sampled_from([0, 0, 1, 7, 50])
GIVEN = ("text", "texts", "passages", "chunks", "int", "items", "json")
"""What can be an output."""
SIZES = (10, 20, 60)
"""Of chunks, in tokens."""
COLLECTIONS = ("kb", "other")
MODES = ("dense", "dense", "keyword", "hybrid", "hybrid", "hybrid")
"""What collections are searched by; as often as each is worth."""
NAMED = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
ROOM = 120
"""Tokens in which lists of ``NAMED`` end by themselves."""
_LISTS: tuple[tuple[Any, dict[str, str]], ...] = (
    ("lines", {"lines": "texts"}),
    ({"lines": {"count": 2}}, {"lines": "texts"}),
    ({"json_list": {"schema": NAMED}}, {"json_list": "items"}),
    ({"json_list": {"schema": NAMED, "count": 2}}, {"json_list": "items"}),
)
SHAPES: tuple[tuple[Any, dict[str, str]], ...] = (
    ("text", {}),
    *_LISTS * 2,
    ({"choice": ["lake", "river", "stone"]}, {"choice": "text", "probabilities": "json"}),
)
"""The outputs of a call, each with the ports that it has beside ``text``."""


@dataclass
class WorkflowDraft:
    """A workflow that grows module by module; ``ports`` are references by type, ``modes`` what
    each collection is made for, by its name and by its port."""

    draw: Draw
    modules: dict[str, dict[str, Any]] = field(default_factory=dict)
    ports: dict[str, list[str]] = field(default_factory=dict)
    named: list[str] = field(default_factory=list)
    modes: dict[str, str] = field(default_factory=dict)

    def pick(self, *kinds: str) -> str | None:
        found = [ref for kind in kinds for ref in self.ports.get(kind, ())]
        return self.draw(st.sampled_from(found)) if found else None

    def add(
        self,
        uses: str,
        inputs: dict[str, str],
        settings: dict[str, Any],
        **outputs: str,
    ) -> str:
        """A module; gives its name."""
        id_ = f"m{len(self.modules)}"
        entry: dict[str, Any] = {"uses": uses, "inputs": inputs}
        if settings:
            entry["with"] = settings
        before = list(self.modules)
        if before and self.draw(st.integers(0, 5)) == 0:
            entry["needs"] = [self.draw(st.sampled_from(before))]
        self.modules[id_] = {key: value for key, value in entry.items() if value}
        for port, kind in outputs.items():
            self.ports.setdefault(kind, []).append(f"{id_}.{port}")
        return id_

    def sampling(self) -> dict[str, Any]:
        return {"sampling": {"max_tokens": self.draw(st.sampled_from([12, 40, 80]))}}

    def chunk(self, size: int | None = None) -> None:
        size = size or self.draw(st.sampled_from(SIZES))
        documents_ref = self.pick("documents") or "inputs.documents"
        settings = {"size": size, "overlap": self.draw(st.sampled_from([0, 3]))}
        self.add("chunk", {"documents": documents_ref}, settings, chunks="chunks")

    def index(self) -> None:
        chunks = self.pick("chunks")
        if chunks is None:
            self.chunk()
            return
        named = self.draw(st.booleans())
        self.write(chunks, self.draw(st.sampled_from(COLLECTIONS)) if named else None)

    def write(self, chunks: str, name: str | None = None, modes: Sequence[str] = MODES) -> str:
        """An index in one of some modes, but in one mode all that have one name; gives the
        module."""
        mode = self.draw(st.sampled_from(modes))
        settings: dict[str, Any] = {}
        if name is not None:
            mode = self.modes.setdefault(name, mode)
            settings["collection"] = name
            self.named.append(name)
        if mode != "dense":
            settings["mode"] = mode
        id_ = self.add("index", {"chunks": chunks}, settings, collection="collection", count="int")
        self.modes[f"{id_}.collection"] = mode
        return id_

    def way(self, collection: str) -> dict[str, str]:
        """How a collection is searched, in any way that it is made for; it is often left out where
        the file knows it."""
        known = "dense" if collection in COLLECTIONS else self.modes[collection]
        mode = self.modes[collection]
        if mode == "hybrid":
            mode = self.draw(st.sampled_from(["hybrid", "hybrid", "dense", "keyword"]))
        return {} if mode == known and self.draw(st.booleans()) else {"mode": mode}

    def search(self) -> None:
        settings: dict[str, Any] = {"top_k": self.draw(st.integers(1, 4))}
        inputs: dict[str, str] = {}
        if self.named and self.draw(st.booleans()):
            where = settings["collection"] = self.draw(st.sampled_from(self.named))
        elif (collection := self.pick("collection")) is not None:
            where = inputs["collection"] = collection
        else:
            self.index()
            return
        if self.draw(st.booleans()) and (many := self.pick("texts")) is not None:
            inputs["queries"] = many
        else:
            inputs["query"] = self.pick("text") or "inputs.question"
        if self.draw(st.integers(0, 3)) == 0:
            settings["limit"] = self.draw(st.integers(1, 4))
        self.add("search", inputs, settings | self.way(where), passages="passages")

    def rerank(self) -> None:
        passages = self.pick("passages", "chunks")
        if passages is None:
            self.search()
            return
        query = self.pick("text") or "inputs.question"
        inputs = {"query": query, "passages": passages}
        self.add("rerank", inputs, {"top_k": self.draw(st.integers(1, 4))}, passages="passages")

    def expand_query(self) -> None:
        settings = {
            "count": self.draw(st.integers(1, 4)),
            "keep_original": self.draw(st.booleans()),
            **self.sampling(),
        }
        question = self.pick("text") or "inputs.question"
        self.add("expand_query", {"question": question}, settings, queries="texts")

    def rewrite_query(self) -> None:
        question = self.pick("text") or "inputs.question"
        self.add("rewrite_query", {"question": question}, self.sampling(), query="text")

    def generate(self) -> None:
        inputs = {"a": self.pick("text") or "inputs.question"}
        prompt = "Say {{ a }}"
        if (many := self.pick("texts")) is not None and self.draw(st.booleans()):
            inputs["b"] = many
            prompt += " and {{ b | join(', ') }}"
        if (passages := self.pick("passages", "chunks")) is not None and self.draw(st.booleans()):
            inputs["c"] = passages
            prompt += " for {% for p in c %}{{ p }}{% endfor %}"
        self.shaped(inputs, {"prompt": prompt, **self.sampling()})

    def shaped(self, inputs: dict[str, str], settings: dict[str, Any]) -> None:
        """A call with any output."""
        output, ports = copy.deepcopy(self.draw(st.sampled_from(SHAPES)))
        if output != "text":
            settings = {**settings, "output": output}
        if "items" in ports.values() and self.draw(st.booleans()):
            settings["sampling"] = {**settings["sampling"], "max_tokens": ROOM}
        self.add("generate", inputs, settings, text="text", **ports)

    def synthesize(self) -> None:
        passages = self.pick("passages", "chunks", "texts")
        if passages is None:
            self.generate()
            return
        mode = self.draw(st.sampled_from(["one_shot", "refine", "tree"]))
        settings: dict[str, Any] = {"mode": mode, **self.sampling()}
        if mode == "tree":
            settings["fan_in"] = self.draw(st.integers(2, 3))
        inputs = {"passages": passages}
        if self.draw(st.booleans()):
            inputs["question"] = self.pick("text") or "inputs.question"
        self.answer(inputs, settings)

    def answer(self, inputs: dict[str, str], settings: dict[str, Any]) -> None:
        """A synthesis, often of one that says what it has cited."""
        if self.draw(st.integers(0, 2)) == 0:
            settings = {**settings, "cite": True}
            self.add("synthesize", inputs, settings, text="text", cited="passages")
        else:
            self.add("synthesize", inputs, settings, text="text")

    def outputs(self) -> dict[str, str]:
        refs = [ref for kind in GIVEN for ref in self.ports.get(kind, ()) if "inputs" not in ref]
        if not refs:
            return {"out": "inputs.question"}
        chosen = self.draw(st.lists(st.sampled_from(refs), min_size=1, max_size=4, unique=True))
        return {f"out{number}": ref for number, ref in enumerate(chosen)}


@st.composite
def workflows(draw: Draw, modules: int = 30) -> str:
    """A random workflow file on fake engines, every reference valid: at most ``modules`` modules.

    Its inputs are ``documents`` and ``question``.
    """
    made = WorkflowDraft(draw)
    made.ports = {"documents": ["inputs.documents"], "text": ["inputs.question"]}
    steps = [
        made.chunk,
        made.index,
        made.search,
        made.rerank,
        made.expand_query,
        made.rewrite_query,
        made.generate,
        made.synthesize,
    ]
    for _ in range(draw(st.integers(1, modules))):
        draw(st.sampled_from(steps))()
    engines = {
        "llm": {"max_requests": draw(st.sampled_from([1, 3, 64]))},
        "embedder": {"batch_size": draw(st.sampled_from([1, 5, 32]))},
        "reranker": {"batch_size": draw(st.sampled_from([2, 32]))},
        "store": {},
    }
    file = {
        "teola": 1,
        "name": "generated",
        "inputs": {"documents": {"type": "list<document>"}, "question": "text"},
        "engines": {
            kind: {
                "kind": kind,
                "backend": "fake",
                "latency_ms": draw(latencies),
                "per_item_ms": draw(latencies),
                **settings,
            }
            for kind, settings in engines.items()
        },
        "modules": made.modules,
        "outputs": made.outputs(),
    }
    text: str = yaml.safe_dump(file, sort_keys=False, width=10_000)
    return text
