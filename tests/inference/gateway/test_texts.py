"""Texts of calls: none unless the project says so; sampled, redacted before they are written down, and deleted."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import ProgrammingError, transaction
from django.test import Client
from django.utils import timezone

from core.errors import Problem
from core.redaction import PRESETS
from inference import tasks
from inference.models import Call, CallText
from inference.texts import policy as texts
from registry.models import AuditEntry
from tests.conftest import ApiFor, Stage
from tests.inference.gateway.conftest import GatewayProcess, recorded
from tests.inference.gateway.service_of_test import ServiceOfTest

SECRET = "ann@mail.example"
QUESTION: Any = {
    "model": "prompt:support.route",
    "messages": [{"role": "user", "content": f"I was charged twice, CUST-17, {SECRET}"}],
}


def keep(stage: Stage, share: float = 1, **members: Any) -> texts.KeptTexts:
    whole = {"share": share, "days": 14, "presets": list(PRESETS), "patterns": [], **members}
    return texts.set_policy(stage.ada, **whole)


def test_texts_are_kept_where_the_project_says_so(
    live_stage: Stage, live: Any, gateway: GatewayProcess, api_for: ApiFor
):
    gateway.client.chat.completions.create(**QUESTION)
    recorded(1)
    assert not CallText.objects.exists()

    keep(live_stage, patterns=[r"CUST-\d+"])
    deadline = timezone.now() + timedelta(seconds=30)
    # The service hears of it within a moment.
    while not CallText.objects.exists() and timezone.now() < deadline:
        answer = gateway.client.chat.completions.with_raw_response.create(**QUESTION)
        recorded(Call.objects.count() + 1)
    list(gateway.client.chat.completions.create(**QUESTION, stream=True))
    recorded(Call.objects.count() + 1)

    streamed, whole = CallText.objects.order_by("-id")[:2]
    assert whole.messages[-1] == {"role": "user", "content": "I was charged twice, [removed], [email]"}
    assert whole.answer == streamed.answer == {"text": "billing"}
    # Neither in the database nor on the disk.
    assert not any(SECRET.encode() in path.read_bytes() for path in Path(gateway.spool).rglob("*") if path.is_file())
    call = answer.headers["X-Cuebook-Call"]
    document = api_for(live_stage.edith).get(f"/api/v1/calls/{call}").json()
    assert (document["id"], document["text"]["answer"]) == (call, {"text": "billing"})
    assert api_for(live_stage.vera).get(f"/api/v1/calls/{call}").json()["text"] is None


def test_a_pattern_that_takes_for_ever_keeps_nothing(live_stage: Stage, live: Any, gateway: GatewayProcess):
    keep(live_stage, patterns=[r"(?:.{1,50}){1,50}[QZ]"])
    question = {**QUESTION, "messages": [{"role": "user", "content": "charged " + "ab" * 400}]}

    answer = gateway.client.chat.completions.create(**question)

    assert answer.choices[0].message.content
    recorded(1)
    assert not CallText.objects.exists()


def test_what_an_admin_says_and_nobody_else(stage: Stage, api_for: ApiFor, client: Client):
    with pytest.raises(Problem) as refused:
        texts.set_policy(stage.rhea, share=1, days=1, presets=[], patterns=[])
    assert refused.value.code == "access.denied"
    faults: list[Any] = [("share", 1.5, "/share"), ("days", 0, "/days"), ("presets", ["names"], "/presets")]
    for name, value, pointer in [*faults, ("patterns", ["("], "/patterns/0")]:
        with pytest.raises(Problem) as refused:
            keep(stage, **{name: value})
        assert refused.value.faults[0].pointer == pointer

    answer = api_for(stage.ada).put("/api/v1/text-policy", {"share": 0.25}, format="json")
    assert answer.json() == {"share": 0.25, "days": 14, "presets": sorted(PRESETS), "patterns": []}
    client.force_login(stage.ada.user)
    address = f"/p/{stage.project.slug}/settings/texts/"
    assert 'value="25"' in client.get(address).content.decode()
    posted = client.post(address, {"share": "all", "days": "7", "patterns": "CUST-1\n("})
    assert posted.status_code == 400
    assert "CUST-1" in posted.content.decode()
    client.post(address, {"share": "12.5 %", "days": "7", "presets": ["email"], "patterns": "CUST-1\n\nCUST-2"})
    assert texts.policy_of(stage.project) == texts.KeptTexts(0.125, 7, ("email",), ("CUST-1", "CUST-2"))
    assert AuditEntry.objects.filter(action="call_texts.set").count() == 2


def row(stage: Stage, reference: str, days: float = 0) -> CallText:
    at = timezone.now() - timedelta(days=days)
    messages = [{"role": "user", "content": "<b>Hello</b>"}]
    members = {"project": stage.project, "reference": reference, "at": at, "messages": messages}
    return CallText.objects.create(**members, answer={"text": "billing"})


def test_texts_end_with_their_days_or_at_once(stage: Stage, client: Client):
    keep(stage, days=3)
    row(stage, "old", days=3.1)
    row(stage, "new", days=2.9)
    with pytest.raises(ProgrammingError, match="never change"), transaction.atomic():
        CallText.objects.filter(reference="new").update(answer={})

    tasks.clear_old()
    assert [each.reference for each in CallText.objects.all()] == ["new"]

    client.force_login(stage.edith.user)
    page = client.get(f"/p/{stage.project.slug}/calls/texts/").content.decode()
    assert "&lt;b&gt;Hello" in page
    client.force_login(stage.vera.user)
    assert client.get(f"/p/{stage.project.slug}/calls/texts/").status_code == 403
    client.force_login(stage.ada.user)
    client.post(f"/p/{stage.project.slug}/settings/texts/delete/")
    assert not CallText.objects.exists()
    assert AuditEntry.objects.get(action="call_texts.deleted").after == {"texts": 1}


def test_a_sample_is_a_share_of_the_calls(monkeypatch: pytest.MonkeyPatch):
    service = ServiceOfTest(monkeypatch)
    service.plan.texts = texts.KeptTexts(share=0.25)

    sampled = sum(service.call().is_sampled for _ in range(4_000))

    # Four standard deviations of a binomial: 0.007.
    assert 0.22 < sampled / 4_000 < 0.28
    service.plan.texts = texts.KeptTexts()
    assert not any(service.call().is_sampled for _ in range(100))
