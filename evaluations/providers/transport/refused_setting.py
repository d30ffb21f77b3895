"""Which setting a provider's refusal is about. Pure.

Only a refusal of a setting as such counts ("Unsupported parameter: 'max_tokens'"), not one of its value in this call (a
limit that is too large for this prompt). Of a temperature and the like, a refused value is a refusal of all but the
default.
"""

import re
from collections.abc import Iterable

from core.model_settings import SAMPLING_SETTINGS

# How sentences refuse a setting NAME as such; where more stands between it and such words, they are about a value.
QUOTE = "['\"`]?"
NOUN = "(?:parameter|field|name|setting|(?:request )?argument)"
SUBJECT = rf"(?:^|[.:;] ?|['\"`]|{NOUN} ){QUOTE}NAME{QUOTE}"
SENTENCES = (
    rf"(?:unsupported|unknown|unrecognized) {NOUN}s?(?: supplied)?:? {QUOTE}NAME(?!\w)",
    rf"{SUBJECT} (?:(?:is|are) (?:not|no longer) supported|is deprecated)",
    rf"does not support (?:the )?(?:{NOUN} )?{QUOTE}NAME{QUOTE}(?:$|[.,;]| (?:with|for|on|in|when|and|{NOUN})\b)",
    r"(?:^|[\s(])NAME: extra inputs are not permitted",
)
# The same of a value, which of a temperature and the like means all but the default.
VALUE_SENTENCE = rf"unsupported value: {QUOTE}NAME(?!\w)"
# About a combination, or about a name within a schema.
ABOUT_MORE = re.compile(r"function tools with|schema", re.IGNORECASE)
# What the wires call a setting.
SPELLINGS = (
    ("max_output_tokens", "max_tokens", "max_completion_tokens", "maxOutputTokens"),
    ("reasoning", "reasoning_effort", "effort", "thinking", "thinkingConfig", "thinkingLevel"),
    ("top_p", "topP"),
    ("top_k", "topK"),
    ("stop", "stop_sequences", "stopSequences"),
)


def refused_setting(detail: str, settings: Iterable[str]) -> str:
    """Return the setting among a request's that a provider's sentence refuses; empty where it names none."""
    if ABOUT_MORE.search(detail):
        return ""
    for name in settings:
        words = next((spellings for spellings in SPELLINGS if name in spellings), (name,))
        sentences = (*SENTENCES, VALUE_SENTENCE) if name in SAMPLING_SETTINGS else SENTENCES
        subject = f"(?:{'|'.join(map(re.escape, words))})"
        if any(re.search(sentence.replace("NAME", subject), detail, re.IGNORECASE) for sentence in sentences):
            return name
    return ""
