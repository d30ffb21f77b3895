"""The normal form and the hash: what changes nothing about behaviour changes nothing about identity."""

import json
import unicodedata
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Problem
from registry.content.content_hash import canonical_bytes, content_hash
from registry.content.normalize import normalise

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
NAME = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: name not in {"loop", "range", "true", "false", "none", "self", "caller", "varargs", "kwargs"}
)
MESSAGE = st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": TEXT})
PARTS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"type": st.just("text"), "text": TEXT}),
        st.fixed_dictionaries(
            {
                "type": st.just("image_url"),
                "image_url": st.fixed_dictionaries(
                    {"url": st.sampled_from(["https://host/a.png", "{{ picture }}", "data:image/png;base64,eHg="])},
                    optional={"detail": st.sampled_from(["low", "high", "auto"])},
                ),
            }
        ),
    ),
    min_size=1,
    max_size=4,
).map(lambda parts: [{"role": "user", "content": parts}])
CALLED = st.tuples(TEXT, TEXT, st.integers(1, 3)).map(
    lambda drawn: [
        {
            "role": "assistant",
            "content": drawn[0],
            "tool_calls": [
                {"id": f"call:{n}", "type": "function", "function": {"name": "look", "arguments": f'{{"n": {n}}}'}}
                for n in range(drawn[2])
            ],
        },
        *({"role": "tool", "tool_call_id": f"call:{n}", "content": drawn[1]} for n in range(drawn[2])),
    ]
)
MESSAGES = st.lists(st.one_of(MESSAGE.map(lambda message: [message]), PARTS, CALLED), min_size=1, max_size=4).map(
    lambda groups: [message for group in groups for message in group]
)
MODEL = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["gpt-4o-mini", "gemma-3-270m"]),
        "temperature": st.floats(0, 2),
        "max_tokens": st.integers(1, 4096),
        "top_k": st.integers(1, 100),
    },
)
VARIABLES = st.dictionaries(NAME, st.fixed_dictionaries({}, optional={"description": TEXT}), max_size=3)
CONTENT = st.fixed_dictionaries(
    {"kind": st.just("chat"), "messages": MESSAGES},
    optional={"model": MODEL, "variables": VARIABLES},
)


def digest(document: Any) -> str:
    return content_hash(normalise(document))


def shuffled(value: Any, order: Any) -> Any:
    """The same JSON with members in another order."""
    if isinstance(value, dict):
        names = order.draw(st.permutations(sorted(value)))
        return {name: shuffled(value[name], order) for name in names}
    return [shuffled(item, order) for item in value] if isinstance(value, list) else value


@given(CONTENT, st.data())
def test_the_order_of_members_does_not_change_the_hash(content: Any, order: Any):
    assert digest(shuffled(content, order)) == digest(content)


@given(CONTENT)
def test_members_at_their_default_do_not_change_the_hash(content: Any):
    spelled_out = {
        **content,
        "tools": [],
        "examples": None,
        "includes": {},
        "response": {"format": "text", "name": None},
        "model": {**content.get("model", {}), "seed": None},
        "variables": {
            name: {"type": "string", "required": True, "default": None, **variable}
            for name, variable in content.get("variables", {}).items()
        },
    }

    assert digest(spelled_out) == digest(content)


@given(CONTENT, st.sampled_from(["\r\n", "\r", "\n"]))
def test_line_ends_do_not_change_the_hash(content: Any, end: str):
    plain = {**content, "messages": [{"role": "user", "content": "a\nb\n"}]}
    other = {**content, "messages": [{"role": "user", "content": f"a{end}b{end}"}]}

    assert digest(other) == digest(plain)


@given(CONTENT, st.sampled_from(["NFC", "NFD"]))
def test_the_unicode_form_does_not_change_the_hash(content: Any, form: Any):
    assert digest(json.loads(unicodedata.normalize(form, json.dumps(content, ensure_ascii=False)))) == digest(content)


@given(CONTENT)
def test_whole_floats_are_integers(content: Any):
    as_integer, as_float = ({**content, "model": {"temperature": value}} for value in (1, 1.0))

    assert digest(as_integer) == digest(as_float)


@given(CONTENT)
def test_the_normal_form_is_stable(content: Any):
    once = normalise(content)

    assert normalise(once) == once
    assert normalise(json.loads(canonical_bytes(once))) == once


@given(CONTENT, TEXT)
def test_any_other_text_changes_the_hash(content: Any, text: str):
    other = {**content, "messages": [*content["messages"], {"role": "user", "content": text}]}

    assert digest(other) != digest(content)


BASE: dict[str, Any] = {
    "kind": "chat",
    "messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}],
}
SCHEMA = {"format": "json_schema", "schema": {"type": "object"}}


@pytest.mark.parametrize(
    "change",
    [
        {"messages": list(reversed(BASE["messages"]))},
        {"messages": [{"role": "developer", "content": "a"}, BASE["messages"][1]]},
        {"messages": [*BASE["messages"], {"role": "placeholder", "name": "examples"}]},
        {"model": {"temperature": 0}},
        {"model": {"temperature": 0.1}},
        {"model": {"name": "gpt-4o"}},
        {"response": {"format": "json_object"}},
        {"response": SCHEMA},
        {"response": {**SCHEMA, "strict": True}},
        {"response": {**SCHEMA, "schema": {}}},
        {"tools": [{"type": "function", "function": {"name": "look_up"}}]},
        {"variables": {"x": {}}},
        {"variables": {"x": {"type": "integer"}}},
        {"variables": {"x": {"required": False}}},
        {"variables": {"x": {"default": ""}}},
        {"includes": {"shared.tone": f"sha256:{'0' * 64}"}},
        {"examples": {"set": f"sha256:{'0' * 64}"}},
    ],
)
def test_every_change_of_behaviour_changes_the_hash(change: dict[str, Any]):
    assert digest({**BASE, **change}) != digest(BASE)


def test_the_hash_is_the_published_one():
    """Anybody can compute it: SHA-256 of the RFC 8785 form. This document and hash are in docs/hash.md."""
    document = {
        "kind": "chat",
        "messages": [{"role": "user", "content": "Hi {{ name }}"}],
        "model": {"temperature": 0.1},
    }

    assert canonical_bytes(normalise(document)) == (
        b'{"kind":"chat","messages":[{"content":"Hi {{ name }}","role":"user"}],"model":{"temperature":0.1}}'
    )
    assert digest(document) == "sha256:84054901132786e61bf8e9e91ce79f75bc31b92c1380e542b831682e5284c7dc"


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ([], ""),
        ({"kind": "poem"}, "/kind"),
        ({"kind": "chat"}, "/messages"),
        ({"kind": "chat", "messages": []}, "/messages"),
        ({"kind": "chat", "messages": "hello"}, "/messages"),
        ({"kind": "chat", "messages": [{"role": "robot", "content": ""}]}, "/messages/0/role"),
        ({"kind": "chat", "messages": [{"role": "user"}]}, "/messages/0/content"),
        ({"kind": "chat", "messages": [{"role": "user", "content": 1}]}, "/messages/0/content"),
        ({"kind": "chat", "messages": [{"role": "placeholder", "name": "a b"}]}, "/messages/0/name"),
        ({"kind": "text"}, "/text"),
        ({"kind": "text", "text": "x", "messages": []}, "/messages"),
        ({**BASE, "mesages": []}, "/mesages"),
        ({**BASE, "model": {"temperature": 3}}, "/model/temperature"),
        ({**BASE, "model": {"temperature": True}}, "/model/temperature"),
        ({**BASE, "model": {"max_tokens": 1.5}}, "/model/max_tokens"),
        ({**BASE, "model": {"messages": []}}, "/model/messages"),
        ({**BASE, "response": {"format": "json_schema"}}, "/response/schema"),
        (
            {**BASE, "response": {"format": "json_schema", "schema": {"type": "objekt"}}},
            "/response/schema/type",
        ),
        ({**BASE, "response": {"format": "text", "schema": {}}}, "/response/schema"),
        ({**BASE, "tools": [{}]}, "/tools/0"),
        ({**BASE, "variables": {"1x": {}}}, "/variables/1x"),
        ({**BASE, "variables": {"loop": {}}}, "/variables/loop"),
        ({**BASE, "variables": {"x": {"type": "integer", "default": "one"}}}, "/variables/x/default"),
        ({**BASE, "variables": {"x": {"required": True, "default": ""}}}, "/variables/x/default"),
        ({**BASE, "includes": {"a": "sha256:12"}}, "/includes/a"),
        ({**BASE, "model": {"seed": 2**60}}, "/model/seed"),
        ({**BASE, "model": {"seed": 10**400}}, "/model/seed"),
        ({**BASE, "model": {"top_k": float("inf")}}, "/model/top_k"),
        ({**BASE, "messages": [{"role": "user", "content": "a\0b"}]}, "/messages/0/content"),
        ({**BASE, "messages": [{"role": "user", "content": "\ud800"}]}, "/messages/0/content"),
    ],
)
def test_a_fault_has_its_pointer(document: Any, pointer: str):
    with pytest.raises(Problem) as refused:
        normalise(document)

    assert refused.value.code == "content.invalid"
    assert pointer in [fault.pointer for fault in refused.value.faults]


@pytest.mark.parametrize("place", ["schema", "inside", "tool"])
def test_a_schema_cannot_make_the_server_fetch_or_open_anything(place: str):
    """The validator would follow `$schema` to any address or file."""
    visits: list[str] = []

    class Visited(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            visits.append(self.path)
            self.send_response(200)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Visited) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        fetching = {"$schema": f"http://127.0.0.1:{server.server_port}/x"}
        schema = {"properties": {"a": fetching}} if place == "inside" else fetching
        member = {"response": {"format": "json_schema", "schema": schema}}
        if place == "tool":
            member = {"tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]}
        with pytest.raises(Problem) as refused:
            normalise({**BASE, **member})
        server.shutdown()

    assert refused.value.faults[0].pointer.endswith("/$schema")
    assert visits == []


def test_a_schema_may_name_a_known_protocol():
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}

    assert normalise({**BASE, "response": {"format": "json_schema", "schema": schema}})["response"]["schema"] == schema


def test_a_deeply_nested_document_is_refused():
    nested: Any = {}
    for _ in range(5_000):
        nested = {"items": nested}

    with pytest.raises(Problem) as refused:
        normalise({**BASE, "response": {"format": "json_schema", "schema": nested}})

    assert refused.value.faults[0].code == "too_deep"


def test_a_document_over_one_megabyte_is_refused():
    message = {"role": "user", "content": "x" * 120_000}

    with pytest.raises(Problem) as refused:
        normalise({"kind": "chat", "messages": [message] * 10})

    assert refused.value.code == "content.too_large"


def test_all_faults_are_reported_at_once():
    with pytest.raises(Problem) as refused:
        normalise({**BASE, "model": {"temperature": 9, "top_p": 9}, "typo": 1})

    assert len(refused.value.faults) == 3
