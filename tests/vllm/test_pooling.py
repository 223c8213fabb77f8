"""Embedders and cross-encoders on real vLLM give what the models' own libraries give."""

import numpy as np
import pytest

from tests.engines.clients import BatchClient, started
from tests.vllm.conftest import MINILM

pytestmark = pytest.mark.vllm

TEXTS = [
    "A container image is a stack of read-only layers.",
    "cat",
    "Embeddings of long and short texts are made in one batch, and each is its own. " * 5,
    "[CLS] is plain text [SEP]",
    "Ünïcödé ✓ 你好",
]
QUERY = "How is bread baked?"
PASSAGES = ["The match ended 2:1.", "Bread is baked in an oven. " * 3, "bread [SEP]"]
NEAR = 2e-5


@pytest.fixture(scope="module")
def embedder(on_loop):
    config = {"kind": "embedder", "backend": "vllm", **MINILM}
    with started(BatchClient, config, on_loop) as one:
        yield one


@pytest.fixture(scope="module")
def reranker(start, cross_encoder):
    config = {"kind": "reranker", "backend": "vllm", "path": str(cross_encoder)}
    return start(BatchClient, {**config, "dtype": "float32"})


def test_rows_are_those_of_sentence_transformers(embedder, start):
    """The same model, the same numbers; alone, in a batch and in any order."""
    other = start(BatchClient, {"kind": "embedder", "backend": "sentence-transformers", **MINILM})
    rows = embedder.items("embed", TEXTS)
    assert rows.dtype == np.float32
    assert np.allclose(rows, other.items("embed", TEXTS), rtol=0, atol=NEAR)
    alone = [embedder.items("embed", [text])[0] for text in TEXTS]
    assert np.allclose(rows, alone, rtol=0, atol=NEAR)
    assert embedder.capabilities.limit == other.capabilities.limit
    assert embedder.capabilities.dimension == other.capabilities.dimension


def test_scores_are_the_models_own(reranker, cross_encoder):
    """The sigmoid of its one label, with the query told from the passage."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(cross_encoder)
    tokenizer.split_special_tokens = True
    model = transformers.AutoModelForSequenceClassification.from_pretrained(cross_encoder).eval()
    expected = []
    for passage in PASSAGES:
        with torch.inference_mode():
            logit = model(**tokenizer(QUERY, passage, return_tensors="pt")).logits
        expected.append(torch.sigmoid(logit).item())
    scores = reranker.items("score", PASSAGES, query=QUERY)
    assert scores == pytest.approx(expected, abs=1e-4)
    assert len({round(score, 3) for score in scores}) == len(scores)


def test_a_passage_that_is_too_long_with_its_query_fails_alone(reranker):
    limit = reranker.capabilities.limit
    before, long = reranker.items("score", [PASSAGES[0], "cat " * limit], query=QUERY)
    assert isinstance(before, float)
    assert (long.kind, f"limit is {limit}" in long.message) == ("item", True)
