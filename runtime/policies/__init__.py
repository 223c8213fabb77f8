"""Policies: in which order an engine's waiting tasks are served."""

from __future__ import annotations

from collections.abc import Mapping

from teola.runtime.policies.arrival import Fifo, PerInvocation, Throughput
from teola.runtime.policies.base import Budget, Policy, Slice
from teola.runtime.policies.remaining_work import RemainingWork
from teola.runtime.policies.topology import Topology

POLICIES: Mapping[str, type[Policy]] = {
    policy.name: policy for policy in (Fifo, PerInvocation, Throughput, Topology, RemainingWork)
}
"""Name -> what makes one for an engine."""

DEFAULT_POLICY = RemainingWork.name

__all__ = [
    "DEFAULT_POLICY",
    "POLICIES",
    "Budget",
    "Fifo",
    "PerInvocation",
    "Policy",
    "RemainingWork",
    "Slice",
    "Throughput",
    "Topology",
]
