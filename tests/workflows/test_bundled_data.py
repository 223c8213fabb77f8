"""The bundled documents and questions fit together, and the workflows that use them are valid."""

import json
import re

import pytest

from teola.compiler.check import check
from teola.compiler.source import Source
from teola.runtime.documents.api import read_documents
from teola.runtime.engines.tokenizer import load_tokenizer
from teola.runtime.operations.chunk import chunk

DATA_BYTES = 1_000_000
# A quote shorter than what neighbouring chunks share is whole in at least one of them.
QUOTE_WORDS = 24


@pytest.fixture(scope="module")
def data(root):
    return root / "workflows" / "data"


@pytest.fixture(scope="module")
def documents(data):
    return {document["name"]: document for document in read_documents(data / "sqlite").texts}


@pytest.fixture(scope="module")
def questions(data):
    lines = (data / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def plain(text):
    return " ".join(text.split())


def test_all_three_readers_have_documents(documents):
    """Text, Markdown and HTML are all used by the default documents."""
    types = {document["meta"]["type"] for document in documents.values()}
    assert types == {"text", "markdown", "html"}


def test_the_documents_are_small_and_clean(data, documents):
    """No page brings its site's navigation, scripts or markup along."""
    assert sum(path.stat().st_size for path in data.rglob("*")) < DATA_BYTES
    for document in documents.values():
        assert len(document["text"]) > 5000
        assert not re.search(r"</?(?:p|div|a|li|span)\b|javascript:|honeypot", document["text"])


def test_every_document_has_its_licence_noted(data, documents):
    noted = set(re.findall(r"^`([^`]+)` \|", (data / "LICENSES.md").read_text(), re.MULTILINE))
    assert noted == set(documents)


def test_ten_questions_quote_their_documents(documents, questions):
    """Every quote stands in the document it is said to stand in."""
    assert len(questions) == 10
    assert len({item["question"] for item in questions}) == 10
    for item in questions:
        assert item.keys() == {"question", "passages"}
        for passage in item["passages"]:
            text = plain(documents[passage["document"]]["text"])
            assert passage["quotes"]
            for quote in passage["quotes"]:
                assert plain(quote) == quote
                assert len(quote.split()) <= QUOTE_WORDS
                assert quote in text, (passage["document"], quote)


def test_questions_are_not_copied_from_the_text(documents, questions):
    """No six words of a question stand so in any document."""
    texts = [plain(document["text"]).lower() for document in documents.values()]
    for item in questions:
        words = plain(item["question"]).lower().rstrip("?").split()
        for start in range(len(words) - 5):
            piece = " ".join(words[start : start + 6])
            assert not any(piece in text for text in texts), piece


@pytest.mark.parametrize("name", ["naive_rag", "advanced_rag"])
def test_bundled_workflows_are_valid(root, name):
    """Checked without an error or a warning; a question alone is enough to run them."""
    path = root / "workflows" / f"{name}.yaml"
    graph, diagnostics = check(Source(path.name, path.read_text(encoding="utf-8")))
    assert graph is not None
    assert list(diagnostics) == []


@pytest.mark.models
def test_the_documents_make_at_least_300_chunks(documents):
    """256 tokens with overlap 30 by MiniLM's tokenizer; more would only make indexing longer."""
    tokenizer = load_tokenizer({"kind": "embedder", "model": "all-minilm-l6-v2"})
    chunks = [
        piece
        for document in documents.values()
        for piece in chunk(document, size=256, overlap=30, by="tokens", tokenizer=tokenizer)
    ]
    assert 300 <= len(chunks) <= 340
    assert max(tokenizer.count(piece["text"]) for piece in chunks) <= 256
