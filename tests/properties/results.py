"""What runs gave on the way: that a shape was drawn does not say that anything came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

from teola.compiler.graph.pgraph import Primitive
from teola.runtime.instance.generate import GenerateRun
from teola.runtime.instance.primitive import PrimitiveRun

RESULTS = (
    "words find passages",
    "rankings are fused",
    "a later group of rankings is fused",
    "passages are cited",
    "a list of JSON has items",
    "a choice is weighed",
)


class Results:
    """What of ``RESULTS`` has ``happened``."""

    def __init__(self) -> None:
        self.happened: dict[str, bool] = {}

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Listen to what primitives and calls give."""
        complete, finish = PrimitiveRun.complete, GenerateRun.finish

        def completed(run: PrimitiveRun, group: int, outputs: dict[str, Any]) -> None:
            if isinstance(run.prepared.node, Primitive):
                operation = run.prepared.node.operation
                self.happened |= dict.fromkeys(_of_group(operation, group, outputs), True)
            complete(run, group, outputs)

        def finished(run: GenerateRun, values: dict[str, Any]) -> None:
            if run.shape.port == "json_list" and run.shape.found:
                self.happened["a list of JSON has items"] = True
            if run.weighed:
                self.happened["a choice is weighed"] = True
            finish(run, values)

        with (
            mock.patch.object(PrimitiveRun, "complete", completed),
            mock.patch.object(GenerateRun, "finish", finished),
        ):
            yield


def _of_group(operation: str, group: int, outputs: Mapping[str, Any]) -> Iterator[str]:
    hits = any(outputs.get("hits", ()))
    if operation == "keyword_search" and hits:
        yield "words find passages"
    if operation == "fuse" and hits:
        yield "rankings are fused"
        if group:
            yield "a later group of rankings is fused"
    if operation == "cited" and outputs["passages"]:
        yield "passages are cited"
