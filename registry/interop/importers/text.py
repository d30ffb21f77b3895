"""Texts with `{{variables}}` of other products, as templates of ours. Pure.

Elsewhere a text is plain but for its variables: what looks like a tag or a comment of a template is text, and a
variable may be called almost anything. Here such text has to be written as a text, and names are letters, digits and _.
"""

import re
from collections.abc import Callable
from typing import Final

from core.errors import Problem
from registry.content.normalize import RESERVED_NAMES, VARIABLE_NAME

UNREADABLE: Final = "exchange.unreadable"
# A variable, or a brace that would open something in a template. No variable is longer, so time stays linear.
PART = re.compile(r"\{\{([^{}\n]{1,200})\}\}|\{(?=[{%#])")
NAMED = re.compile(r"[A-Za-z0-9]")
BRACE = '{{ "{" }}'
# Langfuse's way of putting one prompt into another: name, and version or label.
INCLUSION = re.compile(r"@@@langfusePrompt:name=([^|@\n]{1,300})\|(version|label)=([^|@\n]{1,100})@@@")
LONGEST_VARIABLE = 64


class Variables:
    """The variables of one version: what each is called here, for what it was called there."""

    def __init__(self) -> None:
        self.renamed: dict[str, str] = {}
        self._taken: dict[str, str] = {}

    def name(self, foreign: str) -> str:
        """A name for a variable; `exchange.unreadable` where two would get the same one."""
        own = _variable_name(foreign)
        if self._taken.setdefault(own, foreign) != foreign:
            sentence = f"The variables {self._taken[own]!r} and {foreign!r} would both be called {own} here."
            raise Problem(UNREADABLE, sentence)
        if own != foreign:
            self.renamed[foreign] = own
        return own


def _variable_name(foreign: str) -> str:
    if VARIABLE_NAME.fullmatch(foreign) and foreign not in RESERVED_NAMES:
        return foreign
    own = re.sub(r"[^A-Za-z0-9_]+", "_", foreign).strip("_")[: LONGEST_VARIABLE - 2]
    own = own if own[0].isalpha() else f"v_{own}"
    return f"{own}_" if own in RESERVED_NAMES else own


def template(text: str, variables: Variables, include: Callable[[str, str, str], str] | None = None) -> str:
    """A template that renders to what the other product would have made of `text`.

    `include` gives the reference that stands for Langfuse's inclusion, from its name, and version or label and its
    value; without it such a tag is text.
    """
    if include is None:
        return _plain(text, variables)
    written: list[str] = []
    end = 0
    for match in INCLUSION.finditer(text):
        written.append(_plain(text[end : match.start()], variables))
        written.append(f'{{% include "{include(match[1], match[2], match[3])}" %}}')
        end = match.end()
    return "".join([*written, _plain(text[end:], variables)])


def _plain(text: str, variables: Variables) -> str:
    written: list[str] = []
    end = 0
    for match in PART.finditer(text):
        written.append(text[end : match.start()])
        named = (match[1] or "").strip()
        if NAMED.search(named):
            written.append(f"{{{{ {variables.name(named)} }}}}")
        else:
            written.append(f"{BRACE}{BRACE}{match[0][2:]}" if match[1] else BRACE)
        end = match.end()
    rest = text[end:]
    # What follows may be a tag of ours.
    return "".join([*written, f"{rest[:-1]}{BRACE}" if rest.endswith("{") else rest])
