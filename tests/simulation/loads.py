"""Small plans and profiles for simulations."""

import json

from teola.compiler.graph.text import parse_graph
from teola.compiler.graph.verify import verify
from teola.compiler.plan import Plan
from teola.compiler.source import Source

ONE_SECOND = {"operation": "embed", "knee": 1, "base_ms": 1000, "item_ms": 0}


def plan_of(text):
    """A plan of a graph in text form."""
    graph = parse_graph(Source("t.pgraph", text))
    verify(graph)
    return Plan(graph, "-O1")


def embedding(batch_size=1, name="t", **settings):
    """One primitive on one engine that takes so many items at once."""
    config = {"kind": "embedder", "backend": "fake", "batch_size": batch_size, **settings}
    return plan_of(
        f"graph {name}\nengine emb = {json.dumps(config)}\ninput texts: list<text>\n"
        "%a.embed = embed texts=%inputs:texts {engine = emb} @a\n"
        "output vectors: list<embedding> = %a.embed:embeddings\n"
    )


def calling(sampling, name="t", **settings):
    """One LLM call."""
    config = {"kind": "llm", "backend": "fake", **settings}
    return plan_of(
        f"graph {name}\nengine llm = {json.dumps(config)}\ninput question: text\n"
        '%a.prefill = prefill question=%inputs:question {engine = llm, messages = [{"role": "user",'
        f' "template": "{{{{ question }}}}"}}], sampling = {json.dumps(sampling)}}} @a\n'
        "%a.decode = decode state=%a.prefill:state {engine = llm} @a\n"
        "output answer: text = %a.decode:text\n"
    )


def profile(folder, *entries):
    """A profile file."""
    path = folder / "profile.json"
    path.write_text(json.dumps({"schema": "teola.profile/1", "entries": entries}))
    return path
