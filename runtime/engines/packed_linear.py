"""Weights in oneDNN's own layout: on CPUs without AMX the default one is slow for a few rows.

One decoding step multiplies each weight with one row for each running request. For 2 to 64 rows
packed weights are 1.3 to 4 times as fast in float32 (AVX2; the output layer of SmolLM2 for 8 rows:
5.8 ms, 16.8 ms unpacked), and as fast as unpacked ones for long prompts.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)
PROBE_ROWS = 3
TOLERANCE = 1e-4


class PackedLinear(torch.nn.Module):
    """``x @ weight.T + bias`` for ``x`` of shape ``(..., in)`` float32, with a packed weight."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        # In a tuple PyTorch does not see it: most tensor functions refuse this layout.
        self._packed = (torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach()),)  # noqa: SLF001 - it has no public name
        self.bias = linear.bias

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001 - as above
            rows, self._packed[0], self.bias, "none", [], ""
        )
        return product


def pack_linear_layers(model: torch.nn.Module) -> int:
    """Replace every linear layer of a float32 model on the CPU by a packed one.

    Returns:
        How many: 0 where oneDNN is missing or does not give what PyTorch gives.
    """
    layers = list(_linear_layers(model))
    if not layers or not _works(layers[0][2]):
        return 0
    for parent, name, layer in layers:
        setattr(parent, name, PackedLinear(layer))
    return len(layers)


def _linear_layers(
    model: torch.nn.Module,
) -> Iterator[tuple[torch.nn.Module, str, torch.nn.Linear]]:
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is torch.nn.Linear:
                yield parent, name, child


def _works(layer: torch.nn.Linear) -> bool:
    """Whether this build of PyTorch can do it, tried on one layer."""
    rows = torch.linspace(-1, 1, PROBE_ROWS * layer.in_features).reshape(PROBE_ROWS, -1)
    try:
        with torch.no_grad():
            packed, plain = PackedLinear(layer)(rows), layer(rows)
    except (AttributeError, NotImplementedError, RuntimeError) as error:
        logger.warning("weights stay unpacked: %s", error)
        return False
    return bool(torch.allclose(packed, plain, rtol=TOLERANCE, atol=TOLERANCE))
