"""Which engines an entry is for."""

from __future__ import annotations

import json
from collections.abc import Mapping

from teola.compiler.engines import settings_model
from teola.compiler.graph.pgraph import Json

NAMED = ("kind", "backend", "model")
"""What an entry always names."""
PLACES = ("path", "adapters", "replicas")
"""What no entry names: where something lies, and how often, but not what it is."""


def entry_settings(config: Mapping[str, Json]) -> dict[str, Json]:
    """The settings that an engine must have for what was measured on ``config``: kind, backend and
    model, and what differs from the backend's defaults."""
    model = settings_model(str(config["kind"]), str(config["backend"]))
    defaults = {} if model is None else {n: f.default for n, f in model.model_fields.items()}
    return {
        name: value
        for name, value in config.items()
        if name not in PLACES
        and value is not None
        and (name in NAMED or name not in defaults or not _equal(value, defaults[name]))
    }


def _equal(value: Json, default: object) -> bool:
    """Whether they are the same as JSON, where a tuple is a list."""
    return bool(value == json.loads(json.dumps(default, default=str)))
