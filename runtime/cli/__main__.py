"""``python -m teola.runtime.cli`` is ``teola``."""

from __future__ import annotations

from teola.runtime.cli import main

main()
