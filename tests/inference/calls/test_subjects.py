"""A subject that is deleted is nowhere any more."""

import pytest
from django.db import connection
from django.test import Client

from core.errors import Problem
from inference.calls import feedback, subjects
from inference.calls import log as call_log
from inference.models import Call, CallText, UsageRollup
from inference.usage import rollups
from inference.usage.stats import sum_usage
from registry.accounts.permissions import Actor
from registry.models import PromptVersion
from tests.conftest import ApiFor, Stage
from tests.inference.calls.conftest import call

NAME = "anna.example-4711"


def dump() -> str:
    """All that the database's tables hold, as text."""
    parts = []
    with connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in cursor.fetchall():
            with cursor.copy(f"COPY (SELECT * FROM {table}) TO STDOUT") as copy:
                parts.append(b"".join(map(bytes, copy)).decode())
    return "\n".join(parts)


def some_calls(service: Actor, version: PromptVersion) -> None:
    own = {"subject": NAME, "metadata": {"mail": f"{NAME}@example.org"}}
    call_log.record(service, [call(1, **own), call(2, **own), call(3, subject="somebody else")])
    feedback.record(
        service,
        [
            {"call": "call-1", "comment": f"{NAME} was not pleased"},
            {"subject": NAME, "prompt": "support.triage", "score": 0.5, "within_seconds": 60},
            {"call": "call-3", "score": 1},
        ],
    )
    for reference, subject in (("call-1", NAME), ("call-2", ""), ("call-3", "")):
        text = {"reference": reference, "at": Call.objects.get(reference=reference).at, "subject": subject}
        CallText.objects.create(project=version.prompt.project, messages=[], answer={"text": f"Dear {NAME}"}, **text)


def test_nothing_of_a_deleted_subject_is_in_a_dump(stage: Stage, service: Actor, version: PromptVersion):
    some_calls(service, version)
    CallText.objects.filter(reference="call-3").delete()
    assert dump().count(NAME) >= 6

    deleted = subjects.delete(stage.ada, NAME)

    assert (deleted.calls, deleted.texts, deleted.feedback) == (2, 2, 2)
    assert NAME not in dump()
    stats = sum_usage(map(rollups.usage_in, UsageRollup.objects.all()))
    assert (stats.calls, stats.feedback["score"][0]) == (3, 2)
    assert Call.objects.get(reference="call-3").subject == "somebody else"
    assert subjects.delete(stage.ada, NAME) == subjects.Deletion(0, 0, 0)


def test_only_an_admin_deletes_a_subject(stage: Stage, api_for: ApiFor, service: Actor, version: PromptVersion):
    some_calls(service, version)

    with pytest.raises(Problem, match="may not"):
        subjects.delete(stage.edith, NAME)
    assert api_for(stage.edith).delete(f"/api/v1/subjects/{NAME}").status_code == 403
    answer = api_for(stage.ada).delete(f"/api/v1/subjects/{NAME}")
    assert (answer.status_code, answer.json()) == (200, {"calls": 2, "texts": 2, "feedback": 2})


def test_an_admin_deletes_a_subject_on_a_page(stage: Stage, client: Client, service: Actor, version: PromptVersion):
    some_calls(service, version)
    address = f"/p/{stage.project.slug}/settings/texts/subject/"
    client.force_login(stage.edith.user)
    client.post(address, {"subject": NAME})
    assert Call.objects.filter(subject=NAME).count() == 2
    client.force_login(stage.ada.user)

    answer = client.post(address, {"subject": NAME}, follow=True).content.decode()
    again = client.post(address, {"subject": NAME}, follow=True).content.decode()

    assert "2 calls no longer name it; 2 texts and 2 values of feedback are deleted" in answer
    assert "There is nothing of that subject" in again
