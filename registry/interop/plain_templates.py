"""Templates for clients that fill in names and nothing else. Pure.

Partials are written into the text, and a template that needs more is refused in words, because a condition or filter
sent as it stands would reach the model as text.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.content import partial_source
from core.errors import Problem
from core.rendering import MAX_OUTPUT_CHARACTERS

Content = Mapping[str, Any]
INCLUDE = re.compile(r"""\{%([-+]?)\s*include\s+(?:'([^'%]+)'|"([^"%]+)")\s*([-+]?)%\}""")
# A tag that is not closed matches to the end, so that no text takes quadratic time.
PART = re.compile(r"\{\{.*?(?:\}\}|\Z)|\{%.*?(?:%\}|\Z)|\{#.*?(?:#\}|\Z)", re.DOTALL)
PLAIN_VARIABLE = re.compile(r"\{\{\s*([^\W\d_]\w*)\s*\}\}")


@dataclass(frozen=True)
class Client:
    """Whoever fills in the text, and the code of what it cannot fill in."""

    title: str
    code: str

    def refusal(self, part: str, sentence: str) -> Problem:
        return Problem(self.code, f"{sentence}; ask /api/v1/.../render instead.", part=part[:200])


def plain_text(client: Client, source: str, content: Content, partials: Mapping[str, Content]) -> str:
    """Return a template with its partials written into it. Raises the client's code where it has more than names."""
    text = _inline_partials(client, source, content, partials, {})
    for part in PART.finditer(text):
        if not PLAIN_VARIABLE.fullmatch(part[0]):
            raise client.refusal(part[0], f"{part[0][:60]} is more than {client.title} can fill in")
    return text


def _inline_partials(
    client: Client, source: str, content: Content, partials: Mapping[str, Content], inlined: dict[str, str]
) -> str:
    """Return the text with its partials inlined, recursively; `inlined` caches the partials' texts.

    A few partials that each include the next one many times would expand to more than any memory.
    """
    pins = content.get("includes", {})
    written: list[str] = []
    size = 0
    end, strips_next = 0, False
    for match in INCLUDE.finditer(source):
        before = source[end : match.start()]
        # `-%}` takes the white space after a tag away, `{%-` that before it.
        before = before.lstrip() if strips_next else before
        written.append(before.rstrip() if match[1] == "-" else before)
        pinned = pins.get(match[2] or match[3])
        if pinned is None:
            # It looks like a tag but is none, such as in a comment.
            raise client.refusal(match[0], f"{match[0][:60]} includes nothing")
        if pinned not in inlined:
            partial = partials[pinned]
            inlined[pinned] = _inline_partials(client, partial_source(partial) or "", partial, partials, inlined)
        written.append(inlined[pinned])
        size += len(before) + len(inlined[pinned])
        if size > MAX_OUTPUT_CHARACTERS:
            sentence = f"With its partials the text has more than {MAX_OUTPUT_CHARACTERS:,} characters."
            raise Problem("template.too_expensive", sentence)
        strips_next, end = match[4] == "-", match.end()
    rest = source[end:]
    return "".join([*written, rest.lstrip() if strips_next else rest])
