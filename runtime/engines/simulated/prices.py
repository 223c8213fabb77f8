"""What the operations of a simulated engine cost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from teola.compiler.cost.costs import free, priced
from teola.compiler.cost.profile import Entry, load_profiles


class Prices:
    """The profile's entries for the engine that a config stands for; what has none is free."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        path = config.get("profile")
        self._profiles = load_profiles(None if path is None else Path(path))
        self.settings = priced(config)

    def of(self, operation: str) -> Entry:
        """The entry of an operation."""
        return self._profiles.entry(operation, self.settings) or free(operation)
