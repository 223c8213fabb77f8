"""How a long fetch tells where it is, and how it is stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable

from teola.runtime.errors import ModelError

Progress = Callable[[str, float | None, str], None]
"""Takes the state (waiting, fetching, converting), the done fraction 0 to 1 or None, a detail."""


def silent(_state: str, _fraction: float | None, _detail: str) -> None:
    """Tell nobody."""


def stop_if(cancelled: threading.Event | None) -> None:
    """Raise when whoever asked no longer wants the model.

    Raises:
        ModelError: ``cancelled`` is set.
    """
    if cancelled is not None and cancelled.is_set():
        raise ModelError("fetching the model was cancelled")
