"""Which setting a provider's refusal is about. Pure.

Only a refusal of a setting as such counts ("Unsupported parameter: 'max_tokens'"), not one of its value in this call (a
limit that is too large for this prompt). Of a temperature and the like, a refused value is a refusal of all but the
default.
"""

import re
from collections.abc import Iterable

from core.model_settings import SAMPLING_SETTINGS

NOUN = "(?:parameter|value|field|name|(?:request )?argument)"
REFUSES = re.compile(
    f"(?:unsupported|unknown|unrecognized) {NOUN}|extra inputs are not permitted"
    "|(?:is|are) not supported|does not support|no longer supported|is deprecated",
    re.IGNORECASE,
)
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
    if not REFUSES.search(detail) or ABOUT_MORE.search(detail):
        return ""
    is_about_value = "unsupported value" in detail.lower()
    for name in settings:
        if is_about_value and name not in SAMPLING_SETTINGS:
            continue
        words = next((spellings for spellings in SPELLINGS if name in spellings), (name,))
        if re.search(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)", detail):
            return name
    return ""
