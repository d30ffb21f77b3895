"""The administration site: everything to look at, history read-only, verbs through the same functions."""

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client

from registry.models import (
    APIKey,
    AuditEntry,
    Environment,
    Membership,
    Project,
    Promotion,
    Prompt,
    PromptVersion,
    Release,
)
from tests.conftest import Stage, make_user
from tests.infra.test_triggers import INSERT_ONLY

MODELS = list(apps.get_app_config("registry").get_models())
pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def root(shared_stage: Stage) -> Client:
    user = make_user("root")
    user.is_staff = user.is_superuser = True
    user.save()
    client = Client()
    client.force_login(user)
    return client


def address(model: type, page: str = "changelist", *args: int) -> str:
    tail = {"changelist": "", "add": "add/", "change": f"{args[0]}/change/" if args else ""}[page]
    return f"/admin/{model._meta.label_lower.replace('.', '/')}/{tail}"


@pytest.fixture(scope="module")
def history(shared_stage: Stage) -> Stage:
    stage = shared_stage
    prompt = stage.prompt()
    for text in ("one", "two"):
        stage.release(stage.commit(prompt, text))
    return stage


@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_its_list(root: Client, history: Stage, model: type):
    assert model in admin.site._registry
    assert root.get(address(model)).status_code == 200


@pytest.mark.parametrize("model", [*INSERT_ONLY, Promotion])
def test_history_is_read_only(root: Client, history: Stage, model: type):
    assert root.get(address(model, "add")).status_code == 403
    row = model.objects.first()  # type: ignore[attr-defined]
    if row:
        page = root.get(address(model, "change", row.pk))
        assert page.status_code == 200
        assert 'name="_save"' not in page.content.decode()


def act(client: Client, model: type, action: str, *rows: int, **fields: str) -> str:
    data = {"action": action, "_selected_action": [str(pk) for pk in rows], **fields}
    return client.post(address(model), data, follow=True).content.decode()


def test_two_selected_versions_are_compared(root: Client, history: Stage):
    first, second = PromptVersion.objects.order_by("number")

    html = act(root, PromptVersion, "compare", first.pk, second.pk)

    assert "support.triage@1 and support.triage@2" in html
    assert 'class="removed"' in html
    assert "Select exactly two" in act(root, PromptVersion, "compare", first.pk)


def test_a_promotion_is_asked_for(root: Client, history: Stage):
    version = PromptVersion.objects.get(number=1)

    form = act(root, PromptVersion, "request_promotion", version.pk)
    act(root, PromptVersion, "request_promotion", version.pk, environment="production", reason="Back to it")

    assert "production (protected)" in form
    promotion = Promotion.objects.get(status="open")
    assert (promotion.version, promotion.requested_by_name, promotion.reason) == (version, "root", "Back to it")


def test_a_release_is_rolled_back_to(root: Client, history: Stage):
    first = Release.objects.get(number=1).pk

    response = act(root, Release, "roll_back", first)
    assert "is rolled back to" in response
    assert Release.objects.count() == 2
    assert "Select exactly one" in act(root, Release, "roll_back", *Release.objects.values_list("pk", flat=True))
    act(root, Release, "roll_back", first, reason="Labels went missing")

    live = Release.objects.order_by("-number")[0]
    assert (live.kind, live.version.number, live.by_name) == ("rollback", 1, "root")
    assert live.reason == "Labels went missing"


def test_a_refusal_is_a_message(root: Client, history: Stage):
    html = act(root, Release, "roll_back", Release.objects.get(number=2).pk, reason="x")

    assert "live in production already" in html
    assert Release.objects.count() == 2
    assert "live in production" in act(root, Prompt, "archive", Prompt.objects.get().pk)


def test_forms_save_through_the_domain_functions(root: Client, history: Stage):
    project = history.project
    root.post(address(Project, "add"), {"slug": "made-here", "name": "Made here"})
    root.post(address(Environment, "add"), {"project": project.pk, "name": "canary", "required_approvals": 2})
    root.post(address(Prompt, "add"), {"project": project.pk, "name": "new.one", "description": "x", "tags": "b,a"})
    root.post(address(Membership, "add"), {"project": project.pk, "user": make_user("newcomer").pk, "role": "viewer"})
    html = root.post(
        address(APIKey, "add"), {"project": project.pk, "name": "ci", "scopes": "read"}, follow=True
    ).content.decode()

    assert Project.objects.get(slug="made-here").environments.count() == 3
    assert Environment.objects.get(name="canary").position == 4
    assert Prompt.objects.get(name="new.one").tags == ["a", "b"]
    assert "shown only once: cbk_" in html
    assert set(AuditEntry.objects.filter(actor="root").values_list("action", flat=True)) == {
        *("environment.created", "prompt.created", "member.set", "key.issued"),
    }


def test_a_refused_form_shows_the_refusal(root: Client, history: Stage):
    response = root.post(address(Project, "add"), {"slug": "Not A Slug", "name": "x"}, follow=True)

    assert response.status_code == 200
    assert not Project.objects.filter(name="x").exists()


def test_staff_without_a_membership_changes_nothing(history: Stage):
    user = make_user("clerk")
    user.is_staff = True
    user.save()
    client = Client()
    client.force_login(user)

    assert client.get(address(PromptVersion)).status_code == 403
