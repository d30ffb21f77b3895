"""Which embedders this installation has, by name."""

from django.conf import settings

from core.errors import Problem
from core.references import quoted
from registry.examples import minilm, tfidf
from registry.examples.minilm import Embedder


def default() -> str:
    """The name that a version pins where its author names none: the configured server's, else the model that is
    installed with Cuebook, else nearness of wording."""
    return names()[0]


def names() -> list[str]:
    """All that can be pinned here, the default first."""
    found = [_remote().name] if settings.EMBEDDINGS_URL else []
    if _has_model():
        found.append(minilm.MiniLM.name)
    return [*found, tfidf.NAME]


def is_lexical(name: str) -> bool:
    """Whether `name` compares wording, without vectors."""
    return name == tfidf.NAME


def named(name: str) -> Embedder:
    """The embedder of that name; `embedder.unknown` where this installation has none."""
    if settings.EMBEDDINGS_URL and name == _remote().name:
        return _remote()
    if name == minilm.MiniLM.name and _has_model():
        return minilm.minilm()
    raise unknown(name)


def require(name: str) -> None:
    """`embedder.unknown` unless this installation has it."""
    if name not in names():
        raise unknown(name)


def unknown(name: str) -> Problem:
    sentence = f"This installation has no embedder {quoted(name)}; it has {', '.join(names())}."
    return Problem("embedder.unknown", sentence, embedders=names())


def _has_model() -> bool:
    return settings.EMBEDDINGS_LOCAL and minilm.is_installed()


def _remote() -> Embedder:
    # Imported here: half a second and 60 MB, for those alone who have such a server.
    from registry.examples.remote_embedder import remote  # noqa: PLC0415

    return remote(
        settings.EMBEDDINGS_URL,
        settings.EMBEDDINGS_API_KEY,
        settings.EMBEDDINGS_MODEL,
        settings.EMBEDDINGS_DIMENSIONS or None,
    )
