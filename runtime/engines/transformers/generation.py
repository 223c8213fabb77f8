"""A language model in transformers' continuous batching; imported only by a starting engine.

Written for transformers 5.17 to 5.19. Beyond the documented interface it puts two parts of its own
into the manager: a router, because result handlers leak with every cancelled request, and what
chooses tokens, because the manager's sampling is the same for all. On a GPU a third: what records
steps (`DecodeGraphs`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
import transformers
from transformers.generation.continuous_batching.continuous_api import OutputRouter

from teola.runtime.engines.kv_budget import KVBudget
from teola.runtime.engines.protocol import Generate, Grammar
from teola.runtime.engines.torch_settings import torch_settings
from teola.runtime.engines.transformers import decode_graphs, gpu_memory
from teola.runtime.engines.transformers.decode_graphs import DecodeGraphs
from teola.runtime.engines.transformers.packed_attention import attend_packed, can_attend_packed
from teola.runtime.engines.transformers.packed_linear import pack_output_layer
from teola.runtime.engines.transformers.sequence_attention import attend_by_sequence
from teola.runtime.engines.transformers.token_choice import Allowed, TokenChoices, choice_of
from teola.runtime.engines.transformers.told import Told
from teola.runtime.engines.transformers.versions import batching_config, keep_plain_attention

if TYPE_CHECKING:
    from teola.runtime.engines.transformers.grammars import Grammars

NO_END = -1
Output: TypeAlias = Any
"""transformers' ``GenerationOutput``: ``generated_tokens`` holds all tokens so far."""
Take: TypeAlias = Callable[[list[Output]], None]
Ended: TypeAlias = Callable[[BaseException | None], None]


class StepRouter(OutputRouter):  # type: ignore[misc]  # transformers publishes no types
    """Hands over the outputs of one step together."""

    def __init__(self, take: Take) -> None:
        super().__init__()
        self._take = take

    def deliver(self, output: Output) -> None:
        """One output that belongs to no step: a request that failed."""
        self._take([output])

    def deliver_batch(self, outputs: Iterable[Output]) -> None:
        """The outputs of one step."""
        self._take(list(outputs))


class Generation:
    """Loads a model folder and runs its background loop.

    Args:
        folder: the model.
        config: the engine's canonical config.
        take: gets the outputs of each step, on the loop's thread; none before one without any.
        ended: told once, on another thread, when the loop has ended, with the error that ended it.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], take: Take, ended: Ended) -> None:
        transformers.utils.logging.disable_progress_bar()
        settings = torch_settings(config)
        self._folder = folder
        self._grammars: Grammars | None = None
        self._graphs: DecodeGraphs | None = None
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=settings.dtype, local_files_only=True
        )
        model.to(settings.device).eval()
        text = model.config.get_text_config()
        self.context = int(text.max_position_embeddings)
        self.vocabulary = int(text.vocab_size)
        self.ends = _ends(model)
        if settings.device == "cpu" and settings.dtype is torch.float32:
            pack_output_layer(model)
        self.budget = _budget(model, config)
        self.details = {**settings.details, "page_tokens": self.budget.page_tokens}
        self._manager = self._start(model, take, eager=bool(config.get("enforce_eager")))
        threading.Thread(target=self._watch, args=(ended,), daemon=True).start()

    def _start(self, model: Any, take: Take, *, eager: bool) -> Any:
        keep_plain_attention(model)
        packed = can_attend_packed(model)
        record = packed and not eager
        manager = model.init_continuous_batching(
            generation_config=transformers.GenerationConfig(
                do_sample=False, eos_token_id=sorted(self.ends) or NO_END
            ),
            continuous_batching_config=batching_config(
                # Sizes of one's own: automatic sizing takes minutes on a CPU.
                page_size=self.budget.page_tokens,
                num_blocks=self.budget.pages,
                max_batch_tokens=self.budget.batch_tokens,
                max_requests_per_batch=self.budget.max_requests,
                allow_block_sharing=True,
                max_memory_percent=1.0,  # the budget leaves room
                max_blocks_per_request=0,
                auto_switch_to_flash=False,  # it would fetch kernels
                # Tokens are chosen on the host, each after the last one is known.
                use_async_batching=False,
                **(decode_graphs.SETTINGS if record else decode_graphs.NO_GRAPHS),
            ),
        )
        if packed:
            attend_packed(model)
        self.details |= {"attention": _attention(model, packed), "cuda_graphs": record}
        manager.output_router = StepRouter(take)
        manager.logit_processor = choices = TokenChoices(lambda: take([]))
        manager.start()
        if _on_gpu(model):
            self._graphs = _before_first_step(manager, choices, record=record)
        return manager

    @property
    def state(self) -> Mapping[str, Any]:
        """What has become of the CUDA graphs, where there are any."""
        return {} if self._graphs is None else {"cuda_graphs": self._graphs.count}

    def _watch(self, ended: Ended) -> None:
        self._manager.join(perf_counter())
        ended(self._manager.background_thread_status.fatal_error)

    def begin(self, grammar: Grammar) -> Allowed:
        """A grammar that a request is to follow; the first one takes seconds.

        Raises:
            UnsupportedError: it cannot be followed.
        """
        from teola.runtime.engines.transformers.grammars import Grammars

        if self._grammars is None:
            self._grammars = Grammars(self._folder, self.vocabulary, self.ends)
        return self._grammars.begin(grammar)

    def add(
        self, request: Generate, grammar: Allowed | None = None, told: Told | None = None
    ) -> bool:
        """Queue a request that fits; False when the loop takes no more. What there is to tell of
        its tokens is there with the tokens, in ``told``."""
        added = self._manager.add_request(
            list(request.tokens),
            request_id=request.id,
            max_new_tokens=request.max_tokens,
            streaming=request.stream or bool(request.sampling.stop),
            eos_token_id=NO_END if request.ignore_eos else None,
            **choice_of(request, grammar, told),
        )
        return added is not None

    @property
    def shares_prefixes(self) -> bool:
        """Whether prompts that begin alike share pages (not where layers see a window only); known
        after the first step."""
        processor = self._manager.batch_processor
        return processor is not None and bool(processor.cache.use_prefix_sharing)

    def cancel(self, request_id: str) -> None:
        """Drop a request before the next step; nothing more is said of it. An id that the loop has
        not heard of yet is ignored: cancel again when it shows up."""
        self._manager.cancel_request(request_id)

    def stop(self) -> None:
        """End the loop after the running step."""
        self._manager.stop(block=False, hard_stop=True)


def _on_gpu(model: Any) -> bool:
    return str(model.device.type) != "cpu"


def _budget(model: Any, config: Mapping[str, Any]) -> KVBudget:
    """What may be asked of a model that is where it runs."""
    if model.device.type == "cpu":
        return KVBudget.of(config)
    text, item_bytes = model.config.get_text_config(), model.dtype.itemsize

    def fitting(empty: KVBudget) -> int:
        return gpu_memory.pages_that_fit(
            gpu_memory.measure(model.device),
            gpu_memory.KVShape.of(text, item_bytes),
            utilization=config.get("gpu_memory_utilization"),
            page_tokens=empty.page_tokens,
            batch_tokens=empty.batch_tokens,
            most_tokens=empty.most_requests * int(text.max_position_embeddings),
            item_bytes=item_bytes,
        )

    return KVBudget.on_gpu(config, fitting)


def _attention(model: Any, packed: bool) -> str:
    """How the tokens of a step meet their keys, said in the engine's details."""
    if packed:
        return "flash"
    return "by sequence" if attend_by_sequence(model) else "masked"


def _before_first_step(manager: Any, choices: TokenChoices, *, record: bool) -> DecodeGraphs | None:
    """What records steps, once the loop has what runs them; None where it has ended at once."""
    while manager.batch_processor is None and manager.is_running():
        sleep(0.01)
    if manager.batch_processor is None:
        return None
    most = decode_graphs.MOST_GRAPHS if record else 0
    return DecodeGraphs(manager.batch_processor.model_runner, choices, most)


def _ends(model: Any) -> frozenset[int]:
    """The tokens that end an answer."""
    for config in (model.generation_config, model.config.get_text_config()):
        found = getattr(config, "eos_token_id", None)
        if found is not None:
            return frozenset([found] if isinstance(found, int) else found)
    return frozenset()
