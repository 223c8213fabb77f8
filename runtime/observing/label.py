"""What people call a query that they look at in a trace."""

from __future__ import annotations

from contextvars import ContextVar

LABEL: ContextVar[str] = ContextVar("teola_label", default="")
"""Set by whoever begins queries, where that is more than their number: a batch names its rows."""
