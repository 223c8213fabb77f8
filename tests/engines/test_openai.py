"""Engines on a server: what they ask it, what they make of its answers, and of what goes wrong."""

import asyncio
import json
import sys
import threading
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teola.compiler.engines import canonical
from teola.runtime.engines.fakes.embedder import embed
from teola.runtime.engines.fakes.llm import answer
from teola.runtime.engines.openai.answer import Answer
from teola.runtime.engines.protocol import Generate, Grammar, Request, Sampling
from teola.runtime.engines.tokenizer import ByteTokenizer
from teola.runtime.errors import ModelError, RunError
from teola.runtime.hosts import EngineStartError
from teola.runtime.shapes import ChoiceShape
from tests.engines.clients import BatchClient, LLMClient, Prompt, started
from tests.openai_model import PART
from tests.openai_server import serving

CALL_S = 60
MESSAGES = ({"role": "user", "content": "What is a rollback journal?"},)
TOKENS = tuple(ByteTokenizer().encode_chat(MESSAGES))
PROMPT = Prompt(TOKENS, MESSAGES)
WHOLE = tuple(answer(TOKENS, 64))
TEXT = ByteTokenizer().decode(WHOLE)
AS_TOKENS = {"path": "a-folder-that-only-the-runtime-reads"}


@pytest.fixture
def server():
    with serving() as one:
        yield one


@contextmanager
def on(server, client=LLMClient, **given):
    """A started engine on a server."""
    kind = "llm" if client is LLMClient else "embedder"
    basic = {"kind": kind, "backend": "openai", "model": "tiny", "base_url": server.url}
    with asyncio.Runner() as loop:
        config = dict(canonical({**basic, **given}))
        with started(client, config, lambda work: loop.run(asyncio.wait_for(work, CALL_S))) as one:
            yield one


@pytest.fixture
def start(server):
    """Start engines on the server until the test ends."""
    with ExitStack() as until:
        yield lambda *client, **given: until.enter_context(on(server, *client, **given))


def one_answer(llm, max_tokens=64, **given):
    (found,) = llm.generate((PROMPT, max_tokens, given))
    return found


def test_a_conversation_is_answered_in_text(server, start):
    """Without a tokenizer prompts go as messages; the server counts the tokens."""
    llm = start()
    found = one_answer(llm)
    assert (found.said, found.finish_reason) == (TEXT, "stop")
    assert len(found.events) == -(-len(WHOLE) // PART)
    assert all(event.tokens for event in found.events)
    assert len(found.tokens) == len(WHOLE) + 1
    assert (found.events[-1].prompt, found.events[-1].cached) == (len(TOKENS), 0)
    (body,) = server.bodies("/chat/completions")
    assert body == {
        "model": "tiny",
        "messages": list(MESSAGES),
        "max_tokens": 64,
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert not llm.capabilities.takes_tokens
    assert not llm.capabilities.prefix_cache
    assert not llm.capabilities.continues
    assert llm.capabilities.context == 4096


def test_a_prompt_goes_as_tokens_where_the_tokenizer_is_known(server, start):
    """And the answer comes as tokens, without the one that ends it: it can be gone on with."""
    llm = start(**AS_TOKENS)
    found = one_answer(llm)
    assert (tuple(found.tokens), found.finish_reason) == (WHOLE, "stop")
    assert all(event.text is None for event in found.events)
    assert server.bodies("/completions")[-1]["prompt"] == list(TOKENS)
    assert llm.capabilities.takes_tokens
    assert llm.capabilities.continues
    begun = [*TOKENS, *WHOLE[:20]]
    (rest,) = llm.generate((begun, 64 - 20, {}))
    assert (*WHOLE[:20], *rest.tokens) == WHOLE


def test_a_server_that_tells_no_tokens_is_asked_with_tokens_all_the_same(server, start):
    server.tells_tokens = False
    llm = start(**AS_TOKENS)
    assert one_answer(llm).said == TEXT
    assert llm.capabilities.takes_tokens
    assert not llm.capabilities.continues


def test_a_server_that_takes_no_tokens_is_asked_with_messages(server, start):
    server.tokens = False
    assert one_answer(start(**AS_TOKENS)).said == TEXT
    assert one_answer(start(api="chat", **AS_TOKENS)).said == TEXT
    assert len(server.bodies("/chat/completions")) == 2


def test_prompts_that_must_go_as_tokens_and_cannot_are_refused_at_the_start(server, start):
    with pytest.raises(RunError, match="give the engine the folder of the model's tokenizer"):
        start(api="completions")
    server.tokens = False
    with pytest.raises(RunError, match="api: completions sends .* takes none: leave it out"):
        start(api="completions", **AS_TOKENS)


def test_warm_ups_of_prompts_that_go_as_messages_are_refused_at_the_start(server, start):
    """They would have no effect."""
    with pytest.raises(RunError, match="warm_ups: true sends .* tokenizer, path: FOLDER"):
        start(warm_ups=True)
    server.tokens = False
    with pytest.raises(RunError, match="warm_ups: true sends .* takes none: leave it out"):
        start(warm_ups=True, **AS_TOKENS)


def test_an_answer_that_is_cut_says_so(start):
    found = one_answer(start(), 8, ignore_eos=True)
    assert (len(found.tokens), found.finish_reason) == (8, "length")


def test_who_does_not_stream_gets_one_event(start):
    assert len(one_answer(start(), stream=False).events) == 1
    found = one_answer(start(**AS_TOKENS), stream=False)
    assert (len(found.events), tuple(found.tokens)) == (1, WHOLE)


def test_a_warm_up_ends_in_one_empty_event(server, start):
    """Only where the settings say that the server is one's own, and prompts go as tokens."""
    llm = start(warm_ups=True, **AS_TOKENS)
    assert llm.capabilities.prefix_cache
    (warm_up,) = llm.generate((TOKENS[:32], 1, {"warm": True, "stream": False}))
    assert [(event.tokens, event.finish_reason) for event in warm_up.events] == [((), "length")]
    assert one_answer(llm).cached == 32


def test_sampling_goes_along(server, start):
    sampling = Sampling(temperature=0.7, top_p=0.9, stop=("\n",), seed=7)
    found = one_answer(start(), sampling=sampling)
    drawn = ByteTokenizer().decode(answer((*TOKENS, 7), 64))
    assert (found.said, found.finish_reason) == (drawn.partition("\n")[0], "stop")
    (body,) = server.bodies("/chat/completions")
    asked = {name: body[name] for name in ("temperature", "top_p", "stop", "seed")}
    assert asked == {"temperature": 0.7, "top_p": 0.9, "stop": ["\n"], "seed": 7}


def test_an_answer_that_ends_before_a_text_comes_as_text(start):
    """Its tokens would say what comes after."""
    found = one_answer(start(**AS_TOKENS), sampling=Sampling(stop=("\n",)))
    assert found.said == TEXT.partition("\n")[0]


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def test_what_an_answer_must_be_goes_along_where_the_server_has_that(server, start):
    """As JSON Schema in OpenAI's words, as choices in vLLM's."""
    assert start().capabilities.grammars == frozenset()
    llm = start(structured_outputs="vllm")
    assert llm.capabilities.grammars == {"json_schema", "choices"}
    one_answer(llm, grammar=Grammar(json_schema=json.dumps(SCHEMA)))
    one_answer(llm, grammar=Grammar(choices=("yes", "no")))
    schema, choices = server.bodies("/chat/completions")
    told = {"name": "answer", "strict": True, "schema": SCHEMA}
    assert schema["response_format"] == {"type": "json_schema", "json_schema": told}
    assert choices["structured_outputs"] == {"choice": ["yes", "no"]}


def test_choices_are_a_schema_for_servers_that_have_only_those(server, start):
    """Their answer is JSON; whoever reads it knows the choice within its quotes."""
    llm = start(structured_outputs="json_schema")
    assert llm.capabilities.grammars == {"json_schema", "choices"}
    said = one_answer(llm, grammar=Grammar(choices=("yes", "no"))).said
    (body,) = server.bodies("/chat/completions")
    told = body["response_format"]["json_schema"]["schema"]
    assert told == {"type": "string", "enum": ["yes", "no"]}
    shape = ChoiceShape(("yes", "no"))
    shape.push(said)
    assert (said, shape.value) == ('"yes"', "yes")


ITEMS = Grammar(json_schema=json.dumps({"type": "array", "items": SCHEMA, "minItems": 5}))
NAMED = {"type": "array", "items": {"$ref": "#/$defs/one"}, "minItems": 2, "$defs": {"one": SCHEMA}}
NESTED = {"type": ["array", "null"], "items": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}}
NO_OBJECTS = {
    "list": ITEMS,
    "list of what is named": Grammar(json_schema=json.dumps(NAMED)),
    "list in a list": Grammar(json_schema=json.dumps({**NESTED, "minItems": 2})),
    "number": Grammar(json_schema='{"type": "integer"}'),
    "choices": Grammar(choices=("yes", "no")),
}


@pytest.mark.parametrize("grammar", NO_OBJECTS.values(), ids=NO_OBJECTS)
def test_what_is_no_object_comes_in_one_where_a_server_has_only_those(server, start, grammar):
    """Nobody sees that: the answer is the same, as text, and as many parts of it."""
    plain = start(structured_outputs="json_schema")
    whole = one_answer(plain, grammar=grammar)
    server.objects = True
    refused = one_answer(plain, grammar=grammar).failure
    assert refused.kind == "item"
    assert "schema must be of 'type: \"object\"'" in refused.message
    for more in ({}, AS_TOKENS):
        found = one_answer(start(structured_outputs="objects", **more), grammar=grammar)
        assert (found.said, found.finish_reason) == (whole.said, "stop")
        assert len(found.events) >= len(whole.events)


def test_an_object_needs_no_other_around_it(server, start):
    """In the strict form where it has one; else as it is, as a hint: that is never refused."""
    server.objects = True
    llm = start(structured_outputs="objects")
    whole = {**SCHEMA, "required": ["a"]}
    for schema in (SCHEMA, whole):
        found = one_answer(llm, grammar=Grammar(json_schema=json.dumps(schema)))
        assert found.finish_reason == "stop"
    bodies = server.bodies("/chat/completions")
    hint, held = (body["response_format"]["json_schema"] for body in bodies)
    assert (hint["strict"], hint["schema"]) == (False, SCHEMA)
    assert (held["strict"], held["schema"]) == (True, {**whole, "additionalProperties": False})


def test_a_server_of_objects_refuses_what_is_not_strict(server, start):
    """As OpenAI's do."""
    server.objects = True
    plain = start(structured_outputs="json_schema")
    refused = one_answer(plain, grammar=Grammar(json_schema=json.dumps(SCHEMA))).failure
    assert refused.kind == "item"
    assert "'additionalProperties' is required" in refused.message


def test_an_adapter_is_a_model_of_the_server(server, start):
    """Calls that name none ask for the engine's model; an unknown one is refused here."""
    llm = start(adapters={"formal": "tiny-formal"})
    assert llm.capabilities.adapters == {"formal"}
    one_answer(llm)
    one_answer(llm, adapter="formal")
    assert one_answer(llm, adapter="informal").failure.kind == "item"
    assert [body["model"] for body in server.bodies("/chat/completions")] == ["tiny", "tiny-formal"]


def test_a_request_has_further_fields_and_lacks_some(server, start):
    """Servers differ: `body` adds what one needs and takes away what it refuses."""
    one_answer(start(body={"temperature": None, "priority": 3}))
    (body,) = server.bodies("/chat/completions")
    assert "temperature" not in body
    assert body["priority"] == 3


def soon():
    return format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [("7", 7, 7), ("0.5", 0.5, 0.5), ("7200", 60, 60), ("-3", 0, 0), ("soon", 0, 0), ("nan", 0, 0)],
)
def test_a_server_that_is_full_says_when_to_come_again(server, start, said, least, most):
    """In seconds; not longer than a minute."""
    server.fault(status=429, headers={"retry-after": said})
    failure = one_answer(start()).failure
    assert failure.kind == "full"
    assert least <= failure.after_s <= most


def test_a_server_that_is_full_may_say_when_as_a_date(server, start):
    server.fault(status=429, headers={"retry-after": soon()})
    assert 20 < one_answer(start()).failure.after_s <= 30


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "item"), (413, "item"), (422, "item"), (404, "engine"), (500, "engine")],
)
def test_the_status_says_who_is_at_fault(server, start, status, kind):
    server.fault(status=status)
    found = one_answer(start())
    assert found.failure.kind == kind
    assert found.failure.message == f"it answered {status}: told to"


def test_a_server_that_is_overloaded_is_left_alone_for_as_long_as_it_says(server, start):
    """That is an error all the same: `retry:` decides."""
    server.fault(status=503, headers={"retry-after": "4"}, said="<html>overloaded</html>")
    failure = one_answer(start()).failure
    assert (failure.kind, failure.after_s) == ("engine", 4)
    assert "<html>overloaded</html>" in failure.message


def test_a_prompt_may_be_refused_within_the_stream(server, start):
    """As vLLM does, where it has begun to answer before it looks at the prompt."""
    server.fault(parts=0, garbage='{"error": {"message": "no such token", "code": 400}}')
    failure = one_answer(start()).failure
    assert (failure.kind, failure.message) == ("item", "it answered 400: no such token")


@pytest.mark.parametrize("said", ["no such field", {"detail": "no such field"}])
def test_servers_say_in_different_words_what_is_wrong(server, start, said):
    server.fault(status=422, said=said)
    assert one_answer(start()).failure.message == "it answered 422: no such field"


def test_a_quota_that_is_used_up_is_no_reason_to_wait(server, start):
    said = {"error": {"message": "no money left", "code": "insufficient_quota"}}
    server.fault(status=429, said=said)
    assert one_answer(start()).failure.kind == "engine"


def test_a_prompt_that_the_server_finds_too_long_fails_alone(server, start):
    server.context = 100
    llm = start()
    long, fine = llm.generate((PROMPT, 90, {}), (PROMPT, 40, {}))
    assert long.failure.kind == "item"
    assert "the context is of 100 tokens" in long.failure.message
    assert fine.failure is None


def test_tokens_that_the_server_has_no_room_for_are_not_sent(server, start):
    """As it told how many it takes; some cut such answers short, and say nothing."""
    server.context = 100
    llm = start(**AS_TOKENS)
    sent = len(server.bodies("/completions"))
    long, fine = llm.generate((PROMPT, 90, {}), (PROMPT, 40, {}))
    assert long.failure.kind == "item"
    assert f"the prompt has {len(TOKENS)} tokens and max_tokens is 90" in long.failure.message
    assert fine.failure is None
    assert len(server.bodies("/completions")) == sent + 1


def told(text, token, **more):
    """A part of an answer of a server that tells of every token, the last one too."""
    could = [{"token": token, "logprob": -0.1}, {"token": " way", "logprob": -2.5}]
    chances = {"content": [{**could[0], "top_logprobs": could}]}
    return {"choices": [{"delta": {"content": text}, "logprobs": chances, **more}]}


@pytest.mark.parametrize("reason", ["stop", "length"])
def test_the_token_that_ends_an_answer_is_no_text_of_it(reason):
    """Though the server tells it with what else could have come."""
    found = Answer(Generate("a", (1,), 8), by_token=False)
    parts = [told("no", "no"), told("", "<|end|>", finish_reason=reason)]
    events = [found.take(part) for part in parts] + [found.end()]
    came = [step[0][0] for event in events if event is not None for step in event.chances]
    assert came == ["no", "" if reason == "stop" else "<|end|>"]


def test_a_server_that_says_nothing_is_given_up(server, start):
    """After `timeout_s` of silence; the next request is answered."""
    hold = threading.Event()
    server.fault(hold=hold)
    llm = start(timeout_s=0.2)
    silent = one_answer(llm)
    hold.set()
    assert silent.failure.kind == "engine"
    assert "Timeout" in silent.failure.message
    assert one_answer(llm).said == TEXT


def test_a_slow_first_byte_is_waited_for(server, start):
    hold = threading.Event()
    server.fault(hold=hold)
    llm = start()
    threading.Timer(0.3, hold.set).start()
    assert one_answer(llm).said == TEXT


GARBAGE = ["", "{", "[]", "7", '{"choices": [{"delta": 3}]}', '{"error": {"message": "out of KV"}}']


@given(
    parts=st.integers(0, 5),
    garbage=st.sampled_from(GARBAGE),
    as_tokens=st.booleans(),
    stream=st.booleans(),
)
@settings(max_examples=40)
def test_a_broken_stream_fails_and_what_it_said_was_right(parts, garbage, as_tokens, stream):
    """One last event; before it a beginning of the answer. Broken after its end it is complete."""
    with serving() as server, on(server, **(AS_TOKENS if as_tokens else {})) as llm:
        server.fault(parts=parts, garbage=garbage)
        found = one_answer(llm, stream=stream)
        whole = list(WHOLE) if as_tokens else TEXT
        said = found.tokens if as_tokens else "".join(event.text or "" for event in found.events)
        assert said == whole[: len(said)]
        if parts >= -(-len(WHOLE) // PART):
            assert (said, found.finish_reason) == (whole, "stop")
        else:
            assert found.failure.kind == "engine"
        assert one_answer(llm).said == whole
        assert llm.control("describe") == {"running": 0}


def test_aborting_closes_the_connection(server, start):
    """The server sees that nobody listens; nothing is heard of the call any more."""
    llm = start()
    server.fault(endless=True)
    request = llm.request(PROMPT, 64)

    async def begin_and_abort():
        await llm.handle.submit([request])
        await llm.answers[request.id].begun.wait()
        await llm.handle.abort([request.id, "nobody's"])
        heard = len(llm.answers[request.id].events)
        await asyncio.to_thread(server.left.wait, CALL_S)
        return heard

    heard = llm.run(begin_and_abort())
    assert server.left.is_set()
    assert len(llm.answers[request.id].events) == heard
    assert llm.control("describe") == {"running": 0}


def test_closing_breaks_off_what_runs(server):
    with on(server) as llm:
        server.fault(endless=True)
        request = llm.request(PROMPT, 64)

        async def begin():
            await llm.handle.submit([request])
            await llm.answers[request.id].begun.wait()

        llm.run(begin())
    assert server.left.wait(CALL_S)


def test_many_requests_at_once_do_not_disturb_each_other(server, start):
    llm = start()
    server.fault(status=500)
    found = llm.generate(*((PROMPT, 64, {}) for _ in range(24)))
    assert sorted(one.failure is None for one in found) == [False] + [True] * 23
    assert {one.said for one in found if one.failure is None} == {TEXT}


def test_the_key_comes_from_the_environment(server, start, monkeypatch):
    """From the variable that is named; none goes to a server that is not OpenAI's unless one is."""
    server.key = "sk-secret"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("THEIRS", "sk-secret")
    with pytest.raises(EngineStartError, match="401"):
        start()
    assert one_answer(start(api_key_env="THEIRS")).said == TEXT


def test_a_key_is_never_told(server, start, monkeypatch):
    """Though this server says which key it did not like."""
    server.key = "sk-other"
    monkeypatch.setenv("THEIRS", "sk-secret")
    with pytest.raises(EngineStartError, match="401: not the key: Bearer …") as error:
        start(api_key_env="THEIRS")
    assert "sk-secret" not in str(error.value)


def test_a_missing_key_is_said_at_the_start(start, monkeypatch):
    monkeypatch.delenv("THEIRS", raising=False)
    with pytest.raises(ModelError, match="environment variable THEIRS holds no key"):
        start(api_key_env="THEIRS")


def test_openais_own_server_wants_a_key_and_other_words(monkeypatch):
    """Its address is the default; all its models know only the newer name of the limit, and only
    schemas of objects."""
    from teola.runtime.engines.openai.llm import OpenAILLM

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    given = {"kind": "llm", "backend": "openai", "model": "gpt-5"}
    config = canonical({**given, "structured_outputs": "json_schema"})
    engine = OpenAILLM(config)
    with pytest.raises(ModelError, match="environment variable OPENAI_API_KEY holds no key"):
        asyncio.run(engine.start())
    endpoint = asyncio.run(engine._choose())
    assert endpoint.limit == "max_completion_tokens"
    assert engine._structured == "objects"


def test_a_server_that_is_not_there_is_said_at_the_start(server, start):
    with pytest.raises(EngineStartError, match=r"127.0.0.1:1/v1: .*Connect"):
        start(base_url="http://127.0.0.1:1/v1")


def test_a_gateway_with_nobody_behind_it_is_said_at_the_start(server, start):
    server.lists = 503
    with pytest.raises(EngineStartError, match="it answered 503: no list"):
        start()


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_server_that_lists_no_models_is_used_all_the_same(server, start, status):
    """What it would have said of the context is not known then."""
    server.lists = status
    llm = start()
    assert llm.capabilities.context == 0
    assert one_answer(llm).said == TEXT
    assert start(context_tokens=512).capabilities.context == 512


def test_the_missing_package_is_named(start, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ModelError, match=r"pip install 'teola\[openai\]'"):
        start()


TEXTS = ["one", "two words", "", "drei Wörter hier"]


@pytest.mark.parametrize("encoding", ["base64", "float"])
def test_texts_are_embedded_in_order(server, start, encoding):
    """The server answers in another one."""
    embedder = start(BatchClient, encoding=encoding, dimensions=8)
    one, two = embedder.run(Request("embed", TEXTS), Request("embed", TEXTS[:1]))
    assert np.asarray(one).dtype == np.float32
    assert np.allclose(np.stack(one), embed(TEXTS, 8))
    assert np.allclose(np.stack(two), embed(TEXTS[:1], 8))
    (body,) = server.bodies("/embeddings")
    assert (body["input"], body["dimensions"]) == ([*TEXTS, "one"], 8)


def test_a_server_that_does_not_let_one_choose_the_dimension_is_found_out(server, start):
    """What the engine says of itself is true, or an error."""
    embedder = start(BatchClient, dimensions=8)
    assert embedder.capabilities.dimension == 8
    server.fault(status=200, said={"data": [{"index": 0, "embedding": [1.0] * 4}]})
    (failed,) = embedder.run(Request("embed", ["one"]))
    assert failed.kind == "engine"
    assert "embeddings of 4 numbers, not of 8 (dimensions)" in failed.message


def test_a_text_over_the_limit_fails_alone_and_is_not_sent(server, start):
    embedder = start(BatchClient, limit_tokens=2)
    assert embedder.capabilities.limit == 2
    fine, long = embedder.items("embed", ["one two", "three four five"])
    assert np.allclose(fine, embed(["one two"], 32)[0])
    assert (long.kind, "4 tokens and limit_tokens is 2" in long.message) == ("item", True)
    assert server.bodies("/embeddings")[0]["input"] == ["one two"]
    (alone,) = embedder.items("embed", ["three four five"])
    assert alone == long


def test_a_batch_that_the_server_refuses_is_an_error_of_one_of_its_texts(server, start):
    """The scheduler finds which."""
    server.longest = 10
    with pytest.raises(RunError, match="it answered 400: a text is longer than 10"):
        start(BatchClient).items("embed", ["short", "a longer text"])


@pytest.mark.parametrize(
    ("fault", "kind", "after_s"),
    [
        ({"status": 429, "headers": {"retry-after": "2"}}, "full", 2),
        ({"status": 503, "headers": {"retry-after": "3"}}, "engine", 3),
        ({"status": 500}, "engine", 0),
        ({"status": 200, "said": "no JSON"}, "engine", 0),
        ({"status": 200, "said": {"data": []}}, "engine", 0),
        ({"status": 200, "said": {"data": [{"index": 0, "embedding": "?"}]}}, "engine", 0),
        ({"status": 200, "said": {"data": [{"index": 0, "embedding": [None]}]}}, "engine", 0),
    ],
)
def test_what_is_wrong_with_the_server_is_no_texts_fault(server, start, fault, kind, after_s):
    embedder = start(BatchClient)
    server.fault(**fault)
    (failure,) = embedder.run(Request("embed", ["one"]))
    assert (failure.kind, failure.after_s) == (kind, after_s)
    assert len(embedder.items("embed", ["one"])) == 1
