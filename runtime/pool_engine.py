"""One engine of a pool: its weights, its start, its scheduler, its deaths."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

from teola.compiler.engines import LOCAL
from teola.compiler.errors import TeolaError
from teola.runtime.engine_scheduler import BatchScheduler
from teola.runtime.engines.protocol import Capabilities
from teola.runtime.engines.registry import find_entry
from teola.runtime.engines.tokenizer import Tokenizer, load_tokenizer
from teola.runtime.errors import ModelError
from teola.runtime.events import EngineStatus
from teola.runtime.hosts import EngineDied, EngineHandle, connect
from teola.runtime.llm_scheduler import LLMScheduler
from teola.runtime.models import ensure
from teola.runtime.observing.engine_watch import UNWATCHED, EngineWatch
from teola.runtime.policies import DEFAULT_POLICY, POLICIES

Action = Callable[[TeolaError | None], None]
Wrap = Callable[[EngineHandle, Mapping[str, Any]], EngineHandle]
"""Puts something between a pool and an engine, given the engine's config."""
MAX_RESTARTS = 3
RESTART_DELAY_S = 0.5
STABLE_S = 60.0
"""An engine that lived so long starts anew with MAX_RESTARTS restarts."""


class PooledEngine:
    """An engine and everything around it. ``when_fetched`` and ``when_ready`` call an action once
    the weights are local, or the engine takes work; with the error where that failed."""

    def __init__(
        self,
        name: str,
        identity: str,
        config: Mapping[str, Any],
        on_status: Callable[[EngineStatus], None],
        wrap: Wrap = lambda handle, _: handle,
        watch: EngineWatch = UNWATCHED,
        policy: str = DEFAULT_POLICY,
    ) -> None:
        self.name, self.identity, self.config = name, identity, dict(config)
        self.kind = str(config["kind"])
        self.on_status = on_status
        self.wrap = wrap
        self.entry = find_entry(self.kind, str(config["backend"]))
        self.capabilities = Capabilities()
        self.batches = BatchScheduler(POLICIES[policy](), self.capabilities.max_items)
        self.calls = LLMScheduler(POLICIES[policy]())
        self.watch = self.batches.watch = self.calls.watch = watch
        self.handle: EngineHandle | None = None
        self.fetched = self.ready = False
        self.error: TeolaError | None = None
        self.restarts = 0
        self.up_s = 0.0
        self.start_s = asyncio.get_running_loop().time()
        self.stop_fetching = threading.Event()
        self.waiting: dict[str, list[Action]] = {"fetched": [], "ready": []}
        self.on_restart: list[Callable[[], None]] = []
        self.jobs: set[asyncio.Task[None]] = set()
        self._tokenizer: Tokenizer | None = None
        self._job(self._start())

    @property
    def epoch(self) -> int:
        """The engine's life: handles to state of another one are void."""
        return self.handle.epoch if self.handle is not None else 0

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
            handle = connect(self.entry, self.config, on_status=self.status)
            handle = self.wrap(handle, self.config)
            self.handle = handle
            if self.kind == "llm":
                handle.listen(self.calls.events)
            self.capabilities = self._checked(await handle.start())
            await reading
            self._up(handle)
        except TeolaError as error:
            self._failed(error)
        except Exception as error:  # noqa: BLE001 - a start may raise anything
            self._failed(TeolaError(f"{type(error).__name__}: {error}"))

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
        if self.entry.weights and self.kind in ("llm", "embedder"):
            with suppress(TeolaError):
                self._tokenizer = await asyncio.to_thread(load_tokenizer, self.config)
        if self.error is None:
            self.fetched = True
            self._reached("fetched")

    def _checked(self, found: Capabilities) -> Capabilities:
        """What an engine can do; one that would never be given anything is an error."""
        needed = ("kv_tokens", "max_requests") if self.kind == "llm" else ("max_items",)
        for name in needed:
            if getattr(found, name) < 1:
                raise TeolaError(
                    f"engine '{self.name}' started with {name} = {getattr(found, name)}: "
                    "it could never be given any work; an engine must say at least 1"
                )
        return found

    def _up(self, handle: EngineHandle) -> None:
        self.ready = True
        self.up_s = asyncio.get_running_loop().time()
        if self.watch:
            self.watch.ready(self.start_s)
        if self.kind == "llm":
            self.calls.start(handle, self.capabilities)
        else:
            self.batches.start(handle, self.capabilities.max_items)
        handle.died.add_done_callback(self._died)
        self.status("ready")
        self._reached("ready")

    def _failed(self, error: TeolaError) -> None:
        self._give_up(error)
        self.status("failed", None, str(error))

    def _give_up(self, error: TeolaError) -> None:
        """Whoever waits for the engine, or will, gets the error."""
        self.error, self.ready, self.fetched = error, False, False
        self.batches.fail(str(error))
        self.calls.fail(str(error))
        self._reached("fetched")
        self._reached("ready")

    def _died(self, died: asyncio.Future[EngineDied]) -> None:
        if died.cancelled() or self.handle is None:
            return
        self.ready = False
        message = str(died.result())
        self.status("failed", None, message)
        self.batches.pause()
        self.calls.died(message)
        for listener in self.on_restart:
            listener()
        self._job(self._restart(message))

    async def _restart(self, message: str) -> None:
        """Bring the engine back with backoff; give up after MAX_RESTARTS deaths."""
        loop = asyncio.get_running_loop()
        self.restarts = 1 if loop.time() - self.up_s > STABLE_S else self.restarts + 1
        if self.handle is None or self.restarts > MAX_RESTARTS:
            self._failed(TeolaError(f"the engine died {self.restarts} times: {message}"))
            return
        await asyncio.sleep(RESTART_DELAY_S * 2 ** (self.restarts - 1))
        try:
            self.start_s = loop.time()
            self.status("loading", None, "restarting")
            self.capabilities = self._checked(await self.handle.restart())
        except Exception as error:  # noqa: BLE001 - as a start
            self._failed(TeolaError(f"the engine died ({message}) and did not restart: {error}"))
            return
        self._up(self.handle)

    async def close(self) -> None:
        """Stop the engine."""
        self.stop_fetching.set()
        handle, self.handle = self.handle, None
        self._give_up(TeolaError("the engine pool was closed"))
        for job in tuple(self.jobs):
            job.cancel()
        await asyncio.gather(*self.jobs, return_exceptions=True)
        await self.batches.close()
        await self.calls.close()
        if handle is not None:
            await handle.close()

    def check_integrity(self) -> list[str]:
        """What should not be there when nothing runs."""
        problems = self.batches.check_integrity() + self.calls.check_integrity()
        return [f"engine {self.name}: {problem}" for problem in problems]
