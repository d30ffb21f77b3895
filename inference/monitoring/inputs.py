"""What comes in, by the texts that a project keeps of its calls: languages, and what it is about."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from core.messages import text_of
from inference.calls import partitions
from inference.models import Call, CallText
from registry.examples import embedders
from registry.examples.minilm import to_unit_length

# So many questions of a window are compared, the newest; fewer than MIN_TEXTS say nothing.
MAX_TEXTS, MIN_TEXTS = 400, 200
MAX_CHARACTERS = 2_000
SHUFFLES = 20_000
# A language that nobody can tell from so few letters.
MIN_LETTERS, UNKNOWN = 12, "(short)"


@dataclass(frozen=True)
class Separation:
    """How far two samples of texts are from being mixed: 0 where nearest neighbours come from either alike, 1 where
    each has its neighbour in its own sample; and the chance of as much without any difference."""

    value: float
    p: float


def questions_of(version: int, environment: str, since: datetime, until: datetime) -> list[str]:
    """Return the newest kept questions of a version's calls: the last message of a user, or the variables."""
    calls = Call.objects.filter(
        version=version,
        environment=environment,
        at__gte=since,
        at__lt=until,
        day__gte=partitions.day_of(since),
        day__lte=partitions.day_of(until),
    )
    projects = calls.values("project")[:1]
    rows = CallText.objects.filter(project__in=projects, reference__in=calls.values("reference"))
    newest = rows.filter(at__gte=since, at__lt=until).order_by("-at")[:MAX_TEXTS]
    return [text for row in newest if (text := _question(row.messages, row.variables))]


def _question(messages: Sequence[Any], variables: Any) -> str:
    texts = [value for value in (variables or {}).values() if isinstance(value, str)]
    if texts:
        return "\n".join(texts)[:MAX_CHARACTERS]
    users = [message for message in messages if message.get("role") == "user"]
    return text_of(users[-1])[:MAX_CHARACTERS] if users else ""


def languages_of(texts: Sequence[str]) -> dict[str, int]:
    """Count texts by the language that they are in (ISO 639-1)."""
    return dict(Counter(map(language_of, texts)))


def language_of(text: str) -> str:
    """Return the language of a text, or UNKNOWN where it is too short to tell."""
    if sum(character.isalpha() for character in text) < MIN_LETTERS:
        return UNKNOWN
    # Imported here: only workers that look at languages pay for the model.
    import py3langid  # noqa: PLC0415

    return str(py3langid.classify(text)[0])


def separation(before: Sequence[str], now: Sequence[str]) -> Separation | None:
    """Return how far what comes in now is from what came before, by its meaning; None with fewer than MIN_TEXTS of
    either, or without an embedder. Raises the Problems of embedders."""
    embedder = embedders.default_embedder()
    n = min(len(before), len(now))
    if n < MIN_TEXTS or embedders.is_lexical(embedder):
        return None
    # Embedded anew each time: vectors of what users wrote must not outlive their texts.
    rows = to_unit_length(embedders.get_embedder(embedder).embed([*before[:n], *now[:n]]))
    return separation_of(rows[:n], rows[n:])


def separation_of(before: "np.ndarray[Any, Any]", now: "np.ndarray[Any, Any]") -> Separation:
    """Return the separation of two samples of as many vectors of unit length (Schilling, "Multivariate two-sample tests
    based on nearest neighbors", JASA 1986), with the chance of it by shuffling which sample a vector is of."""
    rows = np.concatenate([before, now])
    similarities = rows @ rows.T
    np.fill_diagonal(similarities, -2)
    nearest = similarities.argmax(axis=1)
    n = len(before)
    is_now = np.repeat([False, True], n)
    mixed = (n - 1) / (2 * n - 1)
    share = float((is_now == is_now[nearest]).mean())
    # The same shuffles each time: a figure does not move by itself.
    rng = np.random.default_rng(20261129)
    as_much = 0
    for _ in range(SHUFFLES):
        shuffled = rng.permutation(is_now)
        as_much += float((shuffled == shuffled[nearest]).mean()) >= share
    return Separation(max(0.0, (share - mixed) / (1 - mixed)), (as_much + 1) / (SHUFFLES + 1))
