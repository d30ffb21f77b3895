"""The client's parts that need no registry: the hash, the schedule, and the vectors that server and client share."""

import copy
import json
import math
import pickle
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import cuebook
import pytest
import rfc8785
from cuebook.core.retry_after import parse_retry_after
from cuebook.hashing import canonical, content_hash
from cuebook.prompt import Prompt, arguments
from cuebook.schedule import MAX_BACKOFF_SECONDS, RefreshSchedule
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Problem
from core.example_selection import Candidate, choose
from core.examples import Shot, set_hash
from evaluations.providers.chat import build_request
from evaluations.providers.wires import get_wire
from registry.content import content_hash as identity
from registry.content.model_profiles.facts import get_profile
from registry.content.normalize import normalise
from registry.prompts import versions

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "rendering.json").read_text(encoding="utf-8"))

numbers = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)


def test_an_image_that_only_the_registry_has_is_not_sent():
    image = {"type": "image_url", "image_url": {"url": "{{ shot }}"}}
    prompt = Prompt.from_fallback("p", {"messages": [{"role": "user", "content": [image]}]}, StubSource([]))
    address = f"image:3x2:{'0' * 64}"

    with pytest.raises(cuebook.RenderError, match="is in the registry only") as refusal:
        prompt.render(shot=address)

    assert refusal.value.code == "render.invalid_message"
    assert prompt.render(shot="https://example.com/a.png")["messages"][0]["content"][0]["type"] == "image_url"


@given(values)
def test_the_canonical_form_is_that_of_the_reference(value: Any):
    assert canonical(value).encode() == rfc8785.dumps(value)


class StubSource:
    """Where a vector's prompt gets its example set."""

    def __init__(self, shots: list[Shot]) -> None:
        self._shots = shots

    def examples(self, _: str) -> list[Shot]:
        return self._shots

    def has_examples(self, _: str) -> bool:
        return True

    def render_there(self, *_: Any) -> dict[str, Any]:
        raise AssertionError("A vector is rendered here.")


def shots_of(vector: dict[str, Any]) -> list[Shot]:
    return [
        Shot(example["input"], example["output"], example.get("note", ""), tuple(example.get("tags", ())))
        for example in vector.get("examples", ())
    ]


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_the_client_renders_the_vectors(vector: dict[str, Any]):
    shots, content = shots_of(vector), vector["content"]
    assert content_hash(content) == vector["hash"]
    assert all(content_hash(partial["content"]) == pinned for pinned, partial in vector.get("partials", {}).items())
    document = {"prompt": "p", "number": 1, "hash": vector["hash"], "content": content}
    prompt = Prompt({**document, "partials": vector.get("partials", {})}, StubSource(shots), None)
    for case in vector["cases"]:
        if "problem" in case:
            with pytest.raises(cuebook.RenderError) as refused:
                prompt.render(**case["variables"])
            assert refused.value.code == case["problem"]
        else:
            assert written(prompt.render(**case["variables"])) == written(case["arguments"])
    assert content == prompt.content


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_the_server_renders_the_vectors(vector: dict[str, Any]):
    shots, content = shots_of(vector), vector["content"]
    assert identity.content_hash(content) == vector["hash"]
    assert normalise(copy.deepcopy(content)) == content
    if shots:
        assert set_hash(shots) == content["examples"]["set"]
        candidates = [Candidate(place, shot, 0) for place, shot in enumerate(shots, start=1)]
        shots = choose(content["examples"], candidates).shots
    partials = {pinned: partial["content"] for pinned, partial in vector.get("partials", {}).items()}
    for case in vector["cases"]:
        if "problem" in case:
            with pytest.raises(Problem) as refused:
                versions.renderer_pool().render(content, case["variables"], partials, shots)
            assert refused.value.code == case["problem"]
        else:
            rendered = versions.renderer_pool().render(content, case["variables"], partials, shots)
            assert written(arguments(rendered)) == written(case["arguments"])
            model = rendered["model"].get("name", "")
            request = build_request(rendered, model, {}, get_profile(model))
            assert get_wire("openai_chat").write_body(request) == {"model": "", **arguments(rendered)}


def written(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, sort_keys=True)


def test_the_vectors_cover_the_language():
    """One that only shows plain substitution would prove little."""
    text = json.dumps(VECTORS)
    for feature in ("{% for", "{% if", "{% include", "{% set", "| tojson", "placeholder", "json_schema", "tools"):
        assert feature in text, feature
    assert {case["problem"] for vector in VECTORS for case in vector["cases"] if "problem" in case} >= {
        "render.missing_variable",
        "render.invalid_variable",
        "template.failed",
        "template.too_expensive",
    }


def test_rests_double_up_to_five_minutes_and_end_with_a_success():
    now = [0.0]
    schedule = RefreshSchedule(30.0, clock=lambda: now[0])
    assert not schedule.is_backing_off
    assert all(24 <= schedule.wait() <= 36 for _ in range(100))
    pauses = []
    for _ in range(20):
        schedule.failed()
        assert schedule.is_backing_off
        pauses.append(schedule.wait())
    for rest, longest in zip(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, *[MAX_BACKOFF_SECONDS] * 11], strict=True):
        assert 0.5 * longest <= rest <= 1.5 * longest
    now[0] += 1_000
    assert not schedule.is_backing_off
    assert schedule.wait() == 0.0
    schedule.failed(retry_after=2_000)
    assert 2_000 <= schedule.wait() <= 2_400
    schedule.succeeded()
    assert not schedule.is_backing_off
    assert 24 <= schedule.wait() <= 36


def test_retry_after_in_both_its_forms():
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert parse_retry_after("120") == 120.0
    assert parse_retry_after("1.5") == 1.5
    assert 80 < (parse_retry_after(soon) or 0) <= 90
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert parse_retry_after("Mon, 01 Jan 99999999999999999999 00:00:00 GMT") is None
    assert [parse_retry_after(text) for text in (None, "", "soon", "-5", "١٢", "99999999999999")] == [
        None,
        None,
        None,
        None,
        12.0,
        999999999.0,
    ]


def test_errors_travel_between_processes():
    for error in (cuebook.NotFoundError("Nothing.", "prompt.not_found"), cuebook.UnavailableError("Down.", "", 3.0)):
        copied = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
        assert (type(copied), str(copied), copied.code) == (type(error), str(error), error.code)
        assert isinstance(copied, cuebook.CuebookError)
    assert math.isinf(Prompt.from_fallback("p", "x", StubSource([])).age)
