"""What waits in real vLLM, what it refuses, and its end; one engine with one place serves all."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from teola.runtime.engines.protocol import Generate
from teola.runtime.hosts.errors import EngineDied
from tests.engines.clients import LLMClient

pytestmark = pytest.mark.vllm

PROMPT = [7] * 20
FOREVER = {"ignore_eos": True}


@pytest.fixture(scope="module")
def llm(start, tiny):
    return start(LLMClient, {**tiny, "max_num_seqs": 1, "max_num_queued_reqs": 5})


@pytest.fixture(scope="module")
def adapted(start, tiny, lora, other_lora):
    adapters = {"same": str(lora), "other": str(other_lora)}
    return start(LLMClient, {**tiny, "lora": str(lora), "adapters": adapters})


def test_the_least_priority_comes_first(llm):
    """Among those that wait for the one place; how long, each tells with its end."""
    priorities = (0, 30, 10, 20)
    requests = [
        llm.request([7 + priority] * 20, 8, priority=priority, **FOREVER) for priority in priorities
    ]
    order = []

    async def ends(request):
        await llm.answers[request.id].over.wait()
        order.append(request.priority)

    async def scene():
        await llm.handle.submit(requests)
        await asyncio.gather(*map(ends, requests))

    llm.run(scene())
    assert order == sorted(priorities)
    waited = {one.priority: llm.answers[one.id].events[-1].waited_s for one in requests}
    assert 0 < waited[0] < waited[10] < waited[20] < waited[30]


def test_a_full_queue_is_told_and_the_request_not_begun(llm):
    answers = llm.generate(*((PROMPT, 40, FOREVER) for _ in range(7)))
    kinds = [answer.failure.kind for answer in answers if answer.failure is not None]
    assert kinds == ["full", "full"]
    (later,) = llm.generate((PROMPT, 4, FOREVER))
    assert len(later.tokens) == 4


def test_a_lora_adapter_changes_all_answers(llm, adapted):
    (plain,) = llm.generate((PROMPT, 12, FOREVER))
    (other,) = adapted.generate((PROMPT, 12, FOREVER))
    assert plain.tokens != other.tokens


def test_calls_of_one_step_name_the_adapter_that_answers(llm, adapted):
    """They share no KV, but for two names of one folder; an unknown name fails alone."""
    prompt = list(range(7, 77))
    names = ({}, {"adapter": "same"}, {"adapter": "other"}, {"adapter": "nobody's"})
    asked = [(prompt, 12, {**FOREVER, **name}) for name in names]
    plain = llm.generate((prompt, 12, FOREVER))[0]
    default, same, other, lost = adapted.generate(*asked)
    assert [one.failure for one in (default, same, other)] == [None] * 3
    assert default.tokens == same.tokens
    assert len({tuple(one.tokens) for one in (plain, default, other)}) == 3
    assert other.cached == 0
    assert lost.failure.kind == "item"
    assert adapted.generate(asked[2])[0].tokens == other.tokens
    assert adapted.generate(asked[2])[0].cached == 64


def children(pid):
    """The processes that a process has started, theirs included."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    found = [int(one) for task in tasks for one in (task / "children").read_text().split()]
    return found + [one for child in found for one in children(child)]


def temporary(pid):
    """The folder for temporary files of a process."""
    environment = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return Path(dict(one.partition("=")[::2] for one in environment)["TMPDIR"])


def shared_memory(pid):
    """The files of memory that a process shares."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    files = {Path(line.split()[-1]) for line in maps}
    return {one for one in files if one.name.startswith("psm_")}


def is_there(pid):
    return Path(f"/proc/{pid}").exists()


def test_a_core_that_is_killed_ends_its_requests_and_the_engine(llm):
    """They fail as died, and what comes later is refused: the host starts it anew."""
    request = llm.request(PROMPT, 200, **FOREVER)

    async def scene():
        await llm.handle.submit([request])
        while not llm.answers[request.id].events:
            await asyncio.sleep(0)
        for child in children(llm.handle.pid):
            os.kill(child, signal.SIGKILL)
        await llm.answers[request.id].over.wait()
        with pytest.raises(EngineDied):
            await llm.handle.submit([Generate("later", PROMPT, 1)])

    llm.run(scene())
    assert llm.answers[request.id].failure.kind == "died"


def test_nothing_is_left_of_a_host_that_is_killed(adapted):
    """vLLM's processes end with it; their sockets go, and the memory that they share."""
    pid = adapted.handle.pid
    started, folder = children(pid), temporary(pid)
    memory = {one for process in started for one in shared_memory(process)}
    assert started
    assert memory
    assert list(folder.iterdir())

    async def scene():
        os.kill(pid, signal.SIGKILL)
        await adapted.handle.died
        while any(map(is_there, started)):
            await asyncio.sleep(0)

    adapted.run(scene())
    assert not folder.exists()
    assert not any(one.exists() for one in memory)
