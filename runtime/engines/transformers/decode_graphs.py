"""CUDA graphs of steps that decode: one launch instead of hundreds, for which a GPU would wait.

transformers records and replays steps; a recording always does the same. So it is kept here to
small steps, of a few shapes, and what a request alone wants is done beside it: how its token is
chosen (`TokenChoices`). Only what attends without asking the device anything can be recorded:
`packed_attention`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from teola.runtime.engines.transformers.token_choice import TokenChoices

logger = logging.getLogger(__name__)
PADDED_TO = 32
"""Tokens of a step are padded to a multiple of it: so few shapes that each is soon known."""
KV_PADDED_TO = 4096
MOST_TOKENS = 64
"""A larger step computes long enough to hide its launches."""
MOST_GRAPHS = 24
"""Each keeps its logits: 64 rows of 128,000 are 33 MB."""
SETTINGS: Mapping[str, Any] = {
    "use_cuda_graph": (True, False),
    "q_padding_interval_size": PADDED_TO,
    "kv_padding_interval_size": KV_PADDED_TO,
}
"""What the library is told; the second of two paths needs the package flash-attn, and pages of
256 tokens."""
NO_GRAPHS: Mapping[str, Any] = {"use_cuda_graph": False}


class DecodeGraphs:
    """Stands in front of ``compute_batch`` of transformers' model runner, on a GPU.

    At most ``most`` graphs are recorded. The first recording that fails (its step is computed
    without) is the last; ``failure`` says why.
    """

    def __init__(self, runner: Any, choices: TokenChoices, most: int = MOST_GRAPHS) -> None:
        self._runner, self._choices, self._most = runner, choices, most
        self._compute = runner.compute_batch
        self._scores: dict[int, torch.Tensor] = {}
        self.failure: BaseException | None = None
        runner.compute_batch = self.compute

    @property
    def count(self) -> int:
        """Graphs recorded so far."""
        return len(self._scores)

    def compute(self, model: Any, batch: dict[str, Any]) -> None:
        """One step, replayed where it can be."""
        buffers = self._runner.inputs_and_outputs
        if buffers.compute_stream is not None:  # what it reads was written on another stream
            buffers.compute_stream.wait_stream(torch.cuda.current_stream())
        small = self._most > 0 and int(batch["input_ids"].shape[-1]) <= MOST_TOKENS
        graph = buffers.get_graph() if small and self.failure is None else None
        if graph is not None:
            self._replay(model, batch, graph)
        elif small and self.failure is None and self.count < self._most:
            self._record(model, batch)
        else:
            self._plainly(model, batch)

    def _replay(self, model: Any, batch: dict[str, Any], graph: Any) -> None:
        self._runner.use_cuda_graph_varlen = True
        self._compute(model, batch)
        buffers = self._runner.inputs_and_outputs
        with _on(buffers.compute_stream):
            self._choices.choose_again(self._scores[id(graph)], buffers.output_ids[0])

    def _record(self, model: Any, batch: dict[str, Any]) -> None:
        """The library computes the step, with its choices, before it records it."""
        self._runner.use_cuda_graph_varlen = True
        self._choices.begin_recording()
        try:
            self._compute(model, batch)
        except RuntimeError as error:
            logger.warning("no more CUDA graphs, decoding goes on without: %s", error)
            self.failure = error
            if not self._choices.chosen:
                self._plainly(model, batch)
            return
        graph, scores = self._runner.inputs_and_outputs.get_graph(), self._choices.recorded
        if graph is not None and scores is not None:
            self._scores[id(graph)] = scores

    def _plainly(self, model: Any, batch: dict[str, Any]) -> None:
        self._runner.use_cuda_graph_varlen = False
        self._compute(model, batch)


def _on(stream: Any) -> AbstractContextManager[Any]:
    return nullcontext() if stream is None else torch.cuda.stream(stream)
