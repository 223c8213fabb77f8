"""The gallery on the real models: every way to run a workflow gives the same answer."""

import asyncio
import functools
import json
import os
import subprocess
import sys
from statistics import mean

import pytest

from benchmarks.retrieval import answers
from teola.compiler.cost.sizes import measured_sizes
from teola.compiler.plan import Plan
from teola.compiler.prompts import Budget, render_messages
from teola.runtime.engines.tokenizer import load_tokenizer
from teola.runtime.inputs import bind_inputs
from teola.runtime.operations.chunk import chunk

pytestmark = pytest.mark.models
QUESTION = "Do readers see the changes of a transaction before it commits?"
WORKFLOWS = ("advanced_rag", "naive_rag")


def same_outputs(one, other):
    """Equal texts, and equal passages in equal order; scores to the last bits of float32, which
    change with the shape of the batch that a text was embedded in."""
    plain = [[dict(source) for source in result["sources"]] for result in (one, other)]
    scores = [[source.pop("score") for source in sources] for sources in plain]
    assert one["answer"] == other["answer"]
    assert plain[0] == plain[1]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


@pytest.fixture(scope="module")
def answered(real_models, few_documents):
    """What a level gives, by workflow; asked once, and of -O0 kept for replays."""

    @functools.cache
    def ask(name, level):
        plan, inputs = real_models.plan(name, level), {"documents": few_documents}
        return real_models.ask(plan, keep=level == "O0", question=QUESTION, **inputs)

    return ask


@pytest.mark.parametrize("name", WORKFLOWS)
def test_the_optimised_plan_gives_the_same_answer_in_float32(answered, name):
    """-O2 and -O0 give the same answer from the same passages on the real engines in float32."""
    result = answered(name, "O2")
    assert result["answer"].strip()
    same_outputs(result, answered(name, "O0"))


@pytest.mark.parametrize("name", WORKFLOWS)
def test_the_optimised_plan_asks_its_engines_for_nothing_else(
    real_models, few_documents, answered, name
):
    """-O2, answered from the record of -O0, needs no request that is not in it."""
    expected = answered(name, "O0")
    result = real_models.replay(real_models.plan(name), question=QUESTION, documents=few_documents)
    assert real_models.record.missing == 0
    assert result.outputs == expected.outputs


def test_a_plan_file_gives_the_answer_of_its_workflow(
    real_models, few_documents, answered, tmp_path
):
    """A plan that went through a file gives what its workflow gives."""
    path = tmp_path / "a.plan.json"
    real_models.plan("advanced_rag").save(path)
    result = real_models.ask(Plan.load(path), question=QUESTION, documents=few_documents)
    same_outputs(result, answered("advanced_rag", "O0"))


def test_the_answers_sources_are_the_passages_it_was_made_from(answered):
    """`sources` are three different passages, the best first, each with its document."""
    sources = answered("advanced_rag", "O0")["sources"]
    assert len({source["id"] for source in sources}) == 3
    assert [source["rank"] for source in sources] == [1, 2, 3]
    scores = [source["score"] for source in sources]
    assert scores == sorted(scores, reverse=True)
    names = {source["document"].rpartition("/")[2] for source in sources}
    assert names <= {"isolation.md", "transactions.txt"}


def test_no_passages_still_give_an_answer(real_models):
    """An empty collection ends in one call that says so, not in an error."""
    empty = [{"name": "nothing", "text": ""}]
    result = real_models.ask(real_models.plan("advanced_rag"), question=QUESTION, documents=empty)
    assert result["sources"] == []
    assert result["answer"].strip()


def test_eight_of_ten_questions_find_a_passage_that_answers(real_models, sample_questions):
    """Among the top 3 of `best`, over all bundled documents, indexed once for all questions, which
    are asked at once. The answers are not asked for: nothing of `best` depends on them."""
    plan = real_models.plan("advanced_rag", sets=["outputs={sources: best.passages}"])
    asked = [question["question"] for question in sample_questions]
    results = real_models.ask_together(plan, asked)
    found = [
        any(answers(passage, question) for passage in result["sources"])
        for result, question in zip(results, sample_questions, strict=True)
    ]
    assert len(found) == 10
    assert sum(found) >= 8, found


@pytest.mark.parametrize("level", ["O0", "O2"])
def test_a_run_tells_its_true_sizes(real_models, few_documents, answered, level):
    """Lengths of lists, tokens of documents, chunks, prompts and answers are those that flowed."""
    plan = real_models.plan("advanced_rag", level)
    inputs = {"question": QUESTION, "documents": few_documents}
    result = answered("advanced_rag", level)
    found = measured_sizes(json.loads(json.dumps(result.to_json())), plan.graph)
    words, speech = (load_tokenizer(plan.graph.engines[name]) for name in ("embedder", "llm"))
    documents = asyncio.run(bind_inputs(plan, inputs)).cells["documents"].value
    chunks = [
        piece["text"]
        for document in documents
        for piece in chunk(document, size=256, overlap=30, by="tokens", tokenizer=words)
    ]
    assert found.items["documents"] == 2
    assert found.items["chunks.chunk:chunks"] == len(chunks)
    assert found.tokens["documents"] == round(mean(words.count(one["text"]) for one in documents))
    assert found.tokens["chunks.chunk:chunks"] == round(mean(map(words.count, chunks)))
    assert found.tokens["question"] == len(speech.encode(QUESTION))
    expand = plan.graph.by_id["expand.prefill"].config["messages"]
    asked = render_messages(expand, {"question": QUESTION, "count": 3}, Budget())
    assert found.tokens["expand.prefill"] == len(speech.encode_chat(asked))
    assert found.items["best.top:items"] == len(result["sources"]) == 3
    calls = [entry for entry in result.timeline if entry.primitive.endswith("decode")]
    for kind in ("prompt_tokens", "completion_tokens"):
        assert sum(getattr(one, kind) for one in calls) == getattr(result.usage, kind)


def test_the_command_answers_from_two_documents(few_documents):
    """`teola-run` prints the answer on standard output, and exits with 0."""
    command = [sys.executable, "-m", "teola.runtime.cli", "run", "advanced_rag", "--quiet"]
    command += ["--set", "modules.answer.with.sampling.max_tokens=16", "-i", f"question={QUESTION}"]
    command += [word for path in few_documents for word in ("-i", f"documents={path}")]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | {"NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
