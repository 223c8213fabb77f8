"""The output layer in oneDNN's own layout: PyTorch's float32 kernels are slow for a few rows.

Each decoding step multiplies the largest weight of a small model with one row for each running
request. SmolLM2's (49,152 by 576), two threads, AVX2, in ms: 1 row 4.4 (unpacked 9.2), 8 rows 5.8
(16.8), 64 rows 24.6 (38.3). Inner layers stay as they are: there packing gains for many rows what
it costs for one.
"""

from __future__ import annotations

import logging
from typing import Any

import torch

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


def pack_output_layer(model: Any) -> bool:
    """Replace the output layer of a float32 model on the CPU by a packed one.

    Returns:
        Whether it was: not where oneDNN is missing or does not give what PyTorch gives.
    """
    layer = model.get_output_embeddings()
    if type(layer) is not torch.nn.Linear:
        return False
    packed = _packed(layer)
    if packed is None:
        return False
    model.set_output_embeddings(packed)
    return True


def _packed(layer: torch.nn.Linear) -> PackedLinear | None:
    """The layer packed, or None where it does not compute the same."""
    rows = torch.linspace(-1, 1, PROBE_ROWS * layer.in_features).reshape(PROBE_ROWS, -1)
    try:
        packed = PackedLinear(layer)
        with torch.no_grad():
            same = torch.allclose(packed(rows), layer(rows), rtol=TOLERANCE, atol=TOLERANCE)
    except (AttributeError, NotImplementedError, RuntimeError) as error:
        logger.warning("the output layer stays unpacked: %s", error)
        return None
    return packed if same else None
