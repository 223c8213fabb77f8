"""The gallery on the real models: every way to run a workflow gives the same answer."""

import os
import subprocess
import sys

import pytest

from benchmarks.retrieval import answers
from teola.compiler.plan import Plan

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
def unoptimised(real_models, few_documents):
    """What -O0 gives, by workflow."""
    found = {}

    def ask(name):
        if name not in found:
            plan = real_models.plan(name, "O0")
            found[name] = real_models.ask(plan, question=QUESTION, documents=few_documents)
        return found[name]

    return ask


@pytest.mark.parametrize("name", WORKFLOWS)
def test_the_optimised_plan_gives_the_same_answer_in_float32(
    real_models, few_documents, unoptimised, name
):
    """-O2 and -O0 give the same answer from the same passages on the real engines in float32."""
    result = real_models.ask(real_models.plan(name), question=QUESTION, documents=few_documents)
    assert result["answer"].strip()
    same_outputs(result, unoptimised(name))


@pytest.mark.parametrize("name", WORKFLOWS)
def test_the_optimised_plan_asks_its_engines_for_nothing_else(
    real_models, few_documents, unoptimised, name
):
    """-O2, answered from the record of -O0, needs no request that is not in it."""
    expected = unoptimised(name)
    result = real_models.replay(real_models.plan(name), question=QUESTION, documents=few_documents)
    assert real_models.record.missing == 0
    assert result.outputs == expected.outputs


def test_a_plan_file_gives_the_answer_of_its_workflow(
    real_models, few_documents, unoptimised, tmp_path
):
    """A plan that went through a file gives what its workflow gives."""
    path = tmp_path / "a.plan.json"
    real_models.plan("advanced_rag").save(path)
    result = real_models.ask(Plan.load(path), question=QUESTION, documents=few_documents)
    same_outputs(result, unoptimised("advanced_rag"))


def test_the_answers_sources_are_the_passages_it_was_made_from(unoptimised):
    """`sources` are three different passages, the best first, each with its document."""
    sources = unoptimised("advanced_rag")["sources"]
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
    """Among the top 3 of `best`, over all bundled documents, indexed once for all questions."""
    plan = real_models.plan("advanced_rag")
    hits = 0
    for question in sample_questions:
        result = real_models.ask(plan, share=True, question=question["question"])
        hits += any(answers(passage, question) for passage in result["sources"])
    assert len(sample_questions) == 10
    assert hits >= 8


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
