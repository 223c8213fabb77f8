"""Measuring: where a batch curve bends, what a formula says, and profiles of the fakes."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.compiler.cost.profile import Point, Profiles, load_profiles, read_profile
from teola.compiler.engines import canonical
from teola.compiler.graph.operations import OPERATIONS
from teola.compiler.graph.pgraph import PGraph, Primitive
from teola.runtime.engines.tokenizer import ByteTokenizer
from teola.runtime.errors import InputError
from teola.runtime.events import EngineStatus, ModuleFinished, ModuleStarted
from teola.runtime.profiling import QUICK, Effort, MeasureError, measure_engines, profiler, to_json
from teola.runtime.profiling.calls import Heard, step_seconds
from teola.runtime.profiling.collections import Search
from teola.runtime.profiling.fit import fit
from teola.runtime.profiling.knee import GAIN, knee, still_rises
from teola.runtime.profiling.probe import Probe, Sample
from teola.runtime.profiling.settings import entry_settings
from teola.runtime.profiling.sweep import own_time, steady_knee, sweep
from teola.runtime.profiling.texts import WORDS, Texts
from teola.runtime.simulation.clock import run_virtually

SIZES = tuple(2**power for power in range(9))
durations = st.floats(0.01, 1000)


def line(base, item, sizes=SIZES):
    """The batch curve of a formula."""
    return [(items, base + items * item) for items in sizes]


@given(base=durations, item=durations)
def test_the_knee_is_the_smallest_batch_that_no_bigger_one_surpasses(base, item):
    """The throughput of a line rises for ever; at the knee it has come within the gain of its
    end, and before it has not."""
    rates = {items: items / ms for items, ms in line(base, item)}
    found = knee(line(base, item))
    assert rates[found] * (1 + GAIN) >= rates[SIZES[-1]]
    assert all(rates[n] * (1 + GAIN) < rates[SIZES[-1]] for n in SIZES if n < found)


@given(item=durations, length=st.integers(1, 9))
def test_a_flat_throughput_has_its_knee_at_one(item, length):
    """Where batches save nothing, one item is as good as many."""
    assert knee(line(0, item, SIZES[:length])) == 1


@given(base=durations, length=st.integers(1, 9))
def test_a_flat_latency_has_its_knee_at_the_end(base, length):
    """Where items cost nothing, the biggest batch is the best."""
    assert knee(line(base, 0, SIZES[:length])) == SIZES[length - 1]


@given(base=durations, item=durations, factor=durations)
def test_the_knee_does_not_depend_on_the_speed_of_the_machine(base, item, factor):
    """A machine that is faster in everything has the same knee, rounding aside."""
    slow = knee([(items, ms * factor) for items, ms in line(base, item)], GAIN + 1e-9)
    assert slow <= knee(line(base, item), GAIN)
    assert slow >= knee(line(base, item), GAIN + 2e-9)


@given(
    base=durations,
    item=durations,
    noise=st.lists(st.floats(-0.04, 0.04), min_size=len(SIZES), max_size=len(SIZES)),
)
def test_noise_moves_the_knee_no_further_than_it_bends_the_curve(base, item, noise):
    """Noise of 4 % lets two rates differ by 8 % more or less, and that is all it does."""
    curve = line(base, item)
    noisy = [(items, ms * (1 + e)) for (items, ms), e in zip(curve, noise, strict=True)]
    bend = 1.0401 / 0.9599
    assert knee(curve, (1 + GAIN) * bend - 1) <= knee(noisy) <= knee(curve, (1 + GAIN) / bend - 1)


def curve_of(times):
    """Points of 1, 2, 4, … items that took so long."""
    return [Point(items=2**n, tokens=0, ms=ms) for n, ms in enumerate(times)]


def test_one_lucky_batch_at_the_end_does_not_move_the_knee_there():
    """As measured on a busy machine."""
    lucky = curve_of([87.9, 134.9, 234.2, 536.0, 951.9, 1363.6])
    assert knee([(point.items, point.ms) for point in lucky]) == 32
    assert steady_knee(lucky) == 8


def test_a_cliff_is_not_smoothed_away():
    """Where big batches are worse, the line would lead beyond the cliff."""
    assert steady_knee(curve_of([10, 10, 10, 10, 40, 160])) <= 8


@given(base=durations, item=durations)
def test_the_line_through_a_line_is_itself(base, item):
    """Without noise nothing is smoothed, rounding aside."""
    points = [Point(items=items, tokens=0, ms=ms) for items, ms in line(base, item)]
    assert knee(line(base, item), GAIN + 0.01) <= steady_knee(points) <= knee(line(base, item))


def test_a_curve_without_points_has_no_knee():
    with pytest.raises(ValueError, match="without points"):
        knee([])


def test_one_unlucky_doubling_does_not_end_a_curve():
    """The rise must be absent twice; three points are needed to say so."""
    assert still_rises([(1, 10), (2, 20)])
    assert not still_rises([(1, 10), (2, 20), (4, 40)])
    assert still_rises([(1, 10), (2, 21), (4, 25)])


POINTS = [(n, t) for n in (1, 2, 4, 8) for t in (16, 64, 256)]
coefficients = st.just(0.0) | st.floats(0.1, 100)


def points_of(base, item, token, where=POINTS):
    """Points that lie on a formula."""
    return [Point(items=n, tokens=t, ms=base + n * (item + t * token)) for n, t in where]


@given(base=coefficients, item=coefficients, token=coefficients)
def test_a_fit_finds_the_formula_of_its_points(base, item, token):
    """To the four digits that are kept."""
    if base + item + token == 0:
        return
    found = fit(points_of(base, item, token))
    near = [pytest.approx(value, rel=1e-3, abs=1e-6) for value in (base, item, token)]
    assert [found.base_ms, found.item_ms, found.token_ms] == near
    assert found.error < 1e-6


@given(st.lists(st.floats(0.01, 1e4), min_size=len(POINTS), max_size=len(POINTS)))
def test_coefficients_are_never_negative(times):
    """Whatever was measured."""
    found = fit([Point(items=n, tokens=t, ms=ms) for (n, t), ms in zip(POINTS, times, strict=True)])
    assert min(found.base_ms, found.item_ms, found.token_ms) >= 0


def test_batches_that_get_faster_are_all_base():
    """A negative cost of an item would promise batches that end before they begin."""
    found = fit([Point(items=n, tokens=0, ms=100 - n) for n in (1, 2, 4)])
    assert (found.item_ms, found.token_ms) == (0, 0)
    assert found.base_ms == pytest.approx(97.65, abs=0.1)


def test_tokens_that_do_not_count_are_left_out():
    found = fit(points_of(5, 2, 0), count_tokens=False)
    assert (found.base_ms, found.item_ms, found.token_ms) == (5, 2, 0)


@pytest.mark.parametrize("points", [[], [Point(items=1, tokens=1, ms=0)]])
def test_a_fit_needs_points_that_took_time(points):
    with pytest.raises(ValueError, match="needs points"):
        fit(points)


@given(tokens=st.integers(2, 400))
def test_texts_have_the_tokens_that_were_asked_for(tokens):
    """Or one less, where the shortest word is two tokens; what they have is told."""
    text, count = Texts(ByteTokenizer()).text(tokens)
    assert count == ByteTokenizer().count(text)
    assert tokens - 1 <= count <= tokens


def test_texts_are_all_different_and_the_same_every_time():
    """Nothing is found in a cache, and two profiles measure the same."""
    texts, again = Texts(ByteTokenizer()), Texts(ByteTokenizer())
    made = [texts.text(64)[0] for _ in range(50)]
    assert len(set(made)) == 50
    assert made == [again.text(64)[0] for _ in range(50)]
    assert len(texts.prompt(99)) == 99
    assert len(set(WORDS)) > 90


def test_a_step_is_measured_while_all_sequences_decode():
    """From the last first token (at 2) to the first end (at 6): four steps of two sequences."""
    early = [Heard("a", at, 1, at == 6) for at in range(1, 7)]
    late = [Heard("b", at, 1, at == 7) for at in range(2, 8)]
    assert step_seconds(sorted(early + late, key=lambda one: one.at_s)) == 1.0


def test_sequences_that_follow_each_other_are_no_batch():
    heard = [Heard("a", 1, 1, False), Heard("a", 2, 1, True), Heard("b", 3, 9, True)]
    with pytest.raises(MeasureError, match="2 sequences do not decode together"):
        step_seconds(heard)


class ScriptedProbe(Probe):
    """Takes what ``ms(items, tokens, number of the run)`` says, on a clock of its own."""

    def __init__(self, ms, max_items=64, usual=100, lengths=()):
        self.ms, self.max_items, self.usual, self.lengths = ms, max_items, usual, lengths
        self.seen = []
        self.now = 0.0

    async def run(self, items, tokens):
        took = self.ms(items, tokens, len(self.seen))
        self.seen.append((items, tokens))
        self.now += took / 1000
        return Sample(took, tokens)


def swept(probe, effort=QUICK):
    """Measure with a probe's own clock."""
    return run_virtually(sweep(probe, effort, lambda _: None, lambda: probe.now))


@given(drift=st.floats(-0.002, 0.01))
def test_a_machine_that_becomes_slower_bends_no_curve(drift):
    """Rounds go up and down in turn: items of equal cost keep equal medians, nearly."""
    found = swept(ScriptedProbe(lambda items, _, run: items * (1 + drift * run)))
    assert found.knee == 1


def test_the_first_run_does_not_count():
    """It is the warm-up."""
    found = swept(ScriptedProbe(lambda items, _, run: 500 if run == 0 else items))
    assert [point.ms for point in found.points] == [1, 2, 4]


@given(
    own=durations,
    others=st.lists(st.floats(0, 1000), min_size=1, max_size=9),
    quiet=st.integers(1, 9),
)
def test_what_else_the_machine_does_is_left_out(own, others, quiet):
    """As long as half of the runs had the machine to themselves."""
    times = [own + other for other in others] + [own] * max(quiet, len(others))
    assert own_time(times) == pytest.approx(own)
    assert min(times) <= own_time(times) <= max(times)


def test_other_lengths_are_measured_alone_and_at_the_knee():
    probe = ScriptedProbe(lambda n, t, _: 50 + n * t / 10, max_items=8, lengths=(10, 100, 200))
    found = swept(probe)
    assert {(point.items, point.tokens) for point in found.points} == {
        *((n, 100) for n in (1, 2, 4, 8)),
        *((n, t) for n in (1, 8) for t in (10, 200)),
    }
    assert [point.items for point in found.curve] == [1, 2, 4, 8]
    assert len({point.runs for point in found.points}) == 1


def test_measuring_ends_whatever_an_engine_takes():
    """No batch that takes longer than its share, no more rounds than fit; the table says so."""
    probe = ScriptedProbe(lambda n, t, _: 1000, lengths=(10, 1000))
    found = swept(probe, Effort(seconds=6, least=3, most=99))
    assert {(point.items, point.tokens) for point in found.points} == {(1, 100), (1, 10)}
    assert {point.runs for point in found.points} == {5}
    assert found.note == "not measured from 2 items on: a run would take 2.0 s"


KINDS = {"emb": "embedder", "rr": "reranker", "llm": "llm", "store": "store"}


def graph(*nodes, **engines):
    """A graph of fakes with these settings, each used by a primitive."""
    configs = {
        name: canonical({"kind": KINDS[name], "backend": "fake", **settings})
        for name, settings in engines.items()
    }
    used = tuple(Primitive(f"{name}.x", "take", engine=name) for name in configs)
    return PGraph("t", (), (), nodes=(*used, *nodes), engines=configs)


def measured(*arguments, effort=QUICK, on_event=lambda _: None, names=(), **engines):
    """Measure fakes under the virtual clock; the events come, too."""

    async def measure():
        made = graph(*arguments, **engines)
        return await measure_engines(made, engines=names, effort=effort, on_event=on_event)

    return run_virtually(measure())


def by_operation(found):
    """The entries by operation."""
    return {one.operation: one.entry for one in found.measured}


def test_the_profile_of_a_fake_is_what_it_was_told():
    """Items: a batch of n takes 10 + 5n ms, whatever its texts; half the gain is there at 16."""
    found = measured(emb={"latency_ms": 10, "per_item_ms": 5}, rr={"per_item_ms": 2})
    entries = by_operation(found)
    assert entries.keys() == {"embed", "score"}
    embed, score = entries["embed"], entries["score"]
    assert (embed.base_ms, embed.item_ms, embed.token_ms) == pytest.approx((10, 5, 0), abs=1e-3)
    assert (score.base_ms, score.item_ms, score.token_ms) == pytest.approx((0, 2, 0), abs=1e-3)
    assert (embed.knee, score.knee) == (16, 1)
    assert found.unmeasured == []


def test_prefill_and_decode_are_measured_apart():
    """A step of the fake takes 8 + n ms for 16 tokens, and 0.1 ms for a token that comes in; of the
    answer's 24 tokens the last 8 are a step, however long the context is."""
    found = measured(llm={"latency_ms": 8, "per_item_ms": 1, "per_token_ms": 0.1})
    prefill, decode = by_operation(found)["prefill"], by_operation(found)["decode"]
    assert (prefill.base_ms, prefill.item_ms, prefill.token_ms) == pytest.approx((8, 1, 0.1))
    assert (decode.base_ms, decode.item_ms, decode.token_ms) == pytest.approx(
        (1, 1 / 8, 0), rel=1e-3
    )
    assert {point.tokens for point in decode.points} == {140, 524, 1036}
    assert (prefill.knee, decode.knee) == (8, 64)
    assert max(point.tokens for point in prefill.points) == 4096


def test_calls_stay_within_what_the_engine_has_room_for():
    """A small context and little KV: shorter prompts, fewer sequences."""
    found = measured(llm={"latency_ms": 8, "context_tokens": 200, "kv_tokens": 400})
    prefill, decode = by_operation(found)["prefill"], by_operation(found)["decode"]
    assert {point.tokens for point in prefill.points} == {64, 100}
    assert max(point.items for point in decode.points) == 2
    assert found.unmeasured == []


def test_stores_are_measured_on_vectors_like_the_embedders_and_left_empty(monkeypatch):
    """The collections are gone before the pool closes."""
    left, dimensions = [], []
    close = Search.close

    async def look(probe):
        dimensions.append(probe.subject.dimension)
        await close(probe)
        left.append(await probe.subject.handle.control("describe", {}))

    monkeypatch.setattr(Search, "close", look)
    found = measured(store={"latency_ms": 3, "per_item_ms": 1}, emb={"dimension": 7})
    entries = by_operation(found)
    assert entries.keys() == {"embed", "ingest", "keyword_search", "search"}
    assert (entries["search"].base_ms, entries["search"].item_ms) == pytest.approx((3, 1))
    assert left == [{"collections": {}, "pending": []}] * 2
    assert dimensions == [7, 7]


def test_chunking_is_measured_with_the_settings_of_the_graph():
    """Its entry is for no engine; documents, not texts of an embedder's length."""
    config = {"size": 256, "overlap": 30, "by": "tokens", "tokenizer": "emb"}
    once = Effort(seconds=1, least=1, most=1)
    found = measured(Primitive("chunks", "chunk", config=config), emb={}, effort=once)
    chunk = by_operation(found)["chunk"]
    assert chunk.engine == {}
    assert {round(point.tokens, -2) for point in chunk.points} == {500, 2000, 8200}


def test_an_operation_that_fails_is_named_with_its_cause():
    """The others are measured all the same."""
    found = measured(emb={"fail_items": [" "]}, rr={})
    (missing,) = found.unmeasured
    assert (missing.operation, missing.engine) == ("embed", "emb")
    assert missing.cause == "the fake engine was told to fail on ' '"
    assert by_operation(found).keys() == {"score"}


@pytest.mark.parametrize("name", ["emb", "llm"])
def test_an_engine_that_dies_is_a_cause(name):
    """Nothing waits for ever."""
    found = measured(**{name: {"die_after": 0}})
    assert found.measured == []
    assert all("was told to die" in missing.cause for missing in found.unmeasured)
    assert len(found.unmeasured) == (1 if name == "emb" else 2)


def test_batches_that_do_not_fit_end_the_curve():
    """What fits is measured, and the note says what did not."""
    found = measured(emb={"latency_ms": 10, "memory_items": 8})
    (embed,) = found.measured
    assert embed.entry.knee == 8
    assert embed.note == ("not measured from 16 items of 128 tokens on: 16 items do not fit, 8 do")


def test_an_operation_that_nobody_can_measure_is_named(monkeypatch):
    """A plug-in's operation on a kind of ours."""
    summary = replace(OPERATIONS["embed"], name="summarise")
    monkeypatch.setitem(OPERATIONS, "summarise", summary)
    found = measured(emb={})
    (missing,) = found.unmeasured
    assert missing.operation == "summarise"
    assert missing.cause.startswith("there is no way to measure it, only decode, embed")


def test_a_model_that_is_missing_is_the_cause_of_all_its_operations():
    """The other engines are measured."""
    made = graph(emb={})
    config = canonical({"kind": "embedder", "model": "hub:nobody/nothing"})
    used = Primitive("b.x", "embed", engine="b")
    made = PGraph("t", (), (), nodes=(*made.nodes, used), engines={**made.engines, "b": config})
    found = run_virtually(_measure(made))
    (missing,) = found.unmeasured
    assert (missing.operation, missing.engine) == ("embed", "b")
    assert "nobody/nothing" in missing.cause
    assert by_operation(found).keys() == {"embed"}


async def _measure(made, **options):
    return await measure_engines(made, effort=QUICK, **options)


def test_engines_of_equal_settings_are_measured_once():
    one = canonical({"kind": "embedder", "backend": "fake"})
    nodes = tuple(Primitive(f"{name}.x", "embed", engine=name) for name in "ab")
    found = run_virtually(_measure(PGraph("t", (), (), nodes=nodes, engines={"a": one, "b": one})))
    assert [one.engine for one in found.measured] == ["a, b"]


def test_engines_that_an_entry_could_not_tell_apart_are_not_both_in_a_profile(monkeypatch):
    """As two local models; the second one is named."""
    monkeypatch.setattr(profiler, "entry_settings", lambda config: {"kind": config["kind"]})
    one, two = (canonical({"kind": "embedder", "backend": "fake", "model": m}) for m in "xy")
    nodes = tuple(Primitive(f"{name}.x", "embed", engine=name) for name in "ab")
    found = run_virtually(_measure(PGraph("t", (), (), nodes=nodes, engines={"a": one, "b": two})))
    assert [one.engine for one in found.measured] == ["a"]
    assert [one.cause for one in found.unmeasured] == ["a profile cannot tell it from engine a"]


def test_only_the_engines_asked_for_are_measured():
    assert by_operation(measured(emb={}, rr={}, names=["rr"])).keys() == {"score"}


def test_an_engine_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="t has no engine 'x': it has emb, rr"):
        measured(emb={}, rr={}, names=["x"])


def test_a_graph_without_engines_is_refused():
    with pytest.raises(InputError, match="t has no engines: there is nothing to measure"):
        measured()


def test_progress_is_told_as_events():
    """Engines as they start, operations as they begin, go on and end."""
    events = []
    measured(emb={"latency_ms": 1}, on_event=events.append)
    assert events[0] == EngineStatus("emb", "loading", None, "fake")
    assert next(e for e in events if isinstance(e, ModuleStarted)).module == "embed on emb"
    (finished,) = (event for event in events if isinstance(event, ModuleFinished))
    assert finished.detail == "batches, knee 32"
    assert finished.duration_s > 0


def test_an_entry_names_what_its_engine_sets_and_no_folder():
    """Kind, backend and model always, then what differs from the defaults; but not how many there
    are of it."""
    plain = canonical({"kind": "embedder", "model": "all-minilm-l6-v2"})
    assert entry_settings(plain) == {
        "kind": "embedder",
        "backend": "sentence-transformers",
        "model": "all-minilm-l6-v2",
    }
    weights = {"path": "weights", "dtype": "float32", "cores": [0, 1], "replicas": 2}
    tuned = canonical({"kind": "llm", **weights})
    assert entry_settings(tuned) == {
        "kind": "llm",
        "backend": "transformers",
        "model": "local",
        "dtype": "float32",
        "cores": [0, 1],
    }


def test_the_file_reads_back_as_it_was():
    """Every entry fits the engine it was measured on."""
    found = measured(emb={"latency_ms": 2}, llm={"latency_ms": 1})
    file = found.file()
    assert read_profile(to_json(file), "p.json") == file
    profiles = Profiles(file.entries, "")
    config = canonical({"kind": "embedder", "backend": "fake", "latency_ms": 2})
    assert profiles.entry("embed", config) == by_operation(found)["embed"]
    assert profiles.entry("embed", {**config, "latency_ms": 3}) is None
    assert "Python" in file.machine
    names = itertools.chain.from_iterable(entry.engine for entry in file.entries)
    assert "path" not in names


@pytest.mark.parametrize(
    ("operation", "engine"),
    [
        ("embed", {"kind": "embedder", "model": "all-minilm-l6-v2"}),
        ("score", {"kind": "reranker", "model": "all-minilm-l6-v2"}),
        ("prefill", {"kind": "llm", "model": "smollm2-135m-instruct"}),
        ("decode", {"kind": "llm", "model": "smollm2-135m-instruct"}),
        ("ingest", {"kind": "store"}),
        ("search", {"kind": "store"}),
    ],
)
def test_the_embedded_engines_come_measured(operation, engine):
    """Whatever else a workflow sets on them; the raw points are there."""
    for settings in ({}, {"dtype": "float32"} if "model" in engine else {"metric": "l2"}):
        entry = load_profiles().entry(operation, canonical({**engine, **settings}))
        assert entry.origin == "measured"
        assert len(entry.points) > 3
