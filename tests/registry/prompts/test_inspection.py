"""The editor's inspection of a document that is being written."""

from typing import Any

import pytest

from registry.prompts.inspection import Inspection, inspect
from tests.conftest import Stage, chat


@pytest.fixture
def look(stage: Stage) -> Any:
    prompt = stage.prompt("my.prompt")

    def look(document: Any, **samples: Any) -> Inspection:
        return inspect(stage.project, prompt, document, samples)

    return look


def test_a_clean_document_is_rendered_counted_and_priced(look: Any):
    inspection = look(chat("Sort {{ ticket }}.", model={"name": "gpt-4o-mini", "max_tokens": 10}), ticket="Help")

    assert inspection.can_be_committed
    assert inspection.rendered["messages"] == [{"role": "system", "content": "Sort Help."}]
    assert inspection.tokens.is_exact
    assert inspection.message_tokens == [inspection.tokens.tokens - 6]
    assert inspection.price.output > 0


def test_without_a_sample_a_stand_in_shows_where_the_value_goes(look: Any):
    inspection = look(chat("{{ ticket }} {% if urgent %}now{% endif %}", variables={"urgent": {"type": "boolean"}}))

    assert inspection.rendered["messages"][0]["content"] == "⟨ticket⟩ "
    assert inspection.stand_ins == ["ticket", "urgent"]


def test_every_faulty_message_has_a_finding_at_its_line(look: Any):
    document = {
        "messages": [{"role": "user", "content": text} for text in ("{{ a }}", "x\n{{ b", "\n\n{{ c | evil }}")]
    }

    inspection = look(document)

    assert [(fault.pointer, fault.line) for fault in inspection.faults] == [
        ("/messages/1/content", 2),
        ("/messages/2/content", 3),
    ]
    assert "(line" not in inspection.faults[0].message
    assert [variable.name for variable in inspection.variables] == ["a"]
    assert inspection.rendered is None
    assert not inspection.can_be_committed


def test_a_broken_schema_does_not_hide_the_preview(look: Any):
    inspection = look(chat("Hello {{ name }}", response={"format": "json_schema", "schema": '{"typ'}), name="you")

    assert [fault.pointer for fault in inspection.faults] == ["/response/schema"]
    assert inspection.rendered["messages"][0]["content"] == "Hello you"


def test_a_sample_of_the_wrong_type_has_a_finding_and_a_stand_in(look: Any):
    inspection = look(chat("{{ n }}", variables={"n": {"type": "integer"}}), n="three")

    assert inspection.rendered["messages"][0]["content"] == "0"
    assert [(finding.code, finding.pointer) for finding in inspection.findings] == [("sample.type", "/variables/n")]


def test_variables_stand_in_the_order_of_the_text(look: Any):
    inspection = look(chat("{{ b }} {{ a }} {{ c }}", variables={"c": {}, "unused": {}}))

    assert [variable.name for variable in inspection.variables] == ["b", "a", "c", "unused"]


def test_variables_stay_while_a_message_is_unfinished(look: Any):
    unfinished = {"role": "user", "content": [{"type": "text", "text": "{{ b }}"}, {"type": "image_url"}]}
    document = {"messages": [{"role": "system", "content": "{{ a }}"}, unfinished], "variables": {"c": {}}}

    inspection = look(document)

    assert not inspection.can_be_committed
    assert {variable.name for variable in inspection.variables} == {"a", "b", "c"}


def test_what_the_editor_keeps_beside_the_content_is_no_part_of_it(look: Any):
    inspection = look({**chat("x"), "(aside)": {"schema": "{"}})

    assert inspection.can_be_committed
    assert "(aside)" not in inspection.content


def test_a_partial_is_shown_as_it_would_be_pinned(look: Any, stage: Stage):
    tone = stage.prompt("shared.tone")
    stage.commit(tone, "Speak for {{ company }}.", variables={"company": {"default": "us"}})

    inspection = look(chat('{% include "shared.tone" %}'))

    assert inspection.rendered["messages"][0]["content"] == "Speak for us."
    assert [(partial.name, partial.version.number, partial.is_newest) for partial in inspection.included] == [
        ("shared.tone", 1, True)
    ]
    assert inspection.as_committed["includes"]
    assert [(variable.name, variable.is_inherited, variable.is_required) for variable in inspection.variables] == [
        ("company", True, False)
    ]
    assert not inspection.findings


def test_a_pin_stays_until_the_newer_version_is_chosen(look: Any, stage: Stage):
    tone = stage.prompt("shared.tone")
    old = stage.commit(tone, "old")
    stage.commit(tone, "new")
    pinned = {"includes": {"shared.tone": old.content_hash}}

    assert look(chat('{% include "shared.tone" %}', **pinned)).rendered["messages"][0]["content"] == "old"
    assert look(chat('{% include "shared.tone" %}')).rendered["messages"][0]["content"] == "new"
    assert not look(chat('{% include "shared.tone" %}', **pinned)).included[0].is_newest


def test_an_include_that_is_not_there_has_a_finding_at_its_line(look: Any):
    (fault,) = look(chat('Hello.\n{% include "shared.none" %}')).faults

    assert (fault.code, fault.pointer, fault.line) == ("template.unknown_include", "/messages/0/content", 2)


def test_a_prompt_cannot_include_itself(look: Any, stage: Stage):
    (fault,) = look(chat('{% include "my.prompt" %}')).faults

    assert fault.code in {"template.unknown_include", "template.include_cycle"}


def test_a_placeholder_needs_no_sample(look: Any):
    document = {"messages": [{"role": "placeholder", "name": "history"}, {"role": "user", "content": "x"}]}

    assert look(document).rendered["messages"] == [{"role": "user", "content": "x"}]


@pytest.mark.parametrize("document", [None, [], "x", {}, {"messages": 1}, {"kind": "song"}, {"messages": [None]}])
def test_nonsense_is_reported_and_breaks_nothing(look: Any, document: Any):
    inspection = look(document)

    assert inspection.faults
    assert inspection.rendered is None


def test_a_template_that_is_too_slow_is_stopped(look: Any):
    slow = "{% for a in range(1000) %}{% for b in range(1000) %}{{ a }}{% endfor %}{% endfor %}"

    inspection = look(chat(slow))

    assert inspection.rendered is None
    assert inspection.why_not_rendered
