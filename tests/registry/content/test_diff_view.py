"""A difference as one reads it."""

from registry.content.diff_view import CONTEXT, compare, compare_texts


def chat(*texts: str, **members: object) -> dict[str, object]:
    return {"kind": "chat", "messages": [{"role": "user", "content": text} for text in texts], **members}


LONG = "\n".join(f"line {number}" for number in range(30))


def test_unchanged_stretches_are_folded_and_counted():
    old, new = LONG, LONG.replace("line 15", "line fifteen")

    rows = compare_texts(old, new)

    folds = [row.fold.count for row in rows if row.fold]
    assert folds == [15 - CONTEXT, 14 - CONTEXT]
    assert sum(folds) + sum(1 for row in rows if row.single) == 31


def test_the_whole_shows_every_line_and_message():
    comparison = compare(chat("same", LONG), chat("same", f"{LONG}\nmore"), whole=True)

    assert [message.change for message in comparison.messages] == ["same", "changed"]
    assert not any(row.fold for message in comparison.messages for row in message.inline)


def test_two_columns_put_what_was_beside_what_is():
    (message,) = compare(chat("a\nold text here\nz"), chat("a\nnew text here\nz\nend")).messages

    pairs = [(row.left and row.left["text"], row.right and row.right["text"]) for row in message.split]
    assert pairs == [("a", "a"), ("old text here", "new text here"), ("z", "z"), (None, "end")]


def test_only_what_changed_is_listed_and_named():
    comparison = compare(chat("x", model={"temperature": 0}), chat("x", "y", model={"temperature": 1}))

    assert [(message.title, message.change) for message in comparison.messages] == [("2. user", "added")]
    assert [title for title, _ in comparison.members] == ["Model settings"]
    assert comparison.summary == "+1 −0 lines · model settings changed"


def test_the_same_content_has_no_difference():
    comparison = compare(chat("x"), chat("x"))

    assert (comparison.identical, comparison.summary, list(comparison.messages)) == (True, "no difference", [])


def test_a_text_that_is_new_is_all_added():
    assert [row.single["change"] for row in compare_texts(None, "a\nb") if row.single] == ["added", "added"]
