"""What a pass did, in numbers: the part of it that a plan keeps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PassReport:
    """What one pass did: nodes and edges before and after, and the time it took."""

    name: str
    changed: bool
    nodes_before: int
    nodes_after: int
    edges_before: int
    edges_after: int
    seconds: float
