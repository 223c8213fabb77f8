"""What all benchmarks on a GPU share: where they run, their models, how long they may take."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.report import save
from benchmarks.workloads import Workload

FOUND = "nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader"


@dataclass(slots=True)
class Bench:
    """``dry``: everything is tiny and runs on the CPU, to see that it runs."""

    folder: Path
    device: str = "cuda"
    commit: str | None = None
    made: dict[str, float] = field(default_factory=dict)

    @property
    def dry(self) -> bool:
        """Not on a GPU."""
        return self.device == "cpu"

    def model(self, name: str) -> Path:
        """The folder of ``llm``, ``embedder`` or ``reranker``, made when it is first asked for."""
        folder = self.folder / name
        if name not in self.made:
            from benchmarks.gpu import weights

            start = time.perf_counter()
            if name == "llm":
                weights.save_llama(folder, weights.LLAMA_TINY if self.dry else weights.LLAMA_8B)
            else:
                shape = weights.BERT_TINY if self.dry else weights.BERT_LARGE
                weights.save_bert(folder, shape, scores=name == "reranker")
            self.made[name] = round(time.perf_counter() - start, 1)
            print(f"  {name}: weights made in {self.made[name]} s", flush=True)
        return folder

    def engine(self, name: str, backend: str, **settings: Any) -> dict[str, Any]:
        """An engine on one of the models, in bfloat16."""
        dtype = "float32" if self.dry else "bfloat16"
        common = {"path": str(self.model(name)), "device": self.device, "dtype": dtype}
        return {"kind": name, "backend": backend, **common, **settings}

    def llm(self, **settings: Any) -> dict[str, Any]:
        """The language model, with most of the GPU."""
        room = {"kv_pages": 1024} if self.dry else {"gpu_memory_utilization": 0.75}
        return self.engine("llm", "transformers", **{**room, **settings})

    def sets(self, workflow: str, lengths: Workload) -> list[str]:
        """What makes a bundled workflow a workload on these engines, with fixed lengths."""
        import json

        engines = {
            "llm": self.llm(),
            "embedder": self.engine("embedder", "sentence-transformers", batch_size=64),
        }
        modules = {"answer": lengths.answer}
        if workflow == "advanced_rag":
            engines["reranker"] = self.engine("reranker", "cross-encoder", batch_size=64)
            modules["expand"] = 3 * lengths.expansion
        found = [f"engines.{name}={json.dumps(one)}" for name, one in engines.items()]
        for module, tokens in modules.items():
            sampling = f"{{max_tokens: {tokens}, ignore_eos: true}}"
            found.append(f"modules.{module}.with.sampling={sampling}")
        return [*found, "defaults.timeout=10m"]

    def save(self, name: str, figures: dict[str, Any]) -> None:
        """The result file; a dry run has none."""
        if self.dry:
            print(f"  dry run: {figures}", flush=True)
            return
        about = {"gpu": gpu(), "seconds to make weights": self.made}
        save(f"gpu/{name}", figures, machine=about, commit=self.commit)


def rounds(least: int, most: int, seconds: float) -> Iterator[int]:
    """Numbers, until the time is over."""
    start = time.perf_counter()
    for number in range(most):
        if number >= least and time.perf_counter() - start > seconds:
            return
        yield number


def gpu() -> dict[str, Any]:
    """The GPU, its driver, and the CUDA that PyTorch was built for."""
    import torch

    listed = subprocess.run(FOUND.split(), capture_output=True, text=True, check=True).stdout
    name, driver, memory = listed.splitlines()[0].split(", ")
    return {"name": name, "driver": driver, "memory": memory, "cuda": torch.version.cuda}
