"""Which setting a provider's refusal is about. Pure.

Only a refusal of a setting as such counts ("Unsupported parameter: 'max_tokens'"), not one of its value in this call (a
limit that is too large for this prompt).
"""

import re
from collections.abc import Iterable

NOUN = "(?:parameter|value|field|name|(?:request )?argument)"
REFUSES = re.compile(
    f"(?:unsupported|unknown|unrecognized) {NOUN}|extra inputs are not permitted"
    "|(?:is|are) not supported|does not support|no longer supported|is deprecated",
    re.IGNORECASE,
)
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
    if not REFUSES.search(detail):
        return ""
    for name in settings:
        words = next((spellings for spellings in SPELLINGS if name in spellings), (name,))
        if re.search(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)", detail):
            return name
    return ""
