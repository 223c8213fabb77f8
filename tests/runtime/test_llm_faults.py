"""Calls whose replica dies or is full: what was sent is never contradicted."""

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.runtime.circuit import MAX_RESTARTS
from teola.runtime.engines.fakes.llm import answer
from teola.runtime.engines.protocol import Generate, TokenEvent
from teola.runtime.engines.simulated.answers import Answers
from teola.runtime.engines.tokenizer import ByteTokenizer
from teola.runtime.engines.tokenizer.estimate import FourBytes
from teola.runtime.errors import ModuleError, StreamInterrupted, TaskTimeout
from teola.runtime.events import ItemAdded, TextDelta
from teola.runtime.simulation.clock import pass_time
from tests.runtime.llm_desk import BLOCK, prompt
from tests.runtime.llm_fleet import ends_well, fleet, greedy, turn
from tests.runtime.workbench import call, now, plan, reply, result_of, virtual

TEXT = next(q for n in range(99) if reply(q := f"q{n}").startswith("brève"))
"""A question whose answer has a character of two bytes at once."""
WHOLE = reply(TEXT).encode()


def messages(content):
    return [{"role": "user", "content": content}]


@given(
    text=st.text(max_size=20), most=st.integers(1, 99), done=st.integers(0, 99), full=st.booleans()
)
def test_a_fake_answer_goes_on_where_its_prompt_ends(text, most, done, full):
    """As a greedy model's does: a prompt with the beginning of its answer gives the rest of it."""
    tokens = ByteTokenizer().encode_chat(messages(text))
    whole = answer(tokens, most, ignore_eos=full)
    begun = whole[: min(done, most - 1)]
    rest = answer([*tokens, *begun], most - len(begun), ignore_eos=full)
    assert (*begun, *rest) == whole


@given(text=st.text(max_size=20), most=st.integers(1, 99), done=st.integers(0, 99))
def test_a_simulated_answer_goes_on_where_its_prompt_ends(text, most, done):
    """Its tokens and its end are the same, and its lines end where they would."""
    tokens = FourBytes().encode_chat(messages(text))
    answers = Answers({"answer_tokens": {"a": 20}, "answer_lines": {"a": 3}})
    whole = answers.of(Generate("w", tokens, most, primitive="a"))
    begun = whole.tokens[: min(done, most - 1)]
    rest = answers.of(Generate("r", [*tokens, *begun], most - len(begun), primitive="a"))
    assert [*begun, *rest.tokens] == list(whole.tokens)
    assert rest.finish_reason == whole.finish_reason
    later = {point - len(begun) for point in whole.points if point > len(begun)}
    assert later <= set(rest.points)


def asking(decode="{engine = llm}", sampling="", **llm):
    """One call whose text is the output; each of its steps takes a second."""
    return plan(
        f"""
        input q: text
        {call("a", "{{ q }}", "q=%inputs:q", sampling=sampling, decode=decode)}
        output out: text = %a.decode:text
        """,
        llm={"latency_ms": 1000, **llm},
    )


def dies_after(count, *numbers):
    """The LLM dies when a call of these numbers (from 0) has given so many tokens."""

    def prepare(spy):
        given = {}

        def change(events):
            told = []
            for event in events:
                before = given.get(event.id, 0)
                given[event.id] = before + len(event.tokens)
                doomed = event.id in {
                    spy.submitted[n].id for n in numbers if n < len(spy.submitted)
                }
                if doomed and (given[event.id] >= count or event.finish_reason):
                    told += [TokenEvent(event.id, event.tokens[: count - before])]
                    asyncio.get_running_loop().call_soon(spy.die)
                else:
                    told += [event]
            return told

        spy.on_events = change

    return prepare


async def reading(bench, source, **inputs):
    """The text that a reader of a query's stream has seen, and its result."""
    events = await bench.events(source, **inputs)
    deltas = [event.text for _, event in events if isinstance(event, TextDelta)]
    return "".join(deltas), result_of(events)


@pytest.mark.parametrize("count", range(len(WHOLE) + 1))
@virtual
async def test_a_call_goes_on_where_its_engine_died(bench, count):
    """After any number of tokens, within a character too: a reader sees one text without a break,
    and tokens count once. No `retry:` is needed."""
    bench.prepared.append(dies_after(count, 0))
    read, result = await reading(bench, asking(), q=TEXT)
    assert read == result["out"] == WHOLE.decode()
    assert result.usage.completion_tokens == len(WHOLE)
    first, second = bench.spy("llm").submitted
    assert second.tokens == [*first.tokens, *WHOLE[:count]]
    assert first.max_tokens - second.max_tokens == count


@pytest.mark.parametrize("count", [0, 5, len(WHOLE)])
@virtual
async def test_a_call_that_nobody_reads_goes_on_as_well(bench, count):
    """What it has is not computed again."""
    bench.prepared.append(dies_after(count, 0))
    result = await bench.run(asking(), q=TEXT)
    assert result["out"] == WHOLE.decode()
    assert result.usage.completion_tokens == len(WHOLE)


@pytest.mark.parametrize("count", range(0, len(WHOLE), 3))
@virtual
async def test_lines_go_on_where_their_engine_died(bench, count):
    """Each is an item once, for a reader and for a later step."""
    decode = '{engine = llm, output = {"shape": "lines"}}'
    source = plan(
        f"""
        input q: text
        {call("a", "{{ q }}", "q=%inputs:q", decode=decode)}
        %e.embed = embed texts=~%a.decode:lines {{engine = emb, group = 1}} @e
        output lines: list<text> = %a.decode:lines
        output out: list<embedding> = %e.embed:embeddings
        """,
        llm={"latency_ms": 1000},
    )
    bench.prepared.append(lambda spy: dies_after(count, 0)(spy) if spy.kind == "llm" else None)
    events = await bench.events(source, q=TEXT)
    lines = WHOLE.decode().splitlines()
    seen = [e.value for _, e in events if isinstance(e, ItemAdded) and e.output == "lines"]
    assert seen == result_of(events)["lines"] == lines
    assert bench.spy("embedder").items("embed") == lines


@virtual
async def test_an_answer_that_lacks_only_its_end_is_whole(bench):
    """The engine dies with the last token that the limit allows: nothing is asked again."""
    bench.prepared.append(dies_after(64, 0))
    read, result = await reading(bench, asking(sampling=', "ignore_eos": true'), q=TEXT)
    assert len(read.encode()) == 64
    assert result["out"] == read
    assert len(bench.spy("llm").submitted) == 1
    assert "a" in result.truncated


@pytest.mark.parametrize("reads", [True, False])
@virtual
async def test_a_call_with_a_stop_string_starts_again_or_fails(bench, reads):
    """Where it cannot go on it is repeated silently while nothing has left, and broken off once
    something has, at once."""
    bench.prepared.append(dies_after(20, 0))
    source = asking(sampling=', "stop": ["~"]')
    if reads:
        with pytest.raises(StreamInterrupted, match="the plug was pulled"):
            await bench.events(source, q=TEXT)
        assert now() == 2
        assert len(bench.spy("llm").submitted) == 1
    else:
        assert (await bench.run(source, q=TEXT))["out"] == WHOLE.decode()
        first, second = bench.spy("llm").submitted
        assert second.tokens == first.tokens


@virtual
async def test_a_retry_goes_on_too(bench):
    """A call that failed three times in different ways is one text."""
    decode = '{engine = llm, retry = {"max": 1, "initial_s": 0}, idle_timeout_s = 1.5}'

    def prepare(spy):
        spy.spoil(0, after=1, kind="engine")
        spoilt = spy.on_events
        dying = dies_after(3, 1)
        dying(spy)
        dies = spy.on_events
        spy.on_events = lambda events: dies(spoilt(events))

    bench.prepared.append(prepare)
    read, result = await reading(bench, asking(decode), q=TEXT)
    assert read == result["out"] == WHOLE.decode()
    assert result.usage.completion_tokens == len(WHOLE)
    assert [one.max_tokens for one in bench.spy("llm").submitted] == [64, 48, 45]


def poisoned(spy):
    """Calls with "poison" in their prompts kill the LLM."""

    def change(events):
        prompts = {one.id: bytes(t for t in one.tokens if t < 256) for one in spy.submitted}
        if any(b"poison" in prompts[event.id] for event in events):
            asyncio.get_running_loop().call_soon(spy.die)
            return []
        return events

    spy.on_events = change


@virtual
async def test_a_call_that_kills_its_engine_again_is_to_blame(bench):
    """It fails with an error that says so, whatever `retry:` allows; the others have their
    answers. An equal one is refused at once for a while."""
    bench.prepared.append(poisoned)
    source = asking('{engine = llm, retry = {"max": 5, "on": ["item", "died"]}}')
    async with bench.runner(source, share=False) as runner:
        names = ["one", "two", "poison", "three"]
        results = await asyncio.gather(
            *(runner.run(q=name) for name in names), return_exceptions=True
        )
        blamed = results.pop(2)
        assert isinstance(blamed, ModuleError)
        assert blamed.kind == "item"
        assert "ended the engine twice, among others and then alone" in blamed.cause
        assert [one["out"] for one in results] == [reply(q) for q in ("one", "two", "three")]
        assert bench.spy("llm").starts == 3
        with pytest.raises(ModuleError, match="refused for 10 minutes"):
            await runner.run(q="poison")
        await pass_time(601)
        with pytest.raises(ModuleError, match="twice"):
            await runner.run(q="poison")
        await pass_time(5)
    assert bench.spy("llm").starts == 5


@virtual
async def test_calls_that_kill_do_not_make_an_engine_bad(bench):
    """Deaths with a known cause are forgotten when it works: its circuit stays closed."""
    bench.prepared.append(poisoned)
    async with bench.runner(asking()) as runner:
        for number in range(5):
            bad, good = await asyncio.gather(
                runner.run(q=f"poison {number}"), runner.run(q="good"), return_exceptions=True
            )
            assert "ended the engine twice" in str(bad)
            assert good["out"] == reply("good")
    assert bench.spy("llm").starts == 11


@virtual
async def test_a_call_that_kills_alone_opens_no_circuit(bench):
    """Those that ran with it have their answers, though the engine has died of something else
    lately: it works, and the call was at risk of its own."""
    bench.prepared.append(poisoned)
    async with bench.runner(asking(), share=False) as runner:
        await runner.run(q="zero")
        for _ in range(MAX_RESTARTS - 1):
            bench.spy("llm").die()
            await pass_time(10)
        one, blamed, two = await asyncio.gather(
            *(runner.run(q=name) for name in ("one", "poison", "two")), return_exceptions=True
        )
        assert "ended the engine twice" in str(blamed)
        assert [one["out"], two["out"]] == [reply("one"), reply("two")]


@fleet(1)
async def test_suspects_run_alone_one_after_the_other(fleet):
    """The rest waits until all of them are through; then everything goes on as before."""
    (machine,) = fleet.machines
    suspects = [await fleet.call(prompt((mark, 2))) for mark in "ABC"]
    machine.die()
    later = [await fleet.call(prompt((mark, 2))) for mark in "DEF"]
    machine.start()
    for task in suspects:
        await turn()
        assert machine.calls == [task.id]
        machine.step(task.id, 99)
    await turn()
    assert machine.calls == [task.id for task in later]
    await fleet.finish()
    for task, mark in zip((*suspects, *later), "ABCDEF", strict=True):
        assert ends_well(task, prompt((mark, 2)))


@fleet(3)
async def test_one_replica_is_for_suspects_and_the_others_go_on(fleet):
    """It takes nothing else; when they are through it does."""
    suspects = [await fleet.call(prompt((mark, 1))) for mark in "ABCDEF"]
    dead = fleet.at(suspects[0])
    suspects = [task for task in suspects if fleet.at(task) is dead]
    dead.die()
    dead.start()
    await turn()
    assert dead.calls == [suspects[0].id]
    later = [await fleet.call(prompt((mark, 1))) for mark in "GHIJKL"]
    assert len(dead.calls) == 1
    assert all(fleet.at(task) not in (None, dead) for task in later)
    await fleet.finish()
    after = [await fleet.call(prompt((mark, 1))) for mark in "MNO"]
    assert {fleet.at(task).number for task in after} == {0, 1, 2}
    await fleet.finish()


@fleet(2, max_requests=4)
async def test_suspects_do_not_wait_for_their_replica_to_come_back(fleet):
    """The one that is left is emptied for them, and nothing is sent there meanwhile."""
    tasks = [await fleet.call(prompt((mark, 1))) for mark in "ABCD"]
    one, other = fleet.machines
    suspects = [task for task in tasks if fleet.at(task) is one]
    running = [task for task in tasks if fleet.at(task) is other]
    one.die()
    waiting = await fleet.call(prompt(("E", 1)))
    assert set(other.calls) == {task.id for task in running}
    for task in running:
        other.step(task.id, 99)
    await turn()
    for task in suspects:
        assert other.calls == [task.id]
        other.step(task.id, 99)
        await turn()
    assert other.calls == [waiting.id]
    await fleet.finish()
    one.start()


@fleet(1)
async def test_what_is_cancelled_is_no_suspect_any_more(fleet):
    """Nobody waits for it."""
    (machine,) = fleet.machines
    tasks = [await fleet.call(prompt((mark, 2))) for mark in "ABC"]
    machine.die()
    machine.start()
    await turn()
    tasks[0].cancel()
    tasks[1].cancel()
    await turn()
    assert machine.calls == [tasks[2].id]
    await fleet.finish()
    assert ends_well(tasks[2], prompt(("C", 2)))


@fleet(2, kv_tokens=16 * BLOCK)
async def test_a_replica_is_kept_for_nobody_once_its_suspects_are_cancelled(fleet):
    """Who waited meanwhile is sent at once."""
    one, other = fleet.machines
    suspect = await fleet.call(prompt(("A", 2)))
    busy = await fleet.call(prompt(("B", 2)))
    assert (fleet.at(suspect), fleet.at(busy)) == (one, other)
    one.die()
    waiting = await fleet.call(prompt(("C", 2)))
    assert fleet.at(waiting) is None
    suspect.cancel()
    await turn()
    assert fleet.at(waiting) is other
    await fleet.finish()
    one.start()


@fleet(1, kv_tokens=16 * BLOCK)
async def test_who_waits_behind_a_call_that_is_cancelled_is_sent(fleet):
    """What did not fit is gone: what does is not kept until something else happens."""
    (machine,) = fleet.machines
    await fleet.call(prompt(("A", 8)))
    large = await fleet.call(prompt(("B", 12)))
    small = await fleet.call(prompt(("C", 2)))
    assert len(machine.calls) == 1
    large.cancel()
    await turn()
    assert small.id in machine.live
    await fleet.finish()


@fleet(1)
async def test_waiting_as_a_suspect_counts_against_no_clock(fleet):
    """Each has its own time once it runs."""
    (machine,) = fleet.machines
    tasks = [await fleet.call(prompt((mark, 2)), timeout_s=10) for mark in "ABC"]
    machine.die()
    await pass_time(100)
    machine.start()
    for task in tasks:
        await pass_time(9)
        assert machine.calls == [task.id]
        machine.step(task.id, 99)
        await turn()
    assert all(ends_well(task, prompt((m, 2))) for task, m in zip(tasks, "ABC", strict=True))


@fleet(1)
async def test_a_suspect_that_hangs_times_out_and_the_next_one_runs(fleet):
    """Clocks bound what runs alone, too."""
    (machine,) = fleet.machines
    tasks = [await fleet.call(prompt((mark, 2)), timeout_s=10) for mark in "AB"]
    machine.die()
    machine.start()
    await pass_time(11)
    assert isinstance(tasks[0].call.error, TaskTimeout)
    assert machine.calls == [tasks[1].id]
    await fleet.finish()
    assert ends_well(tasks[1], prompt(("B", 2)))


@fleet(1)
async def test_when_no_replica_comes_back_suspects_fail(fleet):
    """With the reason; those that come later, too."""
    (machine,) = fleet.machines
    tasks = [await fleet.call(prompt((mark, 2))) for mark in "AB"]
    machine.die()
    fleet.scheduler.fail("for good")
    tasks.append(await fleet.call(prompt(("C", 2))))
    assert ["for good" in task.call.error.cause for task in tasks] == [True] * 3


@fleet(1)
async def test_an_engine_that_says_it_has_died_is_started_anew(fleet):
    """Though its host lives, and whichever of its calls it says it for."""
    (machine,) = fleet.machines
    tasks = [await fleet.call(prompt((mark, 2))) for mark in "AB"]
    machine.fail(*[task.id for task in tasks], kind="died")
    assert fleet.lost == [(0, "spoilt")]
    machine.start()
    await fleet.finish()
    assert all(ends_well(task, prompt((m, 2))) for task, m in zip(tasks, "AB", strict=True))


@fleet(1)
async def test_a_continued_call_shares_the_prefix_that_it_has(fleet):
    """Its marks are those of the longer prompt, so that others find what it computed."""
    (machine,) = fleet.machines
    tokens = next(t for n in range(99) if len(greedy(t := [n] * BLOCK, 40)[0]) == 40)
    task = await fleet.call(tokens, 40)
    fleet.step(task, 2 * BLOCK)
    machine.die()
    machine.start()
    await turn()
    assert machine.sent[-1].tokens == [*tokens, *greedy(tokens, 40)[0][: 2 * BLOCK]]
    assert len(task.marks) == 3
    fleet.step(task, 1)
    assert machine.replica.prefixes.cached(task.marks) == 3
    await fleet.finish()
    assert ends_well(task, tokens, 40)


@fleet(1)
async def test_a_full_engine_puts_calls_back(fleet):
    """In their order, before all others, after a short while that gets longer; nothing is counted
    as a retry."""
    (machine,) = fleet.machines
    first, second = [await fleet.call(prompt((mark, 2))) for mark in "AB"]
    for wait_s in (0.1, 0.2, 0.4, 0.8, 1.6, 1.6):
        machine.fail(first.id, second.id, kind="full")
        later = await fleet.call(prompt(("C", 2)))
        await pass_time(wait_s - 0.01)
        assert machine.calls == []
        await pass_time(0.02)
        assert machine.calls == [first.id, second.id, later.id]
        later.cancel()
        await turn()
    assert first.attempt == 0
    await fleet.finish()
    for task, mark in ((first, "A"), (second, "B")):
        assert ends_well(task, prompt((mark, 2)))


@fleet(1)
async def test_only_clocks_bound_an_engine_that_stays_full(fleet):
    """`timeout` goes on while a call is put back again and again."""
    (machine,) = fleet.machines
    task = await fleet.call(prompt(("A", 2)), timeout_s=5)
    for _ in range(40):
        if task.id in machine.live:
            machine.fail(task.id, kind="full")
        await pass_time(0.2)
    assert isinstance(task.call.error, TaskTimeout)
    assert "while queued" in task.call.error.cause


@fleet(2)
async def test_a_full_replica_is_offered_nothing_and_the_others_are(fleet):
    """What it does not take runs elsewhere at once."""
    first = await fleet.call(prompt(("A", 20)))
    full = fleet.at(first)
    full.fail(first.id, kind="full")
    await turn()
    others = [await fleet.call(prompt((mark, 20))) for mark in "BC"]
    assert {fleet.at(task) for task in (first, *others)} == {fleet.machines[1 - full.number]}
    await fleet.finish()


@fleet(1)
async def test_a_full_engine_and_a_suspect(fleet):
    """It waits alone, and is sent when there is room."""
    (machine,) = fleet.machines
    tasks = [await fleet.call(prompt((mark, 2))) for mark in "AB"]
    machine.die()
    machine.start()
    await turn()
    machine.fail(tasks[0].id, kind="full")
    await turn()
    assert machine.calls == []
    await pass_time(1)
    assert machine.calls == [tasks[0].id]
    await fleet.finish()
    assert all(ends_well(task, prompt((m, 2))) for task, m in zip(tasks, "AB", strict=True))


@virtual
async def test_a_full_engine_is_nobodys_error(bench):
    """Through the whole runtime: the query takes longer, and that is all."""

    def prepare(spy):
        spy.spoil(0, 1, 2, kind="full")

    bench.prepared.append(prepare)
    result = await bench.run(asking(), q=TEXT)
    assert result["out"] == WHOLE.decode()
    assert len(bench.spy("llm").submitted) == 4


@fleet(3)
async def test_a_prefix_has_one_replica(fleet):
    """Warm-ups and calls of one prefix go where it is being computed or cached, the work of others
    elsewhere."""
    owners = [await fleet.warm(prompt((mark, 20))) for mark in "ABC"]
    places = {chr(one.sent[0].tokens[0] // 1000): one for one in fleet.machines}
    await fleet.finish()
    calls = {mark: await fleet.call(prompt((mark, 20), ("Z", 1))) for mark in "CAB"}
    for mark, task in calls.items():
        assert fleet.at(task) is places[mark]
    await fleet.finish()
    for owner in owners:
        fleet.scheduler.leave(owner)
    assert fleet.scheduler.warm_ups.counts.used == 3


@fleet(3)
async def test_one_prefix_is_warmed_once_by_all_replicas(fleet):
    """Whoever wants it shares it, while it is queued and while it runs."""
    owners = [await fleet.warm(prompt(("A", 10))) for _ in range(3)]
    assert [len(one.sent) for one in fleet.machines].count(1) == 1
    assert sum(len(one.sent) for one in fleet.machines) == 1
    await fleet.finish()
    owners.append(await fleet.warm(prompt(("A", 10))))
    assert sum(len(one.sent) for one in fleet.machines) == 1
    for owner in owners:
        fleet.scheduler.leave(owner)


@fleet(2)
async def test_a_warm_up_that_nobody_wants_frees_its_kv(fleet):
    """It is aborted on the replica that has it."""
    owner = await fleet.warm(prompt(("A", 10)))
    (machine,) = [one for one in fleet.machines if one.live]
    assert machine.replica.held > machine.held > 10 * BLOCK
    fleet.scheduler.leave(owner)
    await turn()
    assert (machine.held, machine.replica.held) == (0, 0)
    assert machine.aborted == [machine.sent[0].id]


@fleet(2)
async def test_a_warm_up_goes_with_its_replica(fleet):
    """It is counted as failed and not sent to another one; its owner is told once."""
    owner = await fleet.warm(prompt(("A", 10)))
    (machine,) = [one for one in fleet.machines if one.live]
    machine.die()
    machine.start()
    await turn()
    assert [one.live for one in fleet.machines] == [{}, {}]
    assert owner.told == [10 * BLOCK, "ended"]
    fleet.scheduler.leave(owner)
    counts = fleet.scheduler.warm_ups.counts
    assert (counts.sent, counts.failed, counts.wasted) == (1, 1, 0)


@fleet(1)
async def test_a_full_engine_ends_a_warm_up(fleet):
    """It is not tried again; calls are, after a while."""
    (machine,) = fleet.machines
    owner = await fleet.warm(prompt(("A", 10)))
    machine.fail(*machine.live, kind="full")
    task = await fleet.call(prompt(("A", 10), ("B", 1)))
    assert machine.live == {}
    await pass_time(1)
    assert machine.calls == [task.id]
    await fleet.finish()
    fleet.scheduler.leave(owner)
    assert fleet.scheduler.warm_ups.counts.failed == 1


@fleet(2)
async def test_no_warm_up_runs_beside_a_suspect(fleet):
    """The replica on which one runs is given nothing else; another one may have it."""
    busy = await fleet.call(prompt(("A", 1)))
    machine = fleet.at(busy)
    machine.die()
    machine.start()
    await turn()
    assert fleet.at(busy) is not None
    fleet.step(busy)
    owners = [await fleet.warm(prompt((mark, 10))) for mark in "BC"]
    assert fleet.at(busy).live.keys() == {busy.id}
    await fleet.finish()
    assert fleet.at(busy) is None
    for owner in owners:
        fleet.scheduler.leave(owner)


POISON = 1000 * ord("F")


class _Story:
    """Calls, warm-ups, tokens, failures, full answers, aborts and deaths in any order."""

    def __init__(self, fleet, room):
        self.fleet, self.room = fleet, room
        self.tasks, self.owners, self.cancelled = [], [], set()

    def live(self):
        return [(one, name) for one in self.fleet.machines if one.up for name in one.live]

    async def do(self, kind, number, size):
        await getattr(self, kind)(number, size)
        await turn()
        self.check()

    async def call(self, number, size):
        limits = {"max_retries": 99, "exponential": False}
        tokens, most = self.prompt(number, size), 1 + size
        task = await self.fleet.call(tokens, most, left=bool(number % 2), **limits)
        self.tasks.append((task, tokens, most))

    async def warm(self, number, size):
        self.owners.append(await self.fleet.warm(self.prompt(number, size)))

    @staticmethod
    def prompt(number, size):
        return prompt(("ABCDEF"[number % 6], 1 + size % 4), ("Z", size % 2))

    async def leave(self, number, _):
        if self.owners:
            self.fleet.scheduler.leave(self.owners.pop(number % len(self.owners)))

    async def cancel(self, number, _):
        waiting = [task for task, *_ in self.tasks if not task.over]
        if waiting:
            task = waiting[number % len(waiting)]
            self.cancelled.add(task)
            task.cancel()

    async def die(self, number, _):
        """A replica dies of nothing; one with a suspect never does."""
        machine = self.fleet.machines[number % len(self.fleet.machines)]
        if machine.up and machine.replica.suspect is None:
            machine.die()

    async def kill(self, number, _):
        """A call with the letter F kills its replica."""
        poison = [
            machine for machine, name in self.live() if machine.live[name][0].tokens[0] == POISON
        ]
        if poison:
            poison[number % len(poison)].die()

    async def start(self, _number, _size):
        for one in self.fleet.machines:
            if not one.up:
                one.start()

    async def wait(self, _, size):
        await pass_time(size)

    async def token(self, number, size):
        if live := self.live():
            machine, name = live[number % len(live)]
            machine.step(name, size % 3)

    async def fail(self, number, _):
        if live := self.live():
            machine, name = live[number % len(live)]
            machine.fail(name)

    async def memory(self, number, size):
        """Some of what a replica runs fails, in one message or in several."""
        running = [machine for machine in self.fleet.machines if machine.up and machine.live]
        if running:
            machine = running[number % len(running)]
            names = list(machine.live)[number % len(machine.live) :]
            for some in [names] if size % 2 else [[name] for name in names]:
                machine.fail(*some, kind="memory")

    async def full(self, number, _):
        new = [(one, name) for one, name in self.live() if one.is_new(name)]
        if new:
            machine, name = new[number % len(new)]
            machine.fail(name, kind="full")

    def check(self):
        """What must hold at any time."""
        for one in (one for one in self.fleet.machines if one.up):
            held = sum(len(request.tokens) + request.max_tokens for request, _ in one.live.values())
            assert held <= one.replica.held + len(one.live) <= self.room + len(one.live)
            assert one.replica.held <= self.room
            suspects = [task for task, *_ in self.tasks if task.suspect and task.id in one.live]
            assert not suspects or len(one.live) == 1
        homes = [name for one in self.fleet.machines for name in one.live if one.up]
        assert len(homes) == len(set(homes))

    async def end(self):
        await self.start(0, 0)
        for owner in self.owners:
            self.fleet.scheduler.leave(owner)
        for _ in range(200):
            await self.fleet.finish()
            await pass_time(5)
        for task, tokens, most in self.tasks:
            assert task.over
            if tokens[0] == POISON and task.call.error is not None:
                assert re.search("ended the engine twice", task.call.error.cause)
            elif task not in self.cancelled:
                assert ends_well(task, tokens, most)


STEPS = (
    *("call", "call", "warm", "token", "token", "fail", "full", "memory"),
    *("cancel", "leave", "die", "start", "wait", "kill"),
)


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(STEPS), st.integers(0, 11), st.integers(0, 9)),
        max_size=60,
    ),
    count=st.integers(1, 3),
    requests=st.integers(1, 4),
)
def test_every_call_ends_once_with_the_whole_answer(steps, count, requests):
    """Whatever happens to the replicas: no token is lost or told twice, what runs never takes more
    KV than there is, suspects are alone, and nothing is left."""

    @fleet(count, max_requests=requests, kv_tokens=16 * BLOCK)
    async def scene(found):
        story = _Story(found, 16 * BLOCK)
        for step in steps:
            await story.do(*step)
        await story.end()

    scene()
