"""The file form of a version keeps every character."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Problem
from registry.content.normalize import normalise
from registry.content.prompt_file import PromptFile, read, write
from tests.registry.content.test_normalize import CONTENT

AWKWARD = st.lists(
    st.sampled_from(["=== user ===", "\\=== user ===", "===  ===", "---", "", " ", "text", "=== x", "\\"]),
    max_size=6,
).map("\n".join)


@given(CONTENT, AWKWARD, st.text(max_size=30))
def test_writing_and_reading_is_lossless(content: Any, awkward: str, description: str):
    messages = [
        *content["messages"],
        {"role": "user", "content": awkward},
        {"role": "placeholder", "name": "examples"},
    ]
    normal = normalise({**content, "messages": messages})
    described = description.encode("utf-8", "ignore").decode().replace("\0", "")

    back = read(write(PromptFile(prompt="a.b", content=normal, number=3, description=described, tags=["x"])))

    assert normalise(back.content) == normal
    assert (back.prompt, back.number, back.tags) == ("a.b", 3, ["x"])
    assert back.description == described


@pytest.mark.parametrize(
    "value",
    [
        "a\n",
        "\n",
        " a",
        "a ",
        "---",
        "a\n---\nb",
        "\t",
        "null",
        "1",
        "0x1f",
        "1_000",
        "yes",
        "2026-11-27",
        "~",
        "",
        "<<",
        "=",
        "\x85",
        "\u2028",
        "é\n\n",
    ],
)
def test_text_in_the_front_matter_is_lossless(value: str):
    normal = normalise({"kind": "text", "text": "x", "model": {"extra": {"last": value}}})

    assert normalise(read(write(PromptFile(prompt="a", content=normal))).content) == normal


@given(AWKWARD)
def test_a_text_prompt_is_lossless(text: str):
    normal = normalise({"kind": "text", "text": text})

    assert normalise(read(write(PromptFile(prompt="a", content=normal))).content) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "---\nprompt: a\n",
        "---\nkind: chat\n---\n",
        "---\n- a\n---\n",
        "---\nprompt: [\n---\n",
        "---\nprompt: a\nnonsense: 1\n---\n",
        "---\nprompt: a\n---\nstray text\n",
        "---\nprompt: a\nkind: text\n---\n=== user ===\nx\n",
        "---\nprompt: a\nmessage: 7\n---\n",
        "---\nprompt: a\ntags: abc\n---\n",
        "---\nprompt: a\ntags: [1]\n---\n",
        "---\nprompt: !!python/object:os.system x\n---\n",
    ],
)
def test_what_is_no_prompts_file_is_refused(text: str):
    with pytest.raises(Problem) as refused:
        read(text)

    assert refused.value.code == "exchange.unreadable"


@pytest.mark.parametrize(
    "body",
    [
        "=== user ===\n=== text low ===\na",
        "=== user ===\n=== image low extra ===\nhttps://x",
        "=== tool c1 extra ===\na",
        "=== user extra ===\na",
        "=== placeholder history ===\nlost",
        "=== text ===\nof nothing",
        "=== assistant ===\n=== call lookup ===\n{}",
    ],
)
def test_words_that_nobody_would_read_are_refused(body: str):
    with pytest.raises(Problem) as refused:
        read(f"---\nprompt: a\n---\n{body}\n")

    assert refused.value.code == "exchange.unreadable"


def test_blank_lines_above_the_first_part_are_no_text():
    back = read("---\nprompt: a\n---\n=== user ===\n\n=== image low ===\nhttps://x\n\n=== text ===\na\n")

    assert normalise(back.content)["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"url": "https://x", "detail": "low"}},
        {"type": "text", "text": "a"},
    ]
