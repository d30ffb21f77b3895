"""A difference as a page shows it: unchanged stretches folded, lines paired for two columns, members named. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from typing import Any

from registry.content import diff
from registry.content.message_view import message_sections

# Unchanged lines that are shown around a change, so that a reader sees where it is.
CONTEXT = 3
TITLES = {
    "settings": "Model settings",
    "response": "Response format",
    "variables": "Variables",
    "tools": "Tools",
    "examples": "Examples",
    "retrieval": "Retrieval",
    "includes": "Partials",
}

EXAMPLE_FIELD_TITLES = {
    "set": "Set",
    "select": "Which of them",
    "k": "How many",
    "per_label": "Of each label at most",
    "token_budget": "Token budget",
    "embedder": "Compared by",
    "query": "Near to what",
}

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Fold:
    """A number of unchanged lines that are not shown."""

    count: int


@dataclass(frozen=True)
class Row:
    """One row: `single` in one column, or `left` beside `right` in two."""

    fold: Fold | None = None
    single: Line | None = None
    left: Line | None = None
    right: Line | None = None


@dataclass(frozen=True)
class MessageChange:
    """`change` is same, changed, added, removed or moved."""

    title: str
    change: str
    was: str
    inline: Sequence[Row]
    split: Sequence[Row]
    # The data of images that only one side has: their text is a digest.
    removed_pictures: Sequence[str] = ()
    added_pictures: Sequence[str] = ()


@dataclass(frozen=True)
class Comparison:
    identical: bool
    added: int
    removed: int
    messages: Sequence[MessageChange]
    members: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]

    @property
    def summary(self) -> str:
        """`+2 −1 lines, model settings changed`."""
        if self.identical:
            return "no difference"
        changed = ", ".join(title.lower() for title, _ in self.members)
        return f"+{self.added} −{self.removed} lines{f' · {changed} changed' if changed else ' · nothing else changed'}"


def compare(old: diff.Content, new: diff.Content, *, whole: bool = False) -> Comparison:
    """Compare two contents; `whole` shows unchanged lines and messages too."""
    difference = diff.diff(old, new)
    messages = [
        MessageChange(
            _title(message),
            message["change"],
            message["old_role"] if message["change"] == "changed" and message["old_role"] != message["role"] else "",
            list(_inline(message["lines"], whole)),
            list(_split(message["lines"], whole)),
            *_changed_pictures(old, new, message),
        )
        for message in difference["messages"]
        if whole or message["change"] != "same"
    ]
    members = [
        (title, _with_field_titles(name, difference[name])) for name, title in TITLES.items() if difference[name]
    ]
    return Comparison(difference["identical"], difference["added"], difference["removed"], messages, members)


def _changed_pictures(old: diff.Content, new: diff.Content, change: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    before, after = _pictures(old, change["old"]), _pictures(new, change["new"])
    return [picture for picture in before if picture not in after], [
        picture for picture in after if picture not in before
    ]


def _pictures(content: diff.Content, position: int | None) -> list[str]:
    if position is None or content["kind"] == "text":
        return []
    return [section.picture for section in message_sections(content["messages"][position]) if section.picture]


def _with_field_titles(member: str, changes: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Name changes of how examples are picked as the editor names its fields."""
    if member != "examples":
        return changes
    return [
        {**change, "pointer": EXAMPLE_FIELD_TITLES.get(change["pointer"].removeprefix("/examples/"), change["pointer"])}
        for change in changes
    ]


def compare_texts(old: str | None, new: str | None, budget: diff.Budget | None = None) -> list[Row]:
    """Return the rows of one column for two texts; None is an absent text. Texts of one page share a budget."""
    return list(_inline(diff.diff_lines(old, new, budget), whole=False))


def _title(message: Mapping[str, Any]) -> str:
    role = message["role"] if message["role"] is not None else message["old_role"]
    position = message["new"] if message["new"] is not None else message["old"]
    return f"{position + 1}. {role}" if role else "Text"


def _inline(lines: Sequence[Line], whole: bool) -> Iterator[Row]:
    return (Row(fold=line) if isinstance(line, Fold) else Row(single=line) for line in _fold_unchanged(lines, whole))


def _split(lines: Sequence[Line], whole: bool) -> Iterator[Row]:
    """Yield removed lines beside the added ones that took their place."""
    folded = _fold_unchanged(lines, whole)
    for is_same, group in groupby(folded, key=lambda line: isinstance(line, Fold) or line["change"] == "same"):
        if is_same:
            yield from (Row(fold=line) if isinstance(line, Fold) else Row(left=line, right=line) for line in group)
            continue
        changed = [line for line in group if not isinstance(line, Fold)]
        removed = [line for line in changed if line["change"] == "removed"]
        added = [line for line in changed if line["change"] == "added"]
        yield from (Row(left=left, right=right) for left, right in zip_longest(removed, added))


def _fold_unchanged(lines: Sequence[Line], whole: bool) -> Iterable[Line | Fold]:
    """Return the lines, with long unchanged stretches as folds."""
    if whole:
        return lines
    changed = [index for index, line in enumerate(lines) if line["change"] != "same"]
    near = {near for index in changed for near in range(index - CONTEXT, index + CONTEXT + 1)}
    folded: list[Line | Fold] = []
    for is_near, group in groupby(enumerate(lines), key=lambda pair: pair[0] in near):
        stretch = [line for _, line in group]
        # A fold of one line would be as long as the line.
        folded += stretch if is_near or len(stretch) == 1 else [Fold(len(stretch))]
    return folded
