"""An LLM scheduler before scripted replicas that go on with whatever their prompts end with."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from zlib import crc32

from teola.runtime.circuit import Circuit
from teola.runtime.engines.protocol import Failure, Sampling, TokenEvent
from teola.runtime.hosts.errors import EngineDied
from teola.runtime.limits import Limits
from teola.runtime.llm.scheduler import LLMScheduler
from teola.runtime.llm.task import LLMTask
from teola.runtime.policies import RemainingWork
from teola.runtime.simulation.clock import run_virtually
from tests.runtime.llm_desk import KEEPS, PLACE, Caller, Owner

END = 0
GOES_ON = replace(KEEPS, continues=True)


def next_token(tokens):
    """What a greedy model says after ``tokens``: END now and then."""
    return crc32(repr(list(tokens)).encode()) % 20


def greedy(prompt, max_tokens):
    """The whole answer to a prompt, and how it ends."""
    tokens = list(prompt)
    for _ in range(max_tokens):
        token = next_token(tokens)
        if token == END:
            return tokens[len(prompt) :], "stop"
        tokens.append(token)
    return tokens[len(prompt) :], "length"


class Machine:
    """One replica. It holds what was submitted and is neither ended nor aborted, and generates when
    it is told to. Where its memory does not suffice for what is ``live``, its ``victims`` fail, in
    several messages where these are lists."""

    def __init__(self, fleet, number):
        self.fleet, self.number = fleet, number
        self.sent, self.aborted, self.live = [], [], {}
        self.answers = asyncio.Event()
        self.suffices = lambda live: True
        self.victims = list
        self.replica = None
        self.circuit = Circuit()
        self.start()

    def start(self):
        """It is up (again)."""
        self.answers.set()
        self.live = {}
        scheduler, capabilities = self.fleet.scheduler, self.fleet.capabilities
        self.replica = scheduler.start(self, capabilities, self.circuit, self._is_lost)

    def _is_lost(self, message):
        self.fleet.lost.append((self.number, message))
        self.die(message)

    @property
    def up(self):
        return self in self.fleet.scheduler.replicas

    def die(self, message="gone"):
        """It ends, and comes back when it is started."""
        self.live = {}
        self.circuit.died(0.0)
        self.fleet.scheduler.stop(self, message)

    async def submit(self, requests):
        if not self.up:
            raise EngineDied("it is down")
        await self.answers.wait()
        self.sent += requests
        self.live |= {one.id: (one, list(one.tokens)) for one in requests}
        self._look_at_memory()

    def _look_at_memory(self):
        while not self.suffices(self.live):
            for names in self.victims([list(self.live)]):
                self.fail(*names, kind="memory")

    async def abort(self, ids):
        await self.answers.wait()
        self.aborted += ids
        for one in ids:
            self.live.pop(one, None)

    def hang(self):
        """It answers nothing from now on."""
        self.answers.clear()

    def step(self, request_id, count=1):
        """The next tokens of a call, or the only event of a warm-up."""
        request, tokens = self.live[request_id]
        new, reason = [], "length" if request.warm else None
        while reason is None and len(new) < count:
            token = next_token(tokens)
            if token == END:
                reason = "stop"
                break
            new.append(token)
            tokens.append(token)
            if len(tokens) == len(request.tokens) + request.max_tokens:
                reason = "length"
        if reason is not None:
            del self.live[request_id]
        self.replica.events([TokenEvent(request_id, new, reason)])
        self._look_at_memory()

    def fail(self, *request_ids, kind="engine"):
        """Calls fail, all in one message."""
        for one in request_ids:
            self.live.pop(one, None)
        failure = Failure(kind, "spoilt")
        self.replica.events([TokenEvent(one, (), failure=failure) for one in request_ids])

    def is_new(self, request_id):
        """Whether it has generated nothing for a call."""
        request, tokens = self.live[request_id]
        return len(tokens) == len(request.tokens)

    @property
    def calls(self):
        """What it holds, without warm-ups."""
        return [one for one, (request, _) in self.live.items() if not request.warm]

    @property
    def held(self):
        """The KV tokens of what it holds."""
        return sum(len(one.tokens) + one.max_tokens for one, _ in self.live.values())


class Fleet:
    """``count`` machines behind one scheduler; ``lost`` are those that hung or said they died."""

    def __init__(self, count=1, **capabilities):
        self.capabilities = replace(GOES_ON, **capabilities)
        self.scheduler = LLMScheduler(RemainingWork())
        self.lost = []
        self.machines = [Machine(self, number) for number in range(count)]

    async def call(self, tokens, max_tokens=8, *, left=False, resumable=True, **limits):
        """Queue a call; ``left``: its text is read as it comes."""
        task = LLMTask(tokens, max_tokens, False, PLACE, Limits(**limits), Caller(left))
        task.sampling = Sampling(stop=() if resumable else ("no such text",))
        self.scheduler.submit(task)
        await turn()
        return task

    async def warm(self, tokens, owner=None):
        """Offer a warm-up."""
        owner = owner or Owner()
        self.scheduler.warm(owner, tokens, 1)
        await turn()
        return owner

    async def finish(self):
        """Generate until nothing is left to do."""
        for _ in range(1000):
            await turn()
            live = [(one, name) for one in self.machines for name in one.live if one.up]
            if not live:
                return
            for machine, name in live:
                if name in machine.live:
                    machine.step(name, 3)
        raise AssertionError("it does not end")

    def at(self, task):
        """The machine a call runs on, and its id there."""
        found = [one for one in self.machines if task.id in one.live]
        return found[0] if found else None

    def step(self, task, count=1):
        """The next tokens of a call."""
        self.at(task).step(task.id, count)


async def turn():
    """Let everything that is due happen."""
    for _ in range(8):
        await asyncio.sleep(0)


def ends_well(task, prompt, max_tokens=8):
    """A call has the whole greedy answer, once."""
    assert task.call.error is None, task.call.error
    tokens, reason = greedy(prompt, max_tokens)
    assert task.call.got == tokens
    assert task.call.ends == [reason]
    return True


def fleet(count=1, **capabilities):
    """Run ``async def test(fleet)`` under the virtual clock; nothing may be left when it ends."""

    def decorate(test):
        async def main():
            found = Fleet(count, **capabilities)
            await test(found)
            await turn()
            assert found.scheduler.check_integrity() == []
            for machine in found.machines:
                assert machine.live == {}

        def run():
            run_virtually(main())

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return decorate
