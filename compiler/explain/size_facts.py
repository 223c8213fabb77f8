"""The sizes that a prediction counts with, and where each comes from."""

from __future__ import annotations

from collections.abc import Iterator

from teola.compiler.cost.prompt_tokens import PromptTokens
from teola.compiler.cost.shapes import Shape, Shapes
from teola.compiler.cost.sizes import Sizes, size_name
from teola.compiler.explain.explanation import Origin, SizeFact
from teola.compiler.graph.operations import OPERATIONS, output_port
from teola.compiler.graph.pgraph import INPUTS, PGraph, Primitive, Ref


def size_facts(graph: PGraph, given: Sizes, measured: Sizes) -> Iterator[SizeFact]:
    """The sizes that decide: those of inputs, of lists whose length only a run knows, of prompts
    and of answers; and every one that was given."""
    facts = _Facts(graph, given, measured)
    for port in graph.inputs:
        yield facts.port(Ref(INPUTS, port.name), "assumed")
    for node in graph.nodes:
        if not isinstance(node, Primitive):
            continue
        row = OPERATIONS[node.operation]
        if row.unit is not None:
            yield facts.prompt(node)
        elif facts.shapes.head(node) is not None:
            yield facts.answer(node)
        for name in row.outputs:
            out = output_port(node, name)
            known = f"{node.id}:{name}" in facts.said
            if out is not None and (known or (out.is_list and out.length == "any")):
                yield facts.port(Ref(node.id, name), "derived")


class _Facts:
    def __init__(self, graph: PGraph, given: Sizes, measured: Sizes) -> None:
        self.given, self.measured = given, measured
        self.shapes = Shapes(graph, measured.updated(given))
        self.prompts = PromptTokens(self.shapes)
        self.said = {*given.items, *given.tokens}

    def origin(self, name: str, otherwise: Origin) -> Origin:
        for sizes, origin in ((self.given, "given"), (self.measured, "measured")):
            if name in sizes.items or name in sizes.tokens:
                return "given" if origin == "given" else "measured"
        return otherwise

    def port(self, ref: Ref, otherwise: Origin) -> SizeFact:
        shape: Shape = self.shapes.of(ref)
        name = size_name(ref)
        items = shape.items if shape.dims else None
        return SizeFact(name, items, shape.item_tokens, self.origin(name, otherwise))

    def prompt(self, call: Primitive) -> SizeFact:
        tokens = self.prompts.whole(call)
        return SizeFact(call.id, None, tokens, self.origin(call.id, "derived"))

    def answer(self, decode: Primitive) -> SizeFact:
        head = self.shapes.head(decode)
        sampling = head.config.get("sampling") if head is not None else None
        fixed = isinstance(sampling, dict) and sampling.get("ignore_eos")
        otherwise: Origin = "fixed" if fixed else "assumed"
        tokens = self.shapes.answer(decode)
        return SizeFact(decode.id, None, tokens, self.origin(decode.id, otherwise))
