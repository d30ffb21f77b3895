"""Conversion of other products' texts with `{{variables}}` to templates. Pure.

Elsewhere a text is plain except for its variables: what looks like a tag or a comment of a template is text, and a
variable may have almost any name. Here such text has to be escaped, and names are letters, digits and _.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Final

from core.errors import Problem
from registry.content.checker import RESERVED_NAMES, is_variable_name

UNREADABLE: Final = "exchange.unreadable"
# A variable, or a brace that would open something in a template. No variable is longer, so time stays linear.
PART = re.compile(r"\{\{([^{}\n]{1,200})\}\}|\{(?=[{%#])")
# A variable's name elsewhere: words of any script, with spaces, hyphens and points between them. Anything else between
# double braces (JSON, a section of Mustache) is text there.
NAME = re.compile(r"\w[\w .-]*")
NAMED = re.compile(r"[^\W_]")
BRACE = '{{ "{" }}'
# Langfuse's inclusion of another prompt: name, and version or label.
INCLUSION = re.compile(r"@@@langfusePrompt:name=([^|@\n]{1,300})\|(version|label)=([^|@\n]{1,100})@@@")
MAX_VARIABLE = 64


class Variables:
    """The variables of one version: their names here, by their names in the source."""

    def __init__(self) -> None:
        self.renamed: dict[str, str] = {}
        self._taken: dict[str, str] = {}

    def name(self, source_name: str) -> str:
        """Return a valid name for a variable; `exchange.unreadable` where two would get the same one."""
        local_name = _variable_name(source_name)
        if self._taken.setdefault(local_name, source_name) != source_name:
            sentence = (
                f"The variables {self._taken[local_name]!r} and {source_name!r} would both be named {local_name} here."
            )
            raise Problem(UNREADABLE, sentence)
        if local_name != source_name:
            self.renamed[source_name] = local_name
        return local_name


def _variable_name(source_name: str) -> str:
    source_name = unicodedata.normalize("NFC", source_name)
    if is_variable_name(source_name):
        return source_name
    name = re.sub(r"\W+", "_", source_name).strip("_")[: MAX_VARIABLE - 2]
    name = name if name[:1].isalpha() else f"v_{name}"
    name = f"{name}_" if name in RESERVED_NAMES else name
    # A few letters may stand in words and not in names.
    return name if is_variable_name(name) else "v_" + re.sub(r"[^A-Za-z0-9_]", "_", name)


def template(text: str, variables: Variables, include: Callable[[str, str, str], str] | None = None) -> str:
    """Return a template that renders as the other product would render `text`.

    `include` returns the reference for Langfuse's inclusion, from its name, and version or label and its
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
        variable = (match[1] or "").strip()
        if NAME.fullmatch(variable) and NAMED.search(variable):
            written.append(f"{{{{ {variables.name(variable)} }}}}")
        else:
            written.append(f"{BRACE}{BRACE}{match[0][2:]}" if match[1] else BRACE)
        end = match.end()
    rest = text[end:]
    # The text after it may be a tag of a template.
    return "".join([*written, f"{rest[:-1]}{BRACE}" if rest.endswith("{") else rest])
