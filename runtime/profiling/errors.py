"""What goes wrong while measuring.

RunError
  MeasureError    one operation cannot be measured, or not under these conditions
"""

from __future__ import annotations

from teola.runtime.errors import RunError


class MeasureError(RunError):
    """An operation cannot be measured; the message is the cause."""
