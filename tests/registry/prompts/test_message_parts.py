"""Images, calls of tools and their results in the whole registry: commits, requests, differences, merges, pages."""

import re
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from core.errors import Problem
from core.messages import as_text
from registry.content import diff, diff_view, merge, tokens
from registry.content.normalize import normalise
from registry.prompts import drafts, versions
from registry.prompts import lifecycle as prompts
from registry.prompts.inspection import inspect
from tests.conftest import Stage
from tests.core.test_messages import LOOKUP, PIXEL, call, calls, image, result, text, user

MESSAGES = [
    user([text("What is wrong on this picture, {{ name }}?"), image("{{ screenshot }}", detail="low")]),
    calls(call(arguments='{"name": {{ name|tojson }}}')),
    result(content="{{ found }}"),
    user("So?"),
]
CONTENT: dict[str, Any] = {"messages": MESSAGES, "tools": [LOOKUP], "model": {"name": "gpt-6-luna"}}
VARIABLES = {"name": "Ann", "screenshot": PIXEL, "found": "a crack"}


@pytest.fixture
def rich(stage: Stage) -> Stage:
    versions.commit(stage.edith, stage.prompt(), content=CONTENT, message="Rich")
    return stage


def test_over_rest_they_are_what_they_are(rich: Stage, api: APIClient):
    path = "/api/v1/prompts/support.triage/versions"
    version = api.get(f"{path}/1").json()
    rendered = api.post(f"{path}/1/render", {"variables": VARIABLES}).json()
    refused = api.post(f"{path}/1/render", {"variables": {**VARIABLES, "screenshot": "file:///x"}})

    assert version["content"]["messages"] == MESSAGES
    assert rendered["messages"] == [
        user([text("What is wrong on this picture, Ann?"), image(PIXEL, detail="low")]),
        calls(call(arguments='{"name": "Ann"}')),
        result(content="a crack"),
        user("So?"),
    ]
    assert (refused.status_code, refused.json()["code"]) == (400, "render.invalid_message")


def test_what_providers_refuse_is_refused_over_rest_with_its_place(rich: Stage, api: APIClient):
    content = {**CONTENT, "messages": MESSAGES[:2]}

    answer = api.post("/api/v1/prompts/support.triage/versions", {"content": content, "message": "x"})

    assert answer.status_code == 400
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/messages/1/tool_calls"]


def test_a_difference_names_each_piece_that_changed():
    old = normalise(CONTENT)
    changed = [user([MESSAGES[0]["content"][0], image("https://host/{{ screenshot }}.png")]), *MESSAGES[1:]]
    new = normalise({**CONTENT, "messages": changed})

    (first, *others) = diff.diff(old, new)["messages"]

    assert [(line["change"], line["text"]) for line in first["lines"] if line["change"] != "same"] == [
        ("removed", "=== image low ==="),
        ("removed", "{{ screenshot }}"),
        ("added", "=== image ==="),
        ("added", "https://host/{{ screenshot }}.png"),
    ]
    assert {entry["change"] for entry in others} == {"same"}


def test_a_merge_keeps_what_only_one_changed_and_asks_where_both_did():
    def version(picture: str, question: str) -> dict[str, Any]:
        parts = user([MESSAGES[0]["content"][0], image(picture)])
        return normalise({**CONTENT, "messages": [parts, *MESSAGES[1:3], user(question)]})

    base, theirs, mine = version("{{ a }}", "So?"), version("{{ b }}", "So?"), version("{{ a }}", "And?")
    parts = merge.merge(base, theirs, mine)
    assert merge.assemble("chat", parts) == version("{{ b }}", "And?")

    conflict = next(part for part in merge.merge(base, theirs, version("{{ c }}", "So?")) if part.state == "conflict")
    assert "{{ b }}" in as_text(conflict.theirs)
    assert "{{ c }}" in as_text(conflict.mine)


def test_a_text_that_is_merged_keeps_its_calls():
    def version(words: str, arguments: str = "{}") -> dict[str, Any]:
        messages = [calls(call(arguments=arguments), content=words), result(), user("x")]
        return normalise({**CONTENT, "messages": messages})

    base = version("a\nb\nc\nd\ne")
    merged = merge.assemble("chat", merge.merge(base, version("A\nb\nc\nd\ne"), version("a\nb\nc\nd\nE")))
    assert merged == version("A\nb\nc\nd\nE")

    states = [
        part.state
        for part in merge.merge(base, version("A\nb\nc\nd\ne"), version("a\nb\nc\nd\nE", '{"a": 1}'))
        if part.is_changed
    ]
    assert states == ["conflict"]


def test_pages_show_them(rich: Stage, client: Client):
    client.force_login(rich.edith.user)  # type: ignore[arg-type]
    base = "/p/paper/prompts/support.triage"
    page = client.get(f"{base}/versions/1/").content.decode()
    editor = client.get(f"{base}/edit/").content.decode()

    for word in ("calls", "lookup", "call_1", "image, low detail", "answers", "What is wrong on this picture"):
        assert word in page
    assert 'value="{{ screenshot }}"' in editor
    assert re.search(r'<option\s+value="low"\s+selected\s*>', editor)


def test_the_search_finds_texts_and_no_data_of_images(stage: Stage, client: Client):
    picture = f"data:image/png;base64,{'needle' * 20}"
    prompt = stage.prompt()
    versions.commit(stage.edith, prompt, content={"messages": [user([text("haystack"), image(picture)])]}, message="x")
    prompt.refresh_from_db()

    assert prompt.head_text == "haystack"


def test_the_tokens_of_a_version_have_those_of_its_images(stage: Stage):
    words = text("What is wrong here?")
    contents = [{"messages": [user([words, *images])]} for images in ([], [image("{{ screenshot }}", detail="low")])]

    without_image, with_image = [
        versions.commit(stage.edith, stage.prompt(f"case.{number}"), content=content, message="x").version
        for number, content in enumerate(contents)
    ]

    low_detail = tokens.count_images([user([image("{{ screenshot }}", detail="low")])])
    assert 0 < low_detail <= with_image.tokens - without_image.tokens < low_detail + 20


def test_the_same_picture_is_as_many_tokens_as_the_model_makes_of_it(stage: Stage):
    messages = [user([text("What is wrong here?"), image("{{ screenshot }}")])]

    counts = [
        versions.commit(
            stage.edith,
            stage.prompt(f"picture.{number}"),
            content={"messages": messages, "model": {"name": name, "params": {}}},
            message="x",
        ).version.tokens
        for number, name in enumerate(("gpt-4o", "gpt-6-luna"))
    ]

    # A picture of the usual size: 765 tokens in tiles, 1,229 in patches.
    assert counts[1] - counts[0] == 1_229 - 765


def test_a_draft_with_an_image_is_previewed_with_its_tokens(rich: Stage, client: Client):
    client.force_login(rich.edith.user)  # type: ignore[arg-type]
    body = {
        **{"document": CONTENT, "samples": VARIABLES, "sampled": {}, "revision": 0, "base": 1, "seen": 1},
        **{"window": "w", "serial": 1, "save": True},
    }
    answer = client.post("/p/paper/prompts/support.triage/edit/draft/", body, content_type="application/json").json()

    assert answer["can_be_committed"], answer
    assert f'<img src="{PIXEL}"' in answer["preview"]
    assert "about" in answer["preview"]
    draft = drafts.get_draft(rich.edith, prompts.get_prompt(rich.project, "support.triage"))
    assert draft
    assert draft.document == CONTENT


def test_a_call_of_a_tool_that_the_prompt_does_not_have_is_told(stage: Stage):
    prompt = stage.prompt()
    result_of = inspect(stage.project, prompt, {**CONTENT, "tools": []}, VARIABLES)

    assert [(finding.code, finding.pointer) for finding in result_of.findings if finding.severity == "warning"] == [
        ("tool.undeclared", "/messages/1/tool_calls/0/function/name")
    ]


def test_an_image_in_a_system_message_names_its_place(stage: Stage):
    with pytest.raises(Problem) as refused:
        versions.commit(
            stage.edith,
            stage.prompt(),
            content={"messages": [{"role": "system", "content": [text("a"), image(PIXEL)]}]},
            message="x",
        )

    assert refused.value.detail == "/messages/0/content/1: Only messages of the user have images."


def test_a_variable_of_an_image_has_a_picture_as_its_stand_in(stage: Stage):
    content = {
        "messages": [user([text("{{ name }}"), image("{{ screenshot }}"), image("https://host/{{ name }}.png")])]
    }

    result_of = inspect(stage.project, stage.prompt(), content, {})

    assert result_of.rendered, result_of.why_not_rendered
    _, picture, other = result_of.rendered["messages"][0]["content"]
    assert picture["image_url"]["url"].startswith("data:image/svg+xml;base64,")
    assert other["image_url"]["url"] == "https://host/⟨name⟩.png"


def test_a_difference_shows_the_pictures_that_changed():
    old, new = (normalise({"messages": [user([text("a"), image(data)])]}) for data in (PIXEL, f"{PIXEL[:-4]}AAAA"))

    (change,) = diff_view.compare(old, new).messages

    assert (change.removed_pictures, change.added_pictures) == ([PIXEL], [f"{PIXEL[:-4]}AAAA"])


@pytest.mark.parametrize(
    "messages",
    [
        [user([image("data:image/png;base64,{{ data }}")])],
        [user([image("{{ base }}/{{ name }}")])],
        [user([image("{% if a %}{{ a }}{% endif %}")])],
        [calls(call(arguments="{{ arguments }}")), result()],
        [calls(call(arguments='{"n": {{ n }} }')), result()],
    ],
)
def test_a_draft_without_samples_is_previewed(stage: Stage, messages: Any):
    result_of = inspect(stage.project, stage.prompt(), {"messages": messages}, {})

    assert result_of.rendered, result_of.why_not_rendered
    assert result_of.tokens


def test_a_difference_of_text_and_what_only_reads_like_it_is_seen():
    parts = user([text("a"), image("https://x")])
    old, new = (normalise({"messages": [user(content)]}) for content in (as_text(parts), parts["content"]))

    assert [message["change"] for message in diff.diff(old, new)["messages"]] != ["same"]
