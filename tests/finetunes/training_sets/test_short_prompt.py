"""Short prompts of contents with parts and calls of tools."""

import pytest

from core.errors import Problem
from finetunes.training_sets.short_prompt import make_short_prompt, suggest_instruction
from registry.content.normalize import normalise
from tests.core.test_messages import LOOKUP, call, calls, image, result, text, user


def test_parts_and_calls_stay_in_the_question():
    instruction = {"role": "system", "content": [text("Sort the ticket. "), text("Be kind.")]}
    question = [user([text("{{ q }}"), image("{{ shot }}")]), calls(call()), result(content="{{ found }}"), user("So?")]
    variables = {"q": {}, "shot": {}, "found": {}}
    content = normalise({"messages": [instruction, *question], "tools": [LOOKUP], "variables": variables})

    short = make_short_prompt(content, suggest_instruction(content))

    assert short["messages"] == [{"role": "system", "content": "Sort the ticket."}, *question]
    assert short["variables"].keys() == variables.keys()


def test_a_texts_question_is_its_variables_declared_or_not():
    content = normalise({"kind": "text", "text": "Say {{ word | upper }} to {{- name }}.", "variables": {"name": {}}})

    assert make_short_prompt(content, "Say it.")["messages"][1] == user("{{ name }}\n{{ word }}")
    with pytest.raises(Problem, match="Nothing is left to ask"):
        make_short_prompt(normalise({"kind": "text", "text": "Say it."}), "Say it.")


def test_answers_of_examples_are_left_out_as_before():
    messages = [user("a"), {"role": "assistant", "content": "b"}, user("{{ q }}")]

    assert make_short_prompt(normalise({"messages": messages}), "Sort.")["messages"][1:] == [user("{{ q }}")]
