"""The difference between two contents: messages with marks inside lines, and every other member by JSON pointer.
Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any

from core.messages import as_text

# Limits on the cost of a comparison. Matching is at least quadratic, and both texts come from users: beyond these sizes
# a difference is coarser (whole lines, whole blocks, messages by position) instead of taking minutes. Pairs of lines
# and of words are counted for a whole comparison, however many messages it has; the limit on words is lower, because
# matching words that repeat is worse than quadratic.
MAX_LINE_PAIRS = 500_000
MAX_WORD_PAIRS_PER_LINE = 40_000
MAX_WORD_PAIRS = 400_000
MAX_MESSAGE_PAIRS = 2_500
MAX_COMPARED_CHARACTERS = 20_000
# From this proportion of common words on, two messages count as one that was edited.
MIN_SIMILARITY = 0.4
WORD = re.compile(r"\w+|\s+|[^\w\s]")
MEMBERS = ("model", "response", "variables", "tools", "examples", "retrieval", "includes")

Content = Mapping[str, Any]


@dataclass
class Budget:
    """The pairs of lines and words that one comparison may still match."""

    lines: int = MAX_LINE_PAIRS
    words: int = MAX_WORD_PAIRS


def diff(old: Content, new: Content) -> dict[str, Any]:
    """Return the difference as JSON.

    `messages`: one entry per message in the new order (removed ones where they were), each with `change` (same,
    changed, added, removed, moved), `old`/`new` (position or null), `old_role`/`role` and `lines`; a text prompt is one
    message without a role. `settings`, `response`, `variables`, `tools`, `examples`, `includes`: lists of
    `{pointer, change, old, new}`. `lines` and `added`/`removed` count text lines.
    """
    messages = _messages(message_texts(old), message_texts(new), Budget())
    lines = [line for message in messages for line in message["lines"]]
    result: dict[str, Any] = {
        "identical": old == new,
        "messages": messages,
        "added": sum(line["change"] == "added" for line in lines),
        "removed": sum(line["change"] == "removed" for line in lines),
    }
    for member in MEMBERS:
        result["settings" if member == "model" else member] = list(
            _members(old.get(member), new.get(member), f"/{member}")
        )
    return result


def message_texts(content: Content) -> list[tuple[str, str]]:
    """Return every message as (role, text); a placeholder's text is its name, parts and calls are named in it."""
    if content["kind"] == "text":
        # An empty text is none: what is compared with nothing has no line removed.
        return [("", content["text"])] if content["text"] else []
    return [(message["role"], as_text(message)) for message in content["messages"]]


def _messages(old: Sequence[tuple[str, str]], new: Sequence[tuple[str, str]], budget: Budget) -> list[dict[str, Any]]:
    pairs = pair_messages(old, new)
    in_place = _longest_increasing([pairs.get(index) for index in range(len(new))])
    removed = [index for index in range(len(old)) if index not in pairs.values()]
    entries = []
    for index, (role, text) in enumerate(new):
        origin = pairs.get(index)
        while removed and origin is not None and index in in_place and removed[0] < origin:
            entries.append(_entry("removed", removed[0], None, old[removed.pop(0)], None, budget))
        if origin is None:
            entries.append(_entry("added", None, index, None, (role, text), budget))
            continue
        change = "moved" if index not in in_place else "same" if old[origin] == (role, text) else "changed"
        entries.append(_entry(change, origin, index, old[origin], (role, text), budget))
    entries.extend(_entry("removed", index, None, old[index], None, budget) for index in removed)
    return entries


def _entry(
    change: str,
    old_index: int | None,
    new_index: int | None,
    old: tuple[str, str] | None,
    new: tuple[str, str] | None,
    budget: Budget,
) -> dict[str, Any]:
    return {
        "change": change,
        "old": old_index,
        "new": new_index,
        "old_role": old[0] if old else None,
        "role": new[0] if new else None,
        "lines": diff_lines(old[1] if old else None, new[1] if new else None, budget),
    }


def pair_messages(old: Sequence[tuple[str, str]], new: Sequence[tuple[str, str]]) -> dict[int, int]:
    """Map each new message to its old one: the identical one first, then the most similar of its role."""
    pairs: dict[int, int] = {}
    free = set(range(len(old)))
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for block in matcher.get_matching_blocks():
        for offset in range(block.size):
            pairs[block.b + offset] = block.a + offset
            free.discard(block.a + offset)
    for index, message in enumerate(new):
        same = [origin for origin in sorted(free) if index not in pairs and old[origin] == message]
        if same:
            pairs[index] = same[0]
            free.discard(same[0])
    candidates = sorted(_candidates(old, new, free, [index for index in range(len(new)) if index not in pairs]))
    for _, _, index, origin in candidates:
        if index not in pairs and origin in free:
            pairs[index] = origin
            free.discard(origin)
    return pairs


def _candidates(
    old: Sequence[tuple[str, str]], new: Sequence[tuple[str, str]], free: set[int], unpaired: Sequence[int]
) -> Iterator[tuple[float, int, int, int]]:
    """Yield (minus similarity, distance, new position, old position) of messages that may be one edited message."""
    if len(free) * len(unpaired) > MAX_MESSAGE_PAIRS:
        yield from ((0, 0, index, index) for index in unpaired if index in free and old[index][0] == new[index][0])
        return
    old_words = {origin: set(WORD.findall(old[origin][1][:MAX_COMPARED_CHARACTERS])) for origin in free}
    for index in unpaired:
        words = set(WORD.findall(new[index][1][:MAX_COMPARED_CHARACTERS]))
        for origin in free:
            if old[origin][0] != new[index][0] and old[origin][1] != new[index][1]:
                continue
            similarity = _dice(old_words[origin], words)
            if similarity >= MIN_SIMILARITY:
                yield (-similarity, abs(origin - index), index, origin)


def _dice(first: set[str], second: set[str]) -> float:
    """Return the proportion of common words, 0 to 1 (Dice coefficient)."""
    return 2 * len(first & second) / (len(first) + len(second)) if first or second else 1


def _longest_increasing(values: Sequence[int | None]) -> set[int]:
    """Return the positions of a longest strictly increasing subsequence: messages that kept their order."""
    best: list[list[int]] = []
    for position, value in enumerate(values):
        if value is None:
            continue
        before: list[list[int]] = [chain for chain in best if (last := values[chain[-1]]) is not None and last < value]
        longest: list[int] = max(before, key=len) if before else []
        best.append([*longest, position])
    longest_chain: list[int] = max(best, key=len) if best else []
    return set(longest_chain)


def diff_lines(old: str | None, new: str | None, budget: Budget | None = None) -> list[dict[str, Any]]:
    """Return lines as `{change, old, new, text, marks}`.

    `change` is same, added or removed; `old` and `new` are line numbers from 1, or null; `marks` are the
    [start, end) character ranges that differ from the line's counterpart.
    """
    old_lines = old.split("\n") if old is not None else []
    new_lines = new.split("\n") if new is not None else []
    budget = budget or Budget()
    lines: list[dict[str, Any]] = []
    for tag, a, b, c, d in opcodes(old_lines, new_lines, budget):
        if tag == "equal":
            lines.extend(_line("same", a + k, c + k, old_lines[a + k], []) for k in range(b - a))
            continue
        marks = [_marks(x, y, budget) for x, y in zip_longest(old_lines[a:b], new_lines[c:d])]
        lines.extend(_line("removed", a + k, None, old_lines[a + k], marks[k][0]) for k in range(b - a))
        lines.extend(_line("added", None, c + k, new_lines[c + k], marks[k][1]) for k in range(d - c))
    return lines


def opcodes(old: Sequence[str], new: Sequence[str], budget: Budget) -> list[tuple[str, int, int, int, int]]:
    """Return the edit operations between two lists of lines; what differs between their common ends is matched if
    small."""
    shortest = min(len(old), len(new))
    start = next((k for k in range(shortest) if old[k] != new[k]), shortest)
    end = next((k for k in range(shortest - start) if old[-1 - k] != new[-1 - k]), shortest - start)
    middle_old, middle_new = old[start : len(old) - end], new[start : len(new) - end]
    operations: list[tuple[str, int, int, int, int]] = [("equal", 0, start, 0, start)]
    cost = len(middle_old) * len(middle_new)
    budget.lines -= cost
    if budget.lines < 0 and cost:
        operations.append(("replace", start, len(old) - end, start, len(new) - end))
    else:
        # The default `autojunk` matters: without it many equal lines take cubic time.
        inner = SequenceMatcher(None, middle_old, middle_new).get_opcodes()
        operations += [(tag, a + start, b + start, c + start, d + start) for tag, a, b, c, d in inner]
    operations.append(("equal", len(old) - end, len(old), len(new) - end, len(new)))
    return operations


def _line(change: str, old: int | None, new: int | None, text: str, marks: list[list[int]]) -> dict[str, Any]:
    def line_number(index: int | None) -> int | None:
        return None if index is None else index + 1

    return {"change": change, "old": line_number(old), "new": line_number(new), "text": text, "marks": marks}


def _marks(old: str | None, new: str | None, budget: Budget) -> tuple[list[list[int]], list[list[int]]]:
    """Return the differing ranges of a line and its counterpart, by words.

    There are none where a line has no counterpart, is very long, or `budget` (word pairs for the whole comparison) is
    used up.
    """
    if old is None or new is None:
        return [], []
    old_words, new_words = WORD.findall(old), WORD.findall(new)
    cost = len(old_words) * len(new_words)
    budget.words -= cost
    if cost > MAX_WORD_PAIRS_PER_LINE or budget.words < 0:
        return [], []
    matcher = SequenceMatcher(None, old_words, new_words, autojunk=False)
    if matcher.ratio() < MIN_SIMILARITY:
        return [], []
    changed = [opcode for opcode in matcher.get_opcodes() if opcode[0] != "equal"]
    return (
        _join_spans(old, [_span(old_words, a, b) for _, a, b, _, _ in changed if a < b]),
        _join_spans(new, [_span(new_words, c, d) for _, _, _, c, d in changed if c < d]),
    )


def _span(words: Sequence[str], start: int, end: int) -> list[int]:
    first = sum(map(len, words[:start]))
    return [first, first + sum(map(len, words[start:end]))]


def _join_spans(line: str, spans: Sequence[list[int]]) -> list[list[int]]:
    """Join spans with only white space between them: a changed phrase reads better than its words."""
    joined: list[list[int]] = []
    for start, end in spans:
        if joined and not line[joined[-1][1] : start].strip():
            joined[-1][1] = end
        else:
            joined.append([start, end])
    return joined


def _members(old: Any, new: Any, pointer: str) -> Iterator[dict[str, Any]]:
    """Yield the changed members of two JSON values; objects are compared by member, anything else as a whole."""
    if old == new and type(old) is type(new):
        return
    if isinstance(old, dict | None) and isinstance(new, dict | None) and (old or new):
        before, after = old or {}, new or {}
        for name in sorted(before.keys() | after.keys()):
            yield from _members(
                before.get(name), after.get(name), f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
            )
        return
    change = "added" if old is None else "removed" if new is None else "changed"
    yield {"pointer": pointer, "change": change, "old": old, "new": new}
