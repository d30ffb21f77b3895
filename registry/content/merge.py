"""Three-way merge of a content that two users changed: what merges, and which conflicts a user decides. Pure.

A content is taken apart into parts (each message; each setting and variable; the response, tools and examples whole).
A part that only one author changed is taken from that author; text that both changed in different lines is merged by
line; the rest is a conflict, which shows both and keeps `mine` until the user chooses.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from registry.content.diff import Budget, message_texts, opcodes, pair_messages

Content = Mapping[str, Any]
State = Literal["same", "theirs", "mine", "both", "merged", "conflict"]
MergeSource = Literal["base", "theirs", "mine"]
# Members whose own members are parts, with what such a part is called; the others are a part each.
OPEN_MEMBERS = {"model": "", "variables": "Variable ", "includes": "Partial "}
WHOLE_MEMBERS = ("response", "tools", "examples", "retrieval")


@dataclass(frozen=True)
class Part:
    """One part in its three forms (None: absent), and the merge's result for it.

    `key` names it: `/model/temperature`, or `message-3`, which is no position but stays the same whatever is chosen.
    """

    key: str
    title: str
    state: State
    base: Any
    theirs: Any
    mine: Any
    merged: Any

    @property
    def is_changed(self) -> bool:
        return self.state != "same"


def merge(base: Content, theirs: Content, mine: Content) -> list[Part]:
    """Return the parts of three contents of one prompt; `base` is the common ancestor."""
    budget = Budget()
    if not base["kind"] == theirs["kind"] == mine["kind"]:
        return [
            _merge_part("", "The whole prompt, of another kind", dict(base), dict(theirs), dict(mine), budget=budget)
        ]
    budget = Budget()
    return [*_messages(base, theirs, mine, budget), *_members(base, theirs, mine, budget)]


def assemble(kind: str, parts: Sequence[Part], choices: Mapping[str, MergeSource] | None = None) -> dict[str, Any]:
    """Build the content from its parts; `choices` (by key) override the merge's own result."""
    selected = [
        (part, getattr(part, choices[part.key]) if choices and part.key in choices else part.merged) for part in parts
    ]
    if len(parts) == 1 and parts[0].key == "":
        return dict(selected[0][1])
    content: dict[str, Any] = {"kind": kind}
    messages = [value for part, value in selected if part.key.startswith("message-") and value is not None]
    if kind == "text":
        content["text"] = messages[0]["content"] if messages else ""
    else:
        content["messages"] = messages
    for part, value in selected:
        if part.key.startswith("/") and value is not None:
            _, member, *name = part.key.split("/", 2)
            if name:
                content.setdefault(member, {})[name[0]] = value
            else:
                content[member] = value
    return content


def merge_lines(base: str, theirs: str, mine: str, budget: Budget | None = None) -> str | None:
    """Return the text with both authors' changes, or None where they touch the same lines."""
    lines, budget = base.split("\n"), budget or Budget()
    changes = sorted({*_changes(lines, theirs.split("\n"), budget), *_changes(lines, mine.split("\n"), budget)})
    for (_, end, _), (start, _, _) in pairwise(changes):
        # Adjacent changes count as overlapping: the order of two insertions at one place is unknown.
        if start <= end:
            return None
    for start, end, replacement in reversed(changes):
        lines[start:end] = replacement
    return "\n".join(lines)


def _changes(base: Sequence[str], other: Sequence[str], budget: Budget) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Return (start, end, new lines) of each stretch of `base` that differs in `other`."""
    return ((a, b, tuple(other[c:d])) for tag, a, b, c, d in opcodes(base, other, budget) if tag != "equal")


def _merge_part(key: str, title: str, base: Any, theirs: Any, mine: Any, *, budget: Budget) -> Part:
    state: State = "conflict"
    merged = mine
    if theirs == mine:
        state = "same" if base == mine else "both"
    elif theirs == base:
        state = "mine"
    elif mine == base:
        state, merged = "theirs", theirs
    elif _are_texts(base, theirs, mine):
        text = merge_lines(base["content"], theirs["content"], mine["content"], budget)
        if text is not None:
            state, merged = "merged", {**mine, "content": text}
    return Part(key, title, state, base, theirs, mine, merged)


def _are_texts(*messages: Any) -> bool:
    """Return whether all are messages of a text and nothing that differs beside it."""
    return all(
        isinstance(message, dict)
        and isinstance(message.get("content"), str)
        and {**message, "content": ""} == {**messages[0], "content": ""}
        for message in messages
    )


def _members(base: Content, theirs: Content, mine: Content, budget: Budget) -> Iterator[Part]:
    for member, kind in OPEN_MEMBERS.items():
        forms = [content.get(member, {}) for content in (base, theirs, mine)]
        for name in sorted({name for form in forms for name in form}):
            title = "Model" if (member, name) == ("model", "name") else f"{kind}{name}"
            yield _merge_part(f"/{member}/{name}", title, *(form.get(name) for form in forms), budget=budget)
    for member in WHOLE_MEMBERS:
        forms = [content.get(member) for content in (base, theirs, mine)]
        if any(form is not None for form in forms):
            yield _merge_part(f"/{member}", member.capitalize(), *forms, budget=budget)


@dataclass(frozen=True)
class _Row:
    """One message's positions in the base, in mine and in theirs, None where it is absent."""

    base: int | None
    mine: int | None
    theirs: int | None


def _messages(base: Content, theirs: Content, mine: Content, budget: Budget) -> Iterator[Part]:
    of_base, of_theirs, of_mine = (_messages_of(content) for content in (base, theirs, mine))
    for number, row in enumerate(_align_messages(base, theirs, mine), start=1):
        forms = (
            of_base[row.base] if row.base is not None else None,
            of_theirs[row.theirs] if row.theirs is not None else None,
            of_mine[row.mine] if row.mine is not None else None,
        )
        role = next(message["role"] for message in forms if message is not None)
        yield _merge_part(f"message-{number}", f"Message {number}, {role}" if role else "Text", *forms, budget=budget)


def _align_messages(base: Content, theirs: Content, mine: Content) -> list[_Row]:
    """Align messages in my order; removed ones where they were, ones new in theirs after those they follow there."""
    old = message_texts(base)
    origin_of_theirs, origin_of_mine = (
        pair_messages(old, message_texts(theirs)),
        pair_messages(old, message_texts(mine)),
    )
    in_theirs = {origin: index for index, origin in origin_of_theirs.items()}
    rows = [
        _Row(origin, index, None if origin is None else in_theirs.get(origin))
        for index in range(len(message_texts(mine)))
        for origin in [origin_of_mine.get(index)]
    ]
    for origin in sorted(set(range(len(old))) - set(origin_of_mine.values())):
        later = (place for place, row in enumerate(rows) if row.base is not None and row.base > origin)
        rows.insert(next(later, len(rows)), _Row(origin, None, in_theirs.get(origin)))
    new = message_texts(theirs)
    for index in range(len(new)):
        if index not in origin_of_theirs:
            _insert_new_message(rows, index, new[index], message_texts(mine))
    return rows


def _insert_new_message(
    rows: list[_Row], index: int, message: tuple[str, str], mine: Sequence[tuple[str, str]]
) -> None:
    """Insert a message that is new in theirs beside the same new one of mine, else after its predecessor there."""
    for place, row in enumerate(rows):
        if row.base is None and row.theirs is None and row.mine is not None and mine[row.mine] == message:
            rows[place] = _Row(None, row.mine, index)
            return
    after = next((place for place, row in enumerate(rows) if row.theirs == index - 1), -1) if index else -1
    rows.insert(after + 1, _Row(None, None, index))


def _messages_of(content: Content) -> list[dict[str, Any]]:
    """Return a content's messages; a text prompt is one message without a role."""
    if content["kind"] == "text":
        return [{"role": "", "content": content["text"]}]
    return list(content["messages"])
