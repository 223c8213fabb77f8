"""The reranker on cross-encoders, in this process, on a model with random weights."""

import asyncio

import pytest

from teola.compiler.engines import canonical
from teola.compiler.graph.pgraph import PGraph
from teola.runtime.engines.cross_encoder import CrossEncoderReranker
from teola.runtime.engines.protocol import Failure, Request
from teola.runtime.errors import UnsupportedError
from teola.runtime.profiling import Effort, measure_engines
from tests.engines.tiny_models import POSITIONS, save_bert

pytestmark = pytest.mark.models

SPECIAL = 3
"""Tokens around both texts of a pair."""
IDENTITY = "torch.nn.modules.linear.Identity"
PASSAGES = ["bread is a cat", "the ink", "", "is the passage a query ?", "cat"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_bert(tmp_path_factory.mktemp("cross-encoder"))


def run(folder, *requests, settings=None, watch=None):
    """The results of one batch on a new engine."""

    async def scenario():
        config = {"kind": "reranker", "backend": "cross-encoder", "path": str(folder)}
        engine = CrossEncoderReranker(canonical({**config, "dtype": "float32", **(settings or {})}))
        try:
            await engine.start()
            if watch is not None:
                watch(engine)
            return await engine.run(requests)
        finally:
            await engine.close()

    return asyncio.run(scenario())


def score(folder, passages, query="the cat", **options):
    (results,) = run(folder, Request("score", passages, {"query": query}), **options)
    return results


def test_scores_are_those_of_the_library(folder):
    """A batch of many lengths gives each pair what it gets alone, in float32."""
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(folder), device="cpu", local_files_only=True)
    expected = [float(model.predict(("the cat", passage))) for passage in PASSAGES]
    assert score(folder, PASSAGES) == pytest.approx(expected, abs=1e-6)
    assert len({round(one, 4) for one in expected}) == len(PASSAGES)


@pytest.mark.parametrize(
    "settings",
    [
        {"sentence_transformers": {"activation_fn": IDENTITY}},
        {"sbert_ce_default_activation_function": IDENTITY},
    ],
    ids=["today", "before version 4"],
)
def test_the_activation_is_what_the_models_config_says(folder, tmp_path, settings):
    """Where it says none it is a sigmoid."""
    from torch import sigmoid, tensor

    plain = score(save_bert(tmp_path, **settings), PASSAGES)
    assert not all(0 < one < 1 for one in plain)
    assert score(folder, PASSAGES) == pytest.approx(sigmoid(tensor(plain)).tolist(), abs=1e-6)


def test_a_model_with_other_outputs_is_no_reranker(tmp_path):
    with pytest.raises(UnsupportedError, match="has 3 outputs for a pair of texts .* needs one"):
        score(save_bert(tmp_path, outputs=3), [])


def test_the_limit_is_for_both_texts_and_all_special_tokens(folder):
    query, most = "cat " * 10, POSITIONS - SPECIAL - 10
    fits, too_long = score(folder, ["ink " * most, "ink " * (most + 1)], query)
    assert isinstance(fits, float)
    assert too_long.kind == "item"
    assert too_long.message.startswith(
        f"the query with the passage has {POSITIONS + 1} tokens, special tokens included, and the "
        f"model's limit is {POSITIONS}"
    )


def test_a_query_that_leaves_no_room_is_what_is_said(folder):
    query = Request("score", PASSAGES, {"query": "cat " * POSITIONS})
    failed, fine = run(folder, query, Request("score", ["ink"], {"query": "cat"}))
    assert {one.message.partition(",")[0] for one in failed} == {
        f"the query has {POSITIONS + SPECIAL} tokens"
    }
    assert not isinstance(fine[0], Failure)


def test_the_longer_text_of_a_pair_is_cut_where_it_is_told_to(folder):
    most = POSITIONS - SPECIAL - 1
    whole = "ink " * most
    (fits,) = score(folder, [whole], "cat")
    cut = score(folder, [whole, whole + "bread"], "cat", settings={"truncate": True})
    assert cut == pytest.approx([fits, fits], abs=1e-6)


def test_special_tokens_in_a_text_are_plain_characters(folder):
    """A passage cannot end itself; its tokens are counted as they are read."""
    results = run(folder, Request("score", ["[SEP]", "ink"], {"query": "cat"}))
    assert list(results.tokens[0]) == [7, 3]
    assert results[0][0] != pytest.approx(score(folder, [""], "cat")[0], abs=1e-6)


def test_pairs_alike_in_tokens_are_read_together_and_equal_ones_once(folder):
    """Not those of one length in characters."""
    read = []

    def watch(engine):
        predict = engine._model.predict
        engine._model.predict = lambda pairs, **more: read.append(pairs) or predict(pairs, **more)

    long, short = ["x " * n for n in range(20, 28)], ["passage " * n for n in range(1, 9)]
    mixed = [text for pair in zip(long, short, strict=True) for text in pair]
    results = score(folder, mixed + mixed, watch=watch)
    assert [sorted(text for _, text in pairs) for pairs in read] == [sorted(short), sorted(long)]
    assert results[: len(mixed)] == results[len(mixed) :]


def test_it_is_profiled_in_lengths_that_fit_beside_the_query(folder):
    config = canonical({"kind": "reranker", "backend": "cross-encoder", "path": str(folder)})
    measured = asyncio.run(
        measure_engines(
            PGraph("t", (), (), (), engines={"rr": config}),
            engines=["rr"],
            effort=Effort(60, least=1, most=1),
        )
    )
    assert measured.unmeasured == []
    (found,) = measured.measured
    assert found.entry.operation == "score"
    assert not found.note
    assert max(point.tokens for point in found.entry.points) > POSITIONS / 2
