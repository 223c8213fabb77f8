"""Engines: their protocol, and the table of where each one's class is and lives.

Importing this imports no engine. A plug-in names its engines by entry points in the group
``teola.engines``: ``"kind.backend" = "module:ENTRY"`` where ``ENTRY`` is an `EngineEntry`.
"""

from teola.runtime.engines.registry import ENGINES, EngineEntry, find_entry

__all__ = ["ENGINES", "EngineEntry", "find_entry"]
