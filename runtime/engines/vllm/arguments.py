"""An engine's config as vLLM wants it: environment variables and arguments."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from teola.runtime.errors import ModelError

GIB = 1 << 30
CPU_BLOCK_TOKENS = 32
"""vLLM's kernels for CPUs want a multiple of it; larger blocks share less of a prefix."""
CPU_KV_GIB = 1.0
"""vLLM's own default is nearly all of the machine's memory."""
LORA_RANKS = (8, 16, 32, 64, 128, 256)
"""The bounds that vLLM takes for the rank of adapters."""
MOST_AT_ONCE = 8
"""Adapters of one step; vLLM keeps room for so many on the device."""
SAME = (
    "max_model_len",
    "gpu_memory_utilization",
    "block_size",
    "max_num_seqs",
    "max_num_batched_tokens",
    "max_num_queued_reqs",
    "tensor_parallel_size",
    "enforce_eager",
)
"""Settings that vLLM's arguments name alike."""


def environment(config: Mapping[str, Any]) -> dict[str, str]:
    """Variables that must be set before vLLM is imported."""
    found = {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # this process has threads: a fork may hang
        "VLLM_WORKER_SHUTDOWN_TIMEOUT_SECONDS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }
    cores = sorted(os.sched_getaffinity(0))
    threads = int(config.get("threads") or len(cores))
    if config.get("cores"):
        found["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(map(str, cores[:threads]))
    return {**found, "OMP_NUM_THREADS": str(threads)}


def arguments(folder: Path, config: Mapping[str, Any], dtype: str, *, cpu: bool) -> dict[str, Any]:
    """The arguments of vLLM's engine for the model in ``folder``."""
    found: dict[str, Any] = {
        "model": str(folder),
        "dtype": dtype,
        "seed": 0,
        "disable_log_stats": False,
        **({"block_size": CPU_BLOCK_TOKENS, "enforce_eager": True} if cpu else {}),
        **{name: config[name] for name in SAME if config.get(name) is not None},
    }
    gib = config.get("kv_cache_gib") or (CPU_KV_GIB if cpu else None)
    if gib is not None:
        found["kv_cache_memory_bytes"] = int(gib * GIB)
    return found


def adapter_folders(config: Mapping[str, Any]) -> dict[str, Path]:
    """Where the LoRA adapters of an engine are, by name; that of calls which name none has the name
    "".

    Raises:
        ModelError: a folder is not named.
    """
    named = {"": config["lora"]} if config.get("lora") is not None else {}
    found = {**named, **(config.get("adapters") or {})}
    for name, folder in found.items():
        if not folder:
            where = f"adapters.{name}" if name else "lora"
            raise ModelError(
                "the folder of a LoRA adapter is not named in a plan: "
                f"--set engines.NAME.{where}=FOLDER"
            )
    return {name: Path(folder).expanduser() for name, folder in found.items()}


def lora_arguments(folders: Collection[Path]) -> dict[str, Any]:
    """The arguments for LoRA adapters; their ranks stand in their configs.

    Raises:
        ModelError: a folder holds no adapter that vLLM takes.
    """
    rank = max(map(_rank, folders))
    return {
        "enable_lora": True,
        "max_loras": min(len(folders), MOST_AT_ONCE),
        "max_cpu_loras": len(folders),
        "max_lora_rank": next(one for one in LORA_RANKS if one >= rank),
    }


def _rank(folder: Path) -> int:
    path = folder / "adapter_config.json"
    try:
        rank = int(json.loads(path.read_text(encoding="utf-8"))["r"])
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder} holds no LoRA adapter ({error})") from error
    if rank > LORA_RANKS[-1]:
        most = LORA_RANKS[-1]
        raise ModelError(f"the LoRA adapter in {folder} has rank {rank}; vLLM takes {most}")
    return rank
