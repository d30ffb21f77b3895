"""Where a call's messages and variables go."""

from typing import Any

import pytest

from core.errors import Problem
from inference.gateway.inputs import InputPlaces, input_places, read_variables

ONE_PLACE = InputPlaces("ticket")
CONVERSATION = InputPlaces("ticket", "history")
NOWHERE = InputPlaces()
ASKS: dict[str, Any] = {"role": "user", "content": "I paid twice"}
EARLIER: dict[str, Any] = {"role": "assistant", "content": "Hello"}
PARTS: dict[str, Any] = {
    "role": "user",
    "content": [{"type": "text", "text": "I paid "}, {"type": "text", "text": "twice"}],
}
IMAGE: dict[str, Any] = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}


@pytest.mark.parametrize(
    ("places", "messages", "variables", "expected"),
    [
        (ONE_PLACE, [ASKS], None, {"ticket": "I paid twice"}),
        (ONE_PLACE, [PARTS], None, {"ticket": "I paid twice"}),
        (ONE_PLACE, [], {"ticket": "x"}, {"ticket": "x"}),
        (ONE_PLACE, [ASKS], {"screenshot": "image"}, {"ticket": "I paid twice", "screenshot": "image"}),
        (CONVERSATION, [EARLIER, ASKS], None, {"ticket": "I paid twice", "history": [EARLIER]}),
        (CONVERSATION, [EARLIER, ASKS], {"ticket": "x"}, {"ticket": "x", "history": [EARLIER, ASKS]}),
        (
            CONVERSATION,
            [EARLIER, ASKS],
            {"tone": "dry"},
            {"ticket": "I paid twice", "tone": "dry", "history": [EARLIER]},
        ),
        (NOWHERE, [], {"a": 1, "b": 2}, {"a": 1, "b": 2}),
    ],
)
def test_where_it_goes(places: InputPlaces, messages: list[Any], variables: Any, expected: dict[str, Any]):
    assert read_variables(places, messages, variables) == expected


@pytest.mark.parametrize(
    ("places", "messages", "variables", "words"),
    [
        (ONE_PLACE, [], None, "Send variables, or a last message"),
        (ONE_PLACE, [EARLIER], None, "Send variables, or a last message"),
        (NOWHERE, [ASKS], None, "Nobody can tell which variable"),
        (NOWHERE, [ASKS], {"a": 1}, "With variables, send messages: []"),
        (ONE_PLACE, [ASKS], {"ticket": "x"}, "ticket is among the variables, so send messages: []"),
        (ONE_PLACE, [EARLIER, ASKS], None, "no placeholder for earlier messages"),
        (CONVERSATION, [ASKS], {"ticket": "x", "history": []}, "history is among the variables"),
        (ONE_PLACE, [IMAGE], None, "parts that are no text"),
        (ONE_PLACE, [{**ASKS, "name": "ann"}], None, "its name has no place"),
    ],
)
def test_what_has_no_place_is_refused_with_the_way_out(
    places: InputPlaces, messages: list[Any], variables: Any, words: str
):
    with pytest.raises(Problem) as refused:
        read_variables(places, messages, variables)
    assert refused.value.code == "gateway.no_place"
    assert words in refused.value.detail


def test_a_question_that_the_version_has_not_is_taken_for_no_other():
    content = {"messages": [{"role": "user", "content": "{{ ticket }}"}]}

    assert input_places(content, frozenset({"ticket"})) == ONE_PLACE
    assert input_places(content, frozenset({"ticket"}), "question") == NOWHERE
    assert input_places(content, frozenset({"ticket", "tone"}), "ticket") == ONE_PLACE
    assert input_places(content, frozenset({"ticket", "tone"})) == NOWHERE
