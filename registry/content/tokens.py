"""Token counts of texts. Pure: usable without Django, and without a network: the vocabularies are in a package.

Counts are exact for the models whose vocabulary is known (OpenAI's), and an estimate by the newest of those for all
others; a count says which it is.
"""

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from core.messages import address_of, images_of, text_of
from registry.content.model_profiles.image_tokens import count_image

# Longest prefix wins. Fine-tunes ("ft:gpt-4o-mini-...:acme::x") count as their base model.
VOCABULARIES = {
    "gpt-6": "o200k_base",
    "gpt-5": "o200k_base",
    "gpt-4.5": "o200k_base",
    "gpt-4.1": "o200k_base",
    "gpt-4o": "o200k_base",
    "chatgpt-4o": "o200k_base",
    "o1": "o200k_base",
    "o3": "o200k_base",
    "o4": "o200k_base",
    "gpt-4": "cl100k_base",
    "gpt-3.5": "cl100k_base",
    "text-embedding": "cl100k_base",
}
DEFAULT_VOCABULARY = "o200k_base"
# A chat request frames each message, and primes the answer (OpenAI's cookbook, "How to count tokens").
PER_MESSAGE = 3
PER_ANSWER = 3
# The counter refuses texts of more than 200,000 tokens; a piece of this many characters stays below that.
MAX_PIECE_CHARACTERS = 40_000


@dataclass(frozen=True)
class TokenCount:
    """A number of tokens; `is_exact` is False where another model's vocabulary was used."""

    tokens: int
    is_exact: bool


def count(text: str, model: str = "") -> TokenCount:
    """Count the tokens of a text as `model` reads it."""
    vocabulary = vocabulary_for(model)
    encoding = _encoding(vocabulary or DEFAULT_VOCABULARY)
    tokens = sum(len(encoding.encode_ordinary(piece)) for piece in _pieces(text))
    # Where a text is cut, one token may become two: beyond a piece the count is very near, not exact.
    return TokenCount(tokens, is_exact=vocabulary is not None and len(text) <= MAX_PIECE_CHARACTERS)


def count_messages(messages: Iterable[Mapping[str, Any]], model: str = "") -> TokenCount:
    """Count the prompt tokens of a chat request, framing included."""
    counts = [count_message(message, model) for message in messages]
    framing = PER_MESSAGE * len(counts) + PER_ANSWER
    return TokenCount(
        sum(message_count.tokens for message_count in counts) + framing,
        all(message_count.is_exact for message_count in counts),
    )


def count_images(messages: Iterable[Mapping[str, Any]], model: str = "") -> int:
    """Estimate the tokens of the images of messages, by the rule of the model's provider."""
    images = [image for message in messages for image in images_of(message)]
    return sum(count_image(address_of(image), image["image_url"].get("detail", "auto"), model) for image in images)


def count_message(message: Mapping[str, Any], model: str = "") -> TokenCount:
    """Count the tokens of one message without its framing: an estimate where it has images or calls of tools, which
    providers count by rules of their own. A call is about as long as its JSON."""
    text, more = count(text_of(message), model), count_images([message], model)
    has_images = more > 0
    calls = message.get("tool_calls")
    if calls:
        more += count(json.dumps(calls), model).tokens
    return TokenCount(text.tokens + more, text.is_exact and not has_images and not calls)


def vocabulary_for(model: str) -> str | None:
    """Return the vocabulary's name, or None for an unknown model."""
    name = model.removeprefix("ft:")
    prefixes = [prefix for prefix in VOCABULARIES if name.startswith(prefix)]
    return VOCABULARIES[max(prefixes, key=len)] if prefixes else None


@functools.cache
def _encoding(name: str) -> Any:
    # Imported here: it loads its vocabularies at once, half a second that commands and beat need not spend.
    import bpe_openai  # noqa: PLC0415

    return bpe_openai.get_encoding(name)


def _pieces(text: str) -> Iterable[str]:
    return (text[start : start + MAX_PIECE_CHARACTERS] for start in range(0, len(text), MAX_PIECE_CHARACTERS))
