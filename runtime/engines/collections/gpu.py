"""The one thread that works with a GPU: FAISS's indexes there do not even bear two readers."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar, cast

from teola.runtime.errors import RunError

GPU_COUNT = 2048
"""Neighbours that FAISS finds on a GPU."""
SCRATCH_BYTES = 256 * 2**20
"""What FAISS keeps of the GPU's memory to work in: by itself it takes 1.5 GiB, beside models."""

T = TypeVar("T")


class Dispatcher:
    """Does everything on one GPU, whichever engine wants it, in the order in which it is asked."""

    def __init__(self, device: int) -> None:
        self._device = device
        self._thread = ThreadPoolExecutor(1, f"teola-gpu-{device}")
        self._resources: Any = None

    def start(self) -> None:
        """Take what FAISS needs of the GPU.

        Raises:
            RunError: this FAISS is for CPUs only, or sees no such GPU.
        """
        self.do(self._take)

    def do(self, work: Callable[[], T]) -> T:
        """What ``work`` gives, done by the thread."""
        return self._thread.submit(work).result()

    def later(self, work: Callable[[], None]) -> None:
        """Have ``work`` done, and do not wait for it."""
        self._thread.submit(work)

    def copy(self, index: Any) -> Any:
        """An index of the CPU on the GPU; only for the thread."""
        import faiss

        return faiss.index_cpu_to_gpu(self._resources, self._device, index)

    def _take(self) -> None:
        import faiss

        if self._resources is not None:
            return
        if not hasattr(faiss, "StandardGpuResources"):
            raise RunError(
                "device: cuda needs a FAISS for GPUs (pip install faiss-gpu, in place of "
                "faiss-cpu); this one knows only device: cpu"
            )
        count = faiss.get_num_gpus()
        if count <= self._device:
            seen = f"{count} on this machine, cuda:0 is the first" if count else "none"
            raise RunError(
                f"device: cuda:{self._device}: of GPUs FAISS sees {seen}; device: cpu needs none"
            )
        self._resources = faiss.StandardGpuResources()
        self._resources.setTempMemory(SCRATCH_BYTES)


class OnGpu:
    """The copy of an index on a GPU; whoever lets go of it, the GPU's thread removes it."""

    def __init__(self, index: Any, gpu: Dispatcher) -> None:
        held = [gpu.do(lambda: gpu.copy(index))]
        self._held, self._gpu, self.ntotal = held, gpu, int(index.ntotal)
        weakref.finalize(self, gpu.later, held.clear).atexit = False

    def search(self, queries: Any, count: int, params: Any = None) -> tuple[Any, Any]:
        """As FAISS's."""
        (copy,) = self._held
        found = self._gpu.do(lambda: copy.search(queries, count, params=params))
        return cast("tuple[Any, Any]", found)


@cache
def dispatcher(device: int) -> Dispatcher:
    """The one of a GPU, for all stores of this process."""
    return Dispatcher(device)
