"""Texts as points: the model in numpy, wording where there is none, and any server with /embeddings."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from core.errors import Problem
from registry.examples import embedders, tfidf
from registry.examples import minilm as embedding
from registry.examples.minilm import load_minilm
from registry.examples.remote_embedder import RemoteEmbedder
from registry.examples.tfidf import Lexicon


def test_the_model_computes_what_its_authors_computed():
    # The first numbers for this text as torch's BertModel gives them (checked beside it when this was written).
    (row,) = load_minilm().embed(["hello world"])

    assert np.allclose(row[:5], [-0.034477, 0.031023, 0.006735, 0.026109, -0.039362], atol=1e-5)
    assert np.isclose(np.linalg.norm(row), 1)


def test_meaning_is_nearer_than_wording():
    texts = ["The customer was charged twice", "The server does not answer", "Please bill me only once"]
    rows = load_minilm().embed(texts)

    assert rows[0] @ rows[2] > rows[0] @ rows[1]


def test_a_batch_is_as_each_text_alone():
    texts = ["short", "a text that is somewhat longer than the other one is", "x" * 3_000]

    together = load_minilm().embed(texts)

    assert np.allclose(together, np.vstack([load_minilm().embed([text]) for text in texts]), atol=1e-5)
    assert load_minilm().embed([]).shape == (0, 384)


def test_wording_survives_case_accents_and_plurals():
    lexicon = Lexicon(["Die Rechnung ist zu hoch", "The server timed out", "Résumé of the invoices"])

    assert int(np.argmax(lexicon.scores("SERVERS TIMEOUT"))) == 1
    assert int(np.argmax(lexicon.scores("resume invoice"))) == 2
    assert np.isclose(lexicon.scores("The server timed out")[1], 1)
    assert not lexicon.scores("日本語").any()
    assert len(Lexicon([]).scores("x")) == 0


def test_without_the_package_wording_is_the_default(monkeypatch: Any):
    monkeypatch.setattr(embedding, "PACKAGE", "a_package_that_is_not_there")

    assert embedders.embedder_names() == [tfidf.NAME]
    with pytest.raises(Problem) as refused:
        embedders.get_embedder("minilm-l6-v2@1")
    assert refused.value.code == "embedder.unknown"


class Answer(BaseHTTPRequestHandler):
    """A server with /embeddings that answers what the test says."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(request)  # type: ignore[attr-defined]
        status, body = self.server.answer(request)  # type: ignore[attr-defined]
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@contextmanager
def server(answer: Any) -> Iterator[Any]:
    http_server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    http_server.answer, http_server.requests = answer, []  # type: ignore[attr-defined]
    thread = threading.Thread(target=http_server.serve_forever, daemon=True)
    thread.start()
    try:
        yield http_server
    finally:
        http_server.shutdown()
        http_server.server_close()
        thread.join()


def embedder_of(http_server: Any, dimensions: int | None = None) -> RemoteEmbedder:
    return RemoteEmbedder(f"http://127.0.0.1:{http_server.server_port}/v1", "key", "tiny", dimensions)


def good(request: Any) -> tuple[int, Any]:
    rows = [{"index": i, "embedding": [3.0, 4.0], "object": "embedding"} for i in range(len(request["input"]))]
    return 200, {
        "data": rows[::-1],
        "model": "tiny",
        "object": "list",
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }


def test_any_server_with_embeddings_will_do():
    with server(good) as http_server:
        embedder = embedder_of(http_server)
        rows = embedder.embed(["a"] * 130)

    assert rows.shape == (130, 2)
    assert np.allclose(rows[0], [0.6, 0.8])
    assert [len(request["input"]) for request in http_server.requests] == [128, 2]
    assert embedder.name == "tiny@api"
    assert RemoteEmbedder("http://127.0.0.1:1", "", "tiny", 256).name == "tiny@256"


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>proxy</html>"),
        (200, {"data": []}),
        (200, {"data": None}),
        (200, {}),
        (200, {"data": [{"index": 0, "embedding": ["x"]}]}),
        (401, {"error": {"message": "no"}}),
    ],
)
def test_a_server_that_answers_anything_else_has_failed(answer: Any):
    with server(lambda _: answer) as http_server, pytest.raises(Problem) as refused:
        embedder_of(http_server).embed(["a"])

    assert refused.value.code == "embedder.failed"


def test_other_dimensions_than_were_asked_for_are_refused():
    with server(good) as http_server, pytest.raises(Problem, match="dimensions"):
        embedder_of(http_server, 8).embed(["a"])
