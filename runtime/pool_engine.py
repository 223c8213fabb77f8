"""One engine of a pool: its weights, its replicas, the queues before them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from teola.compiler.engines import LOCAL, fingerprint
from teola.compiler.errors import TeolaError
from teola.runtime.engine_scheduler import BatchScheduler
from teola.runtime.engines.protocol import Capabilities
from teola.runtime.engines.registry import find_entry
from teola.runtime.engines.tokenizer import Tokenizer, load_tokenizer
from teola.runtime.errors import ModelError
from teola.runtime.events import EngineStatus
from teola.runtime.hosts import EngineHandle, connect
from teola.runtime.llm.scheduler import LLMScheduler
from teola.runtime.models import ensure
from teola.runtime.observing.engine_watch import UNWATCHED, EngineWatch
from teola.runtime.placement import Placement
from teola.runtime.policies import Policy, RemainingWork
from teola.runtime.replica import Queues, Replica
from teola.runtime.turn import Turn

LOG = logging.getLogger(__name__)
Action = Callable[[TeolaError | None], None]
Wrap = Callable[[EngineHandle, Mapping[str, Any]], EngineHandle]
"""Puts something between a pool and a replica of an engine, given its config."""


class PooledEngine:
    """An engine and everything around it. ``when_fetched`` and ``when_ready`` call an action once
    the weights are local, or a replica takes work; with the error where that failed.

    The replicas of a store have a queue each, for a collection lives on one of them (``at``); those
    of all other engines share one.
    """

    def __init__(
        self,
        name: str,
        identity: str,
        config: Mapping[str, Any],
        on_status: Callable[[EngineStatus], None],
        wrap: Wrap = lambda handle, _: handle,
        watch: EngineWatch = UNWATCHED,
        policy: Callable[[], Policy] = RemainingWork,
        turn: Turn | None = None,
    ) -> None:
        self.name, self.identity, self.config = name, identity, dict(config)
        self.fingerprint = fingerprint(config)
        self.kind = str(config["kind"])
        self.on_status = on_status
        self.wrap, self.watch, self.policy = wrap, watch, policy
        self.turn = turn or Turn()
        self.entry = find_entry(self.kind, str(config["backend"]))
        self.count = int(config.get("replicas") or 1)
        self.capabilities = Capabilities()
        self.queues = self._queues()
        self.calls = self.queues.calls
        self.replicas: list[Replica] = []
        self.placement = Placement(self.replicas)
        self.fetched = self.ready = False
        self.error: TeolaError | None = None
        self.stop_fetching = threading.Event()
        self.waiting: dict[str, list[Action]] = {"fetched": [], "ready": []}
        self.on_death: list[Callable[[Replica], None]] = []
        self.jobs: set[asyncio.Task[None]] = set()
        self._tokenizer: Tokenizer | None = None
        self._job(self._start())

    @property
    def stores(self) -> bool:
        """Whether its replicas hold collections."""
        return self.kind == "store"

    @property
    def batches(self) -> tuple[BatchScheduler, ...]:
        """The queues of batches: one, or one for each replica of a store."""
        own = tuple(dict.fromkeys(one.queues.batches for one in self.replicas))
        return own or (self.queues.batches,)

    def at(self, collection: str) -> Replica:
        """Where a collection lives; any replica (all have one queue) where it is no store. Only
        once the engine was ready."""
        return self.placement.of(collection) if self.stores else self.replicas[0]

    def _queues(self) -> Queues:
        return Queues(
            BatchScheduler(self.policy(), self.watch, self.turn),
            LLMScheduler(self.policy(), self.watch, self.turn),
        )

    def _job(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        job = asyncio.get_running_loop().create_task(work)
        self.jobs.add(job)
        job.add_done_callback(self.jobs.discard)
        return job

    def when_fetched(self, action: Action) -> None:
        """Call ``action`` once the weights (and so the tokenizer) are local."""
        self._when("fetched", self.fetched, action)

    def when_ready(self, action: Action) -> None:
        """Call ``action`` once the engine takes work."""
        self._when("ready", self.ready, action)

    def _when(self, stage: str, there: bool, action: Action) -> None:
        if there or self.error is not None:
            action(None if there else self.error)
        else:
            self.waiting[stage].append(action)

    def _reached(self, stage: str) -> None:
        actions, self.waiting[stage] = self.waiting[stage], []
        for action in actions:
            action(self.error)

    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the engine's model; only once it is fetched."""
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(self.config)
        return self._tokenizer

    def status(self, state: str, fraction: float | None = None, detail: str = "") -> None:
        """Tell how the start goes on."""
        self.on_status(EngineStatus(self.name, state, fraction, detail))

    async def _start(self) -> None:
        try:
            await self._fetch()
            reading = self._job(self._read_tokenizer())
            self.status("loading", None, str(self.config.get("model") or ""))
            for number in range(1, self.count + 1):
                self.replicas.append(self._replica(number))
            await self._start_all()
            self.capabilities = self.replicas[0].capabilities
            await reading
            for replica in self.replicas:
                replica.serve()
            self._is_ready()
        except TeolaError as error:
            self._failed(error)
        except Exception as error:  # noqa: BLE001 - a start may raise anything
            self._failed(TeolaError(f"{type(error).__name__}: {error}"))

    async def _start_all(self) -> None:
        """Bring all replicas up; the first error counts, once all have ended to start."""
        starts = (replica.start() for replica in self.replicas)
        for outcome in await asyncio.gather(*starts, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    def grow(self, count: int) -> None:
        """Have at least so many replicas: another workflow asks for them."""
        if count > self.count:
            self.count = count
            if self.ready:
                self._job(self._start_more())

    async def _start_more(self) -> None:
        while len(self.replicas) < self.count:
            replica = self._replica(len(self.replicas) + 1)
            self.replicas.append(replica)
            try:
                await replica.start()
            except Exception as error:  # noqa: BLE001 - a start may raise anything
                replica.again(f"it did not start: {error}", up=False)
            else:
                replica.serve()

    def _replica(self, number: int) -> Replica:
        config = self._dealt(number)
        status = self.status if self.count == 1 else partial(self._status_of, number)
        return Replica(
            number,
            self,
            self._queues() if self.stores and number > 1 else self.queues,
            self.wrap(connect(self.entry, config, on_status=status), config),
            self.watch.of(number),
            llm=self.kind == "llm",
        )

    def _dealt(self, number: int) -> Mapping[str, Any]:
        """The settings of one replica: it has its part of the cores."""
        cores = self.config.get("cores")
        if not cores or self.count == 1:
            return self.config
        low, high = ((number - 1) * len(cores)) // self.count, number * len(cores) // self.count
        return {**self.config, "cores": cores[low:high]}

    def _status_of(self, number: int, state: str, fraction: float | None, detail: str) -> None:
        """One of several replicas is not the engine: that all are ready is told once."""
        if state not in ("ready", "failed"):
            which = f"replica {number} of {self.count}"
            self.status(state, fraction, f"{which}: {detail}" if detail else which)

    async def _fetch(self) -> None:
        if not self.entry.weights:
            return
        if self.config.get("model") == LOCAL and not self.config.get("path"):
            raise ModelError(
                f"the model of engine '{self.name}' is a local folder, which a plan does not name: "
                f"--set engines.{self.name}.path=FOLDER"
            )
        loop = asyncio.get_running_loop()

        def progress(state: str, fraction: float | None, detail: str) -> None:
            loop.call_soon_threadsafe(self.status, state, fraction, detail)

        folder = await asyncio.to_thread(
            ensure, self.config, progress, cancelled=self.stop_fetching
        )
        self.config["path"] = str(folder)

    async def _read_tokenizer(self) -> None:
        """Have the tokenizer there before somebody asks for it: reading it would hold up the loop.
        That it cannot be read, whoever asks for it is told."""
        if self.config.get("path") and self.kind in ("llm", "embedder"):
            with suppress(TeolaError):
                self._tokenizer = await asyncio.to_thread(load_tokenizer, self.config)
        if self.error is None:
            self.fetched = True
            self._reached("fetched")

    def check(self, found: Capabilities) -> Capabilities:
        """What a replica can do; one that would never be given anything is an error."""
        needed = ("kv_tokens", "max_requests") if self.kind == "llm" else ("max_items",)
        for name in needed:
            if getattr(found, name) < 1:
                raise TeolaError(
                    f"engine '{self.name}' started with {name} = {getattr(found, name)}: "
                    "it could never be given any work; an engine must say at least 1"
                )
        return found

    def up(self, replica: Replica) -> None:
        """A replica takes work again."""
        LOG.info("replica %d of engine %s is up again", replica.number, self.name)
        self._is_ready()

    def _is_ready(self) -> None:
        self.error, self.fetched, self.ready = None, True, True
        self.status("ready")
        self._reached("ready")
        if len(self.replicas) < self.count:
            self._job(self._start_more())

    def down(self, replica: Replica, message: str) -> None:
        """A replica has died, or did not come up again; it will be started once more."""
        self.ready = any(one.ready for one in self.replicas)
        for listener in self.on_death:
            listener(replica)
        if self.stores and replica.circuit.open:
            replica.queues.batches.fail(self._refusal(replica, message))
        if not self.ready and all(one.circuit.open for one in self.replicas):
            self._failed(TeolaError(self._refusal(replica, message)))
        elif self.ready:
            self.status("ready", None, f"replica {replica.number} of {self.count}: {message}")
        else:
            self.status("failed", None, message)

    def _refusal(self, replica: Replica, message: str) -> str:
        return f"the engine died {replica.circuit.deaths} times: {message}"

    def _failed(self, error: TeolaError) -> None:
        self._give_up(error)
        self.status("failed", None, str(error))

    def _give_up(self, error: TeolaError) -> None:
        """Whoever waits for the engine gets the error, and whoever comes until it is up."""
        self.error, self.ready, self.fetched = error, False, False
        for queue in self.batches:
            queue.fail(str(error))
        self.calls.fail(str(error))
        self._reached("fetched")
        self._reached("ready")

    async def close(self) -> None:
        """Stop the engine."""
        self.stop_fetching.set()
        self._give_up(TeolaError("the engine pool was closed"))
        for job in tuple(self.jobs):
            job.cancel()
        await asyncio.gather(*self.jobs, return_exceptions=True)
        for queue in self.batches:
            await queue.close()
        await self.calls.close()
        await asyncio.gather(*(replica.close() for replica in self.replicas))

    async def inspect(self) -> list[str]:
        """What its replicas hold and should not when nothing runs."""
        return [
            f"engine {self.name}, replica {replica.number}: {problem}"
            for replica in tuple(self.replicas)
            for problem in await replica.inspect()
        ]

    def check_integrity(self) -> list[str]:
        """What should not be there when nothing runs."""
        queues = (*self.batches, self.calls)
        problems = [problem for queue in queues for problem in queue.check_integrity()]
        return [f"engine {self.name}: {problem}" for problem in problems]
