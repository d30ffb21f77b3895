"""Cutting documents by their structure."""

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from registry.retrieval.chunking import Piece, cut

HANDBOOK = """# Handbook

Before everything.

## Refunds

You get your money back within 14 days. Write to us. We answer on the same day.

- with a receipt
- without one: ask

### Abroad

Other rules hold.

```
## no heading
```

## Export

| format | where |
|---|---|
| CSV | settings |
"""


def words(text: str) -> int:
    return len(text.split())


def texts(text: str, pieces: list[Piece]) -> list[tuple[tuple[str, ...], str]]:
    return [(piece.titles, text[piece.start : piece.end]) for piece in pieces]


def test_sections_are_kept_apart_and_know_their_titles():
    pieces = texts(HANDBOOK, cut(HANDBOOK, words, max_tokens=100, overlap_tokens=0))

    assert [titles for titles, _ in pieces] == [
        ("Handbook",),
        ("Handbook", "Refunds"),
        ("Handbook", "Refunds", "Abroad"),
        ("Handbook", "Export"),
    ]
    # What stands between fences is no heading, and blocks are whole.
    assert pieces[2][1].endswith("```\n## no heading\n```")
    assert pieces[3][1].startswith("| format")


def test_a_long_section_is_cut_between_sentences_with_an_overlap():
    text = " ".join(f"Sentence {number} has five words." for number in range(10))

    pieces = cut(text, words, max_tokens=12, overlap_tokens=5)

    assert all(piece.tokens <= 12 for piece in pieces)
    parts = [part for _, part in texts(text, pieces)]
    assert parts[0] == "Sentence 0 has five words. Sentence 1 has five words."
    # Each begins with the last sentence of the one before.
    assert parts[1].startswith("Sentence 1 has five words. Sentence 2")
    assert parts[-1].endswith("Sentence 9 has five words.")


def test_a_heading_that_says_it_all_is_a_chunk():
    text = "# Hours\n\n## Monday: 9 to 17\n\n## Sunday: closed ##\n"

    pieces = texts(text, cut(text, words, max_tokens=50, overlap_tokens=0))

    assert pieces == [
        (("Hours", "Monday: 9 to 17"), "## Monday: 9 to 17"),
        (("Hours", "Sunday: closed"), "## Sunday: closed ##"),
    ]


def test_blanks_in_a_heading_cost_no_more_than_other_letters():
    def seconds(count: int) -> float:
        text = f"# a{' ' * count}b\n\ntext"
        started = time.process_time()
        cut(text, words, max_tokens=50, overlap_tokens=0)
        return time.process_time() - started

    # Quadratic, it would be some minutes.
    assert seconds(2_000_000) < 30 * max(0.01, seconds(200_000))


def test_a_word_without_end_is_cut_somewhere():
    text = "x" * 1_000

    pieces = cut(text, len, max_tokens=100, overlap_tokens=0)

    assert "".join(part for _, part in texts(text, pieces)) == text


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(["# A", "## B\n", "A word. ", "Another one!\n", "\n\n", "```", "- item\n", "x" * 30 + " "])
    ),
    st.integers(5, 40),
    st.integers(0, 10),
)
def test_nothing_is_lost_and_everything_fits(parts: list[str], max_tokens: int, overlap_tokens: int):
    text = "".join(parts)

    pieces = cut(text, len, max_tokens=max_tokens, overlap_tokens=min(overlap_tokens, max_tokens // 2))

    covered = {place for piece in pieces for place in range(piece.start, piece.end)}
    headings = [line for line in text.splitlines() if line.startswith("#")]
    missing = "".join(letter for place, letter in enumerate(text) if place not in covered)
    # What no chunk has is white space, and headings, which are titles.
    for heading in sorted(headings, key=len, reverse=True):
        missing = missing.replace(heading, "", 1)
    assert not missing.strip()
    assert [piece.start for piece in pieces] == sorted(piece.start for piece in pieces)
    assert all(piece.start < piece.end for piece in pieces)
    assert all(len(text[piece.start : piece.end].split()) > 0 for piece in pieces)
