"""Merging two people's changes: nobody's change is lost, and what cannot be decided is asked."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from registry.content.merge import assemble, merge, merge_lines
from registry.content.normalize import normalise

roles = st.sampled_from(["system", "user", "assistant"])
lines = st.lists(st.sampled_from(["one", "two {{ x }}", "three", "", "four"]), min_size=1, max_size=6).map("\n".join)
messages = st.lists(
    st.builds(lambda role, content: {"role": role, "content": content}, roles, lines), min_size=1, max_size=5
)
models = st.dictionaries(st.sampled_from(["temperature", "top_p"]), st.sampled_from([0, 0.5, 1]))
contents = st.builds(lambda m, s: normalise({"kind": "chat", "messages": m, "model": s}), messages, models)


def chat(*texts: str, **members: Any) -> dict[str, Any]:
    return {"kind": "chat", "messages": [{"role": "user", "content": text} for text in texts], **members}


def merged(base: Any, theirs: Any, mine: Any, choices: Any = None) -> Any:
    return assemble(base["kind"], merge(base, theirs, mine), choices)


@settings(max_examples=200, deadline=None)
@given(contents, contents)
def test_where_only_one_version_changed_the_merge_is_that_version(base: Any, other: Any):
    assert normalise(merged(base, base, other)) == other
    assert normalise(merged(base, other, other)) == other


@settings(max_examples=200, deadline=None)
@given(contents, contents)
def test_their_change_alone_keeps_their_messages_and_settings(base: Any, theirs: Any):
    result = normalise(merged(base, theirs, base))

    def ordered(content: Any) -> list[Any]:
        return sorted((message["role"], message["content"]) for message in content["messages"])

    assert ordered(result) == ordered(theirs)
    assert result.get("model") == theirs.get("model")


@settings(max_examples=200, deadline=None)
@given(contents, contents, contents)
def test_no_part_of_either_version_is_lost(base: Any, theirs: Any, mine: Any):
    parts = merge(base, theirs, mine)

    for source, content in (("theirs", theirs), ("mine", mine)):
        texts = [getattr(part, source) for part in parts if part.key.startswith("message-")]
        assert sorted(map(str, filter(None, texts))) == sorted(map(str, content["messages"]))
    assert len({part.key for part in parts}) == len(parts)


def test_changes_in_different_lines_of_one_message_fit_together():
    (part,) = merge(chat("a\nb\nc\nd"), chat("A\nb\nc\nd"), chat("a\nb\nc\nD"))

    assert (part.state, part.merged["content"]) == ("merged", "A\nb\nc\nD")


def test_changes_of_one_line_are_a_conflict_that_keeps_mine_until_a_choice():
    base, theirs, mine = chat("a\nb"), chat("a\ntheirs"), chat("a\nmine")

    (part,) = merge(base, theirs, mine)

    assert part.state == "conflict"
    assert merged(base, theirs, mine) == mine
    assert merged(base, theirs, mine, {"message-1": "theirs"}) == theirs


def test_a_message_that_they_added_comes_after_the_one_it_follows_there():
    result = merged(chat("a", "b"), chat("a", "new", "b"), chat("a", "b changed by me b"))

    assert [message["content"] for message in result["messages"]] == ["a", "new", "b changed by me b"]


def test_a_message_that_i_removed_and_they_changed_is_a_conflict():
    parts = merge(chat("keep me", "go away please"), chat("keep me", "go away please now"), chat("keep me"))

    assert [part.state for part in parts] == ["same", "conflict"]


def test_the_same_new_message_of_both_is_there_once():
    result = merged(chat("a"), chat("a", "both"), chat("a", "both"))

    assert [message["content"] for message in result["messages"]] == ["a", "both"]


def test_settings_variables_and_pins_are_parts_of_their_own():
    base = chat("x", model={"name": "a", "temperature": 0}, variables={"v": {}}, includes={"p": "sha256:1"})
    theirs = {**base, "model": {"name": "a", "temperature": 1}, "variables": {"v": {}, "w": {}}}
    mine = {**base, "model": {"name": "b", "temperature": 0}, "includes": {"p": "sha256:2"}}

    result = merged(base, theirs, mine)

    assert result["model"] == {"name": "b", "temperature": 1}
    assert result["variables"] == {"v": {}, "w": {}}
    assert result["includes"] == {"p": "sha256:2"}


def test_a_change_of_kind_is_one_choice_about_everything():
    base, text = chat("x"), {"kind": "text", "text": "x"}

    (part,) = merge(base, text, chat("y"))

    assert part.state == "conflict"
    assert merged(base, text, chat("y"), {"": "theirs"}) == text


def test_text_prompts_merge_by_line_too():
    texts = [{"kind": "text", "text": text} for text in ("a\nb\nc", "A\nb\nc", "a\nb\nC")]

    assert merged(*texts) == {"kind": "text", "text": "A\nb\nC"}


def test_insertions_at_one_place_have_no_order_that_is_known():
    assert merge_lines("a\nb", "a\ntheirs\nb", "a\nmine\nb") is None
    assert merge_lines("a\nb", "a\nnew\nb", "a\nnew\nb") == "a\nnew\nb"
