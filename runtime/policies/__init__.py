"""Policies: in which order an engine's waiting tasks are served."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from teola.runtime.policies.arrival import Fifo, PerInvocation, Throughput
from teola.runtime.policies.base import Budget, Policy, Slice
from teola.runtime.policies.max_wait import MaxWait
from teola.runtime.policies.remaining_work import RemainingWork
from teola.runtime.policies.topology import Topology

POLICIES: Mapping[str, type[Policy]] = {
    policy.name: policy for policy in (Fifo, PerInvocation, Throughput, Topology, RemainingWork)
}
"""Name -> what makes one for an engine."""

DEFAULT_POLICY = RemainingWork.name


def make_policy(name: str, max_wait_s: float | None, now: Callable[[], float]) -> Policy:
    """A policy for one engine, with a bound on waiting if there is to be one."""
    policy = POLICIES[name]()
    return policy if max_wait_s is None or policy.in_order else MaxWait(policy, max_wait_s, now)


__all__ = [
    "DEFAULT_POLICY",
    "POLICIES",
    "Budget",
    "Fifo",
    "MaxWait",
    "PerInvocation",
    "Policy",
    "RemainingWork",
    "Slice",
    "Throughput",
    "Topology",
    "make_policy",
]
