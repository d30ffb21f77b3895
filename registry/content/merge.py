"""Two people changed one content: what each did, what fits together, and what somebody must choose. Pure.

A content is taken apart into parts (each message; each setting and variable; the response, tools and examples whole).
A part that only one side changed is that side's; text that both changed in different lines is merged by line; the rest
is a conflict, which shows both and takes `mine` until somebody chooses.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from registry.content.diff import Budget, opcodes, pair_messages, texts

Content = Mapping[str, Any]
State = Literal["same", "theirs", "mine", "both", "merged", "conflict"]
Side = Literal["base", "theirs", "mine"]
# Members whose own members are parts, with what such a part is called; the others are a part each.
OPEN_MEMBERS = {"model": "", "variables": "Variable ", "includes": "Partial "}
WHOLE_MEMBERS = ("response", "tools", "examples")


@dataclass(frozen=True)
class Part:
    """One part in its three forms (None: it is not there), and what the merge makes of it.

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
    """The parts of three contents of one prompt; `base` is what both sides started from."""
    budget = Budget()
    if not base["kind"] == theirs["kind"] == mine["kind"]:
        return [_part("", "The whole prompt, of another kind", dict(base), dict(theirs), dict(mine), budget=budget)]
    budget = Budget()
    return [*_messages(base, theirs, mine, budget), *_members(base, theirs, mine, budget)]


def assemble(kind: str, parts: Sequence[Part], choices: Mapping[str, Side] | None = None) -> dict[str, Any]:
    """The content that the parts make; `choices` (key to side) decide parts against the merge's own answer."""
    chosen = [
        (part, getattr(part, choices[part.key]) if choices and part.key in choices else part.merged) for part in parts
    ]
    if len(parts) == 1 and parts[0].key == "":
        return dict(chosen[0][1])
    content: dict[str, Any] = {"kind": kind}
    messages = [value for part, value in chosen if part.key.startswith("message-") and value is not None]
    if kind == "text":
        content["text"] = messages[0]["content"] if messages else ""
    else:
        content["messages"] = messages
    for part, value in chosen:
        if part.key.startswith("/") and value is not None:
            _, member, *name = part.key.split("/", 2)
            if name:
                content.setdefault(member, {})[name[0]] = value
            else:
                content[member] = value
    return content


def merge_lines(base: str, theirs: str, mine: str, budget: Budget | None = None) -> str | None:
    """The text with both sides' changes, or None where they touch the same lines."""
    lines, budget = base.split("\n"), budget or Budget()
    changes = sorted({*_changes(lines, theirs.split("\n"), budget), *_changes(lines, mine.split("\n"), budget)})
    for (_, end, _), (start, _, _) in pairwise(changes):
        # Touching counts as meeting: of two insertions at one place nobody knows the order.
        if start <= end:
            return None
    for start, end, replacement in reversed(changes):
        lines[start:end] = replacement
    return "\n".join(lines)


def _changes(base: Sequence[str], other: Sequence[str], budget: Budget) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """(start, end, new lines) of each stretch of `base` that is different in `other`."""
    return ((a, b, tuple(other[c:d])) for tag, a, b, c, d in opcodes(base, other, budget) if tag != "equal")


def _part(key: str, title: str, base: Any, theirs: Any, mine: Any, *, budget: Budget) -> Part:
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
    """Whether all are messages with text, of one role."""
    return all(
        isinstance(one, dict) and "content" in one and one.get("role") == messages[0].get("role") for one in messages
    )


def _members(base: Content, theirs: Content, mine: Content, budget: Budget) -> Iterator[Part]:
    for member, kind in OPEN_MEMBERS.items():
        sides = [side.get(member, {}) for side in (base, theirs, mine)]
        for name in sorted({name for side in sides for name in side}):
            title = "Model" if (member, name) == ("model", "name") else f"{kind}{name}"
            yield _part(f"/{member}/{name}", title, *(side.get(name) for side in sides), budget=budget)
    for member in WHOLE_MEMBERS:
        three = [side.get(member) for side in (base, theirs, mine)]
        if any(value is not None for value in three):
            yield _part(f"/{member}", member.capitalize(), *three, budget=budget)


@dataclass(frozen=True)
class _Row:
    """One message in its three places: positions in the base, in mine and in theirs, None where it is not there."""

    base: int | None
    mine: int | None
    theirs: int | None


def _messages(base: Content, theirs: Content, mine: Content, budget: Budget) -> Iterator[Part]:
    of_base, of_theirs, of_mine = (_listed(side) for side in (base, theirs, mine))
    for number, row in enumerate(_aligned(base, theirs, mine), start=1):
        three = (
            of_base[row.base] if row.base is not None else None,
            of_theirs[row.theirs] if row.theirs is not None else None,
            of_mine[row.mine] if row.mine is not None else None,
        )
        role = next(one["role"] for one in three if one is not None)
        yield _part(f"message-{number}", f"Message {number}, {role}" if role else "Text", *three, budget=budget)


def _aligned(base: Content, theirs: Content, mine: Content) -> list[_Row]:
    """Messages in my order; those that I removed where they were, those new in theirs after what they follow there."""
    old = texts(base)
    origin_of_theirs, origin_of_mine = pair_messages(old, texts(theirs)), pair_messages(old, texts(mine))
    in_theirs = {origin: index for index, origin in origin_of_theirs.items()}
    rows = [
        _Row(origin, index, None if origin is None else in_theirs.get(origin))
        for index in range(len(texts(mine)))
        for origin in [origin_of_mine.get(index)]
    ]
    for origin in sorted(set(range(len(old))) - set(origin_of_mine.values())):
        later = (place for place, row in enumerate(rows) if row.base is not None and row.base > origin)
        rows.insert(next(later, len(rows)), _Row(origin, None, in_theirs.get(origin)))
    new = texts(theirs)
    for index in range(len(new)):
        if index not in origin_of_theirs:
            _place(rows, index, new[index], texts(mine))
    return rows


def _place(rows: list[_Row], index: int, message: tuple[str, str], mine: Sequence[tuple[str, str]]) -> None:
    """Put a message that is new in theirs beside the same new one of mine, else after the one before it there."""
    for place, row in enumerate(rows):
        if row.base is None and row.theirs is None and row.mine is not None and mine[row.mine] == message:
            rows[place] = _Row(None, row.mine, index)
            return
    after = next((place for place, row in enumerate(rows) if row.theirs == index - 1), -1) if index else -1
    rows.insert(after + 1, _Row(None, None, index))


def _listed(content: Content) -> list[dict[str, Any]]:
    """A content's messages; a text prompt is one message without a role."""
    if content["kind"] == "text":
        return [{"role": "", "content": content["text"]}]
    return list(content["messages"])
