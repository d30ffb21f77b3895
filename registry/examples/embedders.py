"""The embedders of this installation, by name."""

from django.conf import settings

from core.errors import Problem
from core.references import quoted
from registry.examples import minilm, tfidf
from registry.examples.minilm import Embedder


def default_embedder() -> str:
    """Return the name that a version pins where its author names none: the configured server's model, else the model
    that is installed with Cuebook, else lexical similarity."""
    return embedder_names()[0]


def embedder_names() -> list[str]:
    """Return all embedders that can be pinned here, the default first."""
    installed = [_remote().name] if settings.EMBEDDINGS_URL else []
    if _has_model():
        installed.append(minilm.MiniLM.name)
    return [*installed, tfidf.NAME]


def is_lexical(name: str) -> bool:
    """Return whether `name` compares wording, without vectors."""
    return name == tfidf.NAME


def get_embedder(name: str) -> Embedder:
    """Return the embedder of that name; `embedder.unknown` where this installation has none."""
    if settings.EMBEDDINGS_URL and name == _remote().name:
        return _remote()
    if name == minilm.MiniLM.name and _has_model():
        return minilm.load_minilm()
    raise unknown_embedder(name)


def require_embedder(name: str) -> None:
    """Raise `embedder.unknown` unless this installation has it."""
    if name not in embedder_names():
        raise unknown_embedder(name)


def unknown_embedder(name: str) -> Problem:
    sentence = f"This installation has no embedder {quoted(name)}; it has {', '.join(embedder_names())}."
    return Problem("embedder.unknown", sentence, embedders=embedder_names())


def _has_model() -> bool:
    return settings.EMBEDDINGS_LOCAL and minilm.is_installed()


def _remote() -> Embedder:
    # Imported here: it costs half a second and 60 MB, which only installations with such a server should pay.
    from registry.examples.remote_embedder import get_remote_embedder  # noqa: PLC0415

    return get_remote_embedder(
        settings.EMBEDDINGS_URL,
        settings.EMBEDDINGS_API_KEY,
        settings.EMBEDDINGS_MODEL,
        settings.EMBEDDINGS_DIMENSIONS or None,
    )
