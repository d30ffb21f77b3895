"""Cutting a document into chunks by its structure. Pure.

Headings of Markdown part it into sections; a section is cut between blocks (paragraphs, lists, tables, code) where it
is longer than a chunk, and a block between sentences where it is longer still. A chunk begins with the end of the one
before it in the same section, so that what stands on a cut is found from either side. Each knows the titles that it
stands under and its place in the text.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

MAX_CHUNKS = 20_000
HEADING = re.compile(r"(#{1,6})[ \t]+(\S.*)")
FENCE = re.compile(r"[ \t]{0,3}(```+|~~~+)")
SENTENCE_END = re.compile(r"(?<=[.!?。！？])[\"'”’)\]]*\s+|\n")
MAX_TITLE = 200

# Counts the tokens of a text.
Count = Callable[[str], int]


@dataclass(frozen=True)
class Piece:
    """A chunk: the titles above it, outermost first, and its place in the text, in characters."""

    titles: tuple[str, ...]
    start: int
    end: int
    tokens: int


@dataclass(frozen=True)
class _Span:
    start: int
    end: int
    tokens: int


def cut(text: str, count: Count, *, max_tokens: int, overlap_tokens: int) -> list[Piece]:
    """Cut a Markdown text. Raises ValueError where it has more than MAX_CHUNKS chunks."""
    pieces: list[Piece] = []
    for titles, start, end in _sections(text):
        spans = [span for block in _blocks(text, start, end) for span in _fitting(text, block, count, max_tokens)]
        pieces.extend(_packed(titles, spans, max_tokens, overlap_tokens))
        if len(pieces) > MAX_CHUNKS:
            raise ValueError(f"It has more than {MAX_CHUNKS:,} chunks.")
    return pieces


def _lines(text: str, start: int, end: int) -> Iterator[tuple[int, int, str]]:
    """Yield the lines of a part of a text, with their places."""
    place = start
    for line in text[start:end].splitlines(keepends=True):
        yield place, place + len(line), line.rstrip("\r\n")
        place += len(line)


def _sections(text: str) -> Iterator[tuple[tuple[str, ...], int, int]]:
    """Yield the sections of a text: their titles, and where what is below the heading stands. A heading with nothing
    below it, not even another heading under it, is what it says itself."""
    titles: list[tuple[int, str]] = []
    begin, heading_at, fence = 0, None, ""
    for start, end, line in _lines(text, 0, len(text)):
        if fence_here := FENCE.match(line):
            ticks = fence_here[1]
            fence = "" if fence and ticks.startswith(fence) else fence or ticks
            continue
        heading = None if fence else HEADING.fullmatch(line)
        if heading is None:
            continue
        level = len(heading[1])
        if text[begin:start].strip():
            yield _names(titles), begin, start
        elif heading_at is not None and titles[-1][0] >= level:
            yield _names(titles), heading_at, begin
        title = heading[2].rstrip(" \t#")[:MAX_TITLE] or heading[2][:MAX_TITLE]
        titles = [*((above, name) for above, name in titles if above < level), (level, title)]
        begin, heading_at = end, start
    if text[begin:].strip():
        yield _names(titles), begin, len(text)
    elif heading_at is not None:
        yield _names(titles), heading_at, begin


def _names(titles: Sequence[tuple[int, str]]) -> tuple[str, ...]:
    return tuple(title for _, title in titles)


def _blocks(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the blocks of a section: what empty lines part, code within its fences whole."""
    begin: int | None = None
    last, fence = start, ""
    for line_start, line_end, line in _lines(text, start, end):
        if not line.strip() and not fence:
            if begin is not None:
                yield begin, last
            begin = None
            continue
        if fence_here := FENCE.match(line):
            ticks = fence_here[1]
            fence = "" if fence and ticks.startswith(fence) else fence or ticks
        begin = line_start if begin is None else begin
        last = line_start + len(text[line_start:line_end].rstrip())
    if begin is not None:
        yield begin, last


def _fitting(text: str, block: tuple[int, int], count: Count, max_tokens: int) -> Iterator[_Span]:
    """Yield a block, in parts that each fit into a chunk."""
    start, end = block
    tokens = count(text[start:end])
    if tokens <= max_tokens:
        yield _Span(start, end, tokens)
        return
    for part_start, part_end in _sentences(text, start, end):
        tokens = count(text[part_start:part_end])
        if tokens <= max_tokens:
            yield _Span(part_start, part_end, tokens)
            continue
        # No sentence at all: halved until it fits.
        middle = (part_start + part_end) // 2
        space = text.find(" ", middle, part_end - 1)
        cut_at = space + 1 if space > 0 else middle
        yield from _fitting(text, (part_start, cut_at), count, max_tokens)
        yield from _fitting(text, (cut_at, part_end), count, max_tokens)


def _sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    begin = start
    for match in SENTENCE_END.finditer(text, start, end):
        if match.start() > begin:
            yield begin, match.start()
        begin = match.end()
    if begin < end:
        yield begin, end


def _packed(titles: tuple[str, ...], spans: Sequence[_Span], max_tokens: int, overlap_tokens: int) -> Iterator[Piece]:
    """Yield chunks of as many spans as fit, each beginning with the last ones of the chunk before it."""
    first = 0
    while first < len(spans):
        last, tokens = first, 0
        while last < len(spans) and (last == first or tokens + spans[last].tokens <= max_tokens):
            tokens += spans[last].tokens
            last += 1
        yield Piece(titles, spans[first].start, spans[last - 1].end, tokens)
        if last == len(spans):
            return
        following, overlap = last, 0
        while following - 1 > first and overlap + spans[following - 1].tokens <= overlap_tokens:
            following -= 1
            overlap += spans[following].tokens
        # What follows has to fit beside what is said again.
        while following < last and overlap + spans[last].tokens > max_tokens:
            overlap -= spans[following].tokens
            following += 1
        first = following
