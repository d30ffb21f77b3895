"""Vectors of texts, computed once: kept by embedder and hash of the text, and shared by example sets and reports."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
from django.utils import timezone

from registry.examples import embedders, minilm
from registry.examples.minilm import Matrix
from registry.models import TextVector

BATCH = 256
KEPT_FOR = timedelta(days=90)
# The vectors of the demo's texts: a first start would embed them for a minute of two cores.
DEMO_VECTORS = Path(__file__).resolve().parents[1] / "demo_vectors.npz"


def embed(embedder: str, texts: Sequence[str]) -> Matrix:
    """Return one row of unit length for each text, computing those that nobody has computed yet. Raises
    `embedder.unknown` or `embedder.failed`; what was computed until then stays."""
    hashes = [hash_of(text) for text in texts]
    stored = _stored(embedder, hashes)
    missing = {key: text for key, text in zip(hashes, texts, strict=True) if key not in stored}
    keys = sorted(missing, key=lambda key: len(missing[key]))
    for start in range(0, len(keys), BATCH):
        part = keys[start : start + BATCH]
        rows = embedders.get_embedder(embedder).embed([missing[key] for key in part])
        store(embedder, zip(part, rows, strict=True))
        stored.update(zip(part, rows, strict=True))
    if not hashes:
        return np.empty((0, 0), np.float32)
    return np.stack([stored[key] for key in hashes])


def embed_query(embedder: str, text: str) -> Matrix:
    """Return the vector of a question, from the cache where somebody has asked it before; it is not kept, for questions
    are many and mostly asked once."""
    stored = _stored(embedder, [hash_of(text)])
    return stored[hash_of(text)] if stored else embedders.get_embedder(embedder).embed([text])[0]


def hash_of(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def store(embedder: str, vectors: Iterable[tuple[bytes, Matrix]]) -> None:
    """Keep vectors by the hash of their text; two that compute the same have the same."""
    rows = [
        TextVector(embedder=embedder, text_hash=key, vector=np.asarray(vector, "<f4").tobytes())
        for key, vector in vectors
    ]
    TextVector.objects.bulk_create(rows, ignore_conflicts=True, batch_size=1_000)


def _stored(embedder: str, hashes: Sequence[bytes]) -> dict[bytes, Matrix]:
    vectors: dict[bytes, Matrix] = {}
    for start in range(0, len(hashes), 5_000):
        part = hashes[start : start + 5_000]
        rows = TextVector.objects.filter(embedder=embedder, text_hash__in=part).values_list("text_hash", "vector")
        vectors.update((bytes(key), np.frombuffer(bytes(vector), "<f4")) for key, vector in rows)
    return vectors


def store_demo_vectors() -> None:
    """Keep the vectors that come with the demo, for the model that they were computed by."""
    with np.load(DEMO_VECTORS) as shipped:
        store(minilm.MiniLM.name, zip((bytes(row) for row in shipped["hashes"]), shipped["vectors"], strict=True))


def clear_old() -> None:
    """Delete vectors of months ago; who needs one computes it again."""
    TextVector.objects.filter(created_at__lt=timezone.now() - KEPT_FOR).delete()
