"""A text is embedded once, by whoever needs it first; the demo's texts come with their vectors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import settings

from config.embedded.home import Home
from evaluations import demo as evaluations_demo
from evaluations.data_quality import reports
from evaluations.models import Report
from registry import demo
from registry.examples import embedders, minilm, text_vectors, vector_search
from registry.models import Embedding, ExampleSet, TextVector

MODEL = minilm.MiniLM.name


class CountingEmbedder:
    """Counts what it embeds: the lengths of texts, as unit vectors."""

    name = "counting@1"
    dimensions = 2

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> Any:
        self.texts += texts
        return np.array([[1.0, 0.0] if len(text) % 2 else [0.0, 1.0] for text in texts], np.float32)


@pytest.fixture
def embedder(monkeypatch: pytest.MonkeyPatch) -> CountingEmbedder:
    counting = CountingEmbedder()
    monkeypatch.setattr(embedders, "get_embedder", lambda _name: counting)
    return counting


def test_a_text_is_embedded_once(db: None, embedder: CountingEmbedder):
    first = text_vectors.embed("counting@1", ["a", "bb", "a"])
    second = text_vectors.embed("counting@1", ["bb", "ccc"])
    other = text_vectors.embed("other@1", ["a"])

    assert first.tolist() == [[1, 0], [0, 1], [1, 0]]
    assert second.tolist() == [[0, 1], [1, 0]]
    assert other.tolist() == [[1, 0]]
    assert sorted(embedder.texts) == ["a", "a", "bb", "ccc"]
    assert text_vectors.embed("counting@1", []).size == 0


@pytest.mark.skipif(not minilm.is_installed(), reason="the model is an optional extra; requirements.lock has it")
def test_the_demo_brings_the_vectors_of_its_texts(db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """After a change of the demo's texts: CONTRIBUTING.md says how to compute them anew."""
    monkeypatch.setattr(settings, "EMBEDDINGS_LOCAL", True)
    demo.seed(Home(tmp_path).demo_file)
    evaluations_demo.seed(tmp_path)
    before = TextVector.objects.count()
    texts = list(TextVector.objects.values_list("text_hash", "vector")[:1])

    for embedding in Embedding.objects.all():
        vector_search.embed_missing(embedding)
    for report in Report.objects.filter(kind="leakage"):
        reports.make_report(report)

    assert before > 400
    assert TextVector.objects.count() == before
    assert Embedding.objects.exclude(state="done").count() == 0
    assert len(texts[0][1]) == 384 * 4


@pytest.mark.skipif(not minilm.is_installed(), reason="the model is an optional extra; requirements.lock has it")
def test_the_shipped_vectors_are_the_models(db: None, tmp_path: Path):
    demo.seed(Home(tmp_path).demo_file)
    example = ExampleSet.objects.filter(project__slug="demo").first()
    assert example
    inputs = list(example.examples.values_list("input", flat=True)[:4])

    shipped = text_vectors.embed(MODEL, inputs)
    computed = minilm.load_minilm().embed(inputs)

    assert np.abs(shipped - computed).max() < 2e-3
