"""Links as data: a page and its arguments. finetunes.presentation turns them into addresses. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Link:
    """A page by the name of its route; `arguments` follow the project's slug."""

    page: str
    arguments: tuple[str | int, ...] = ()
    query: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {"page": self.page, "arguments": list(self.arguments), "query": dict(self.query)}


def link_from_dict(document: Mapping[str, Any] | str) -> Link | str:
    """Read a stored link; older rows hold the address itself, or an empty text."""
    if isinstance(document, str):
        return document
    return Link(document["page"], tuple(document["arguments"]), document["query"])
