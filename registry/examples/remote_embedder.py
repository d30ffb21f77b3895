"""Embeddings from any server with OpenAI's `/embeddings`. Pure: usable without Django."""

import functools
from collections.abc import Sequence

import numpy as np
import openai

from core.errors import Problem
from registry.examples.minilm import Matrix, to_unit_length

TIMEOUT_SECONDS = 30.0
# The protocol takes at most 2,048 texts in a request; self-hosted servers take fewer.
BATCH = 128


class RemoteEmbedder:
    """One model of one server. `dimensions` asks for shorter vectors where the model can make them."""

    def __init__(self, url: str, key: str, model: str, dimensions: int | None = None) -> None:
        self._model = model
        self.dimensions = dimensions
        self.name = f"{model}@{dimensions or 'api'}"
        # The server's address is the operator's choice; its redirects, or a proxy, are not.
        http = openai.DefaultHttpx2Client(follow_redirects=False, trust_env=False)
        self._client = openai.OpenAI(
            base_url=url, api_key=key or "none", timeout=TIMEOUT_SECONDS, max_retries=2, http_client=http
        )

    def embed(self, texts: Sequence[str]) -> Matrix:
        rows = [self._batch(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
        return np.vstack(rows) if rows else np.empty((0, self.dimensions or 0), np.float32)

    def _batch(self, texts: Sequence[str]) -> Matrix:
        try:
            answer = self._client.embeddings.create(
                model=self._model,
                input=list(texts),
                dimensions=self.dimensions if self.dimensions else openai.omit,
                encoding_format="float",
            )
            # A server may answer 200 with anything; the client does not look.
            rows = sorted(answer.data, key=lambda row: row.index)
            vectors = np.array([row.embedding for row in rows], np.float32)
        except (openai.OpenAIError, ValueError, TypeError, AttributeError) as error:
            raise Problem("embedder.failed", f"The embedder {self.name} failed: {str(error)[:300]}") from None
        if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
            sentence = f"The embedder {self.name} answered {vectors.shape} numbers for {len(texts)} texts."
            raise Problem("embedder.failed", sentence)
        if self.dimensions and vectors.shape[1] != self.dimensions:
            sentence = f"The embedder {self.name} answered {vectors.shape[1]} dimensions, not {self.dimensions}."
            raise Problem("embedder.failed", sentence)
        if not vectors.any(axis=1).all():
            raise Problem("embedder.failed", f"The embedder {self.name} answered zeros, which are near to nothing.")
        return to_unit_length(vectors)


@functools.cache
def get_remote_embedder(url: str, key: str, model: str, dimensions: int | None) -> RemoteEmbedder:
    """Return the client, created once in a process: it keeps connections open."""
    return RemoteEmbedder(url, key, model, dimensions)
