"""A language model in transformers' continuous batching; imported only by a starting engine.

Written for transformers 5.17 to 5.19. Beyond the documented interface it puts two parts of its own
into the manager: a router, because result handlers leak with every cancelled request, and what
chooses tokens, because the manager's sampling is the same for all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
import transformers
from transformers.generation.continuous_batching.continuous_api import OutputRouter

from teola.runtime.engines.kv_budget import KVBudget
from teola.runtime.engines.protocol import Generate, Grammar
from teola.runtime.engines.torch_settings import torch_settings
from teola.runtime.engines.transformers.packed_linear import pack_output_layer
from teola.runtime.engines.transformers.sequence_attention import attend_by_sequence
from teola.runtime.engines.transformers.token_choice import Allowed, TokenChoices, choice_of

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
        take: gets the outputs of each step, on the loop's thread.
        ended: told once, on another thread, when the loop has ended, with the error that ended it.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], take: Take, ended: Ended) -> None:
        transformers.utils.logging.disable_progress_bar()
        settings = torch_settings(config)
        self._folder = folder
        self._grammars: Grammars | None = None
        self.budget = KVBudget.of(config)
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
        self.details = {**settings.details, "page_tokens": self.budget.page_tokens}
        self._manager = self._start(model, take)
        threading.Thread(target=self._watch, args=(ended,), daemon=True).start()

    def _start(self, model: Any, take: Take) -> Any:
        manager = model.init_continuous_batching(
            generation_config=transformers.GenerationConfig(
                do_sample=False, eos_token_id=sorted(self.ends) or NO_END
            ),
            continuous_batching_config=transformers.ContinuousBatchingConfig(
                # Sizes of one's own: automatic sizing takes minutes on a CPU.
                page_size=self.budget.page_tokens,
                num_blocks=self.budget.pages,
                max_batch_tokens=self.budget.batch_tokens,
                max_requests_per_batch=self.budget.max_requests,
                allow_block_sharing=True,
                auto_switch_to_flash=False,  # it would fetch kernels
                # Tokens are chosen on the host, each after the last one is known.
                use_cuda_graph=False,
                use_async_batching=False,
            ),
        )
        if model.device.type == "cpu":
            attend_by_sequence(model)
        manager.output_router = StepRouter(take)
        manager.logit_processor = TokenChoices()
        manager.start()
        return manager

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

    def add(self, request: Generate, grammar: Allowed | None = None) -> bool:
        """Queue a request that fits; False when the loop takes no more."""
        added = self._manager.add_request(
            list(request.tokens),
            request_id=request.id,
            max_new_tokens=request.max_tokens,
            streaming=request.stream or bool(request.sampling.stop),
            eos_token_id=NO_END if request.ignore_eos else None,
            **choice_of(request, grammar),
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


def _ends(model: Any) -> frozenset[int]:
    """The tokens that end an answer."""
    for config in (model.generation_config, model.config.get_text_config()):
        found = getattr(config, "eos_token_id", None)
        if found is not None:
            return frozenset([found] if isinstance(found, int) else found)
    return frozenset()
