"""API keys: shown once, kept as a digest, ended by time or by hand."""

from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from core.errors import Problem
from registry.accounts import api_keys, key_limits
from registry.accounts.key_limits import DailyLimits, limits_of
from registry.models import APIKey, AuditEntry, KeyUsage
from tests.conftest import ApiFor, Stage


def test_the_token_is_shown_once_and_kept_as_a_digest(stage: Stage):
    key, token = api_keys.issue(stage.ada, name="router", scopes=["read"])

    assert api_keys.TOKEN.fullmatch(token)
    secret = token.rpartition("_")[2]
    assert secret not in str(list(APIKey.objects.values()))
    assert secret not in str(list(AuditEntry.objects.values()))
    assert api_keys.authenticate(token) == key


@pytest.mark.parametrize("end", ["revoked", "expired", "changed secret", "changed id"])
def test_a_key_that_has_ended_is_refused(stage: Stage, end: str):
    key, token = api_keys.issue(stage.ada, name="router", scopes=["read"])
    if end == "revoked":
        api_keys.revoke(stage.ada, key)
    elif end == "expired":
        APIKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    elif end == "changed secret":
        token = token[:-1] + ("a" if token[-1] != "a" else "b")
    else:
        token = token.replace(key.key_id, key.key_id[::-1] + "x"[: key.key_id == key.key_id[::-1]])

    with pytest.raises(Problem) as refused:
        api_keys.authenticate(token)

    assert refused.value.code == "auth.invalid_key"


def test_limits_are_set_on_the_page_over_rest_and_by_command(stage: Stage, api_for: ApiFor, client: Client):
    key, _ = api_keys.issue(stage.ada, name="service", scopes=["infer"])
    client.force_login(stage.ada.user)
    address = f"/p/{stage.project.slug}/settings/keys/{key.key_id}/"

    refused = client.post(address, {"max_requests_a_day": "many", "max_dollars_a_day": "2.5"})
    assert refused.status_code == 400
    assert "Must be a number" in refused.content.decode()
    assert 'value="many"' in refused.content.decode()
    client.post(address, {"max_requests_a_day": "1,000", "max_tokens_a_day": "", "max_dollars_a_day": "2.5"})
    key.refresh_from_db()
    assert limits_of(key) == DailyLimits(1_000, None, Decimal("2.5"))
    KeyUsage.objects.create(key=key, day=key_limits.today(), process="a", requests=6, tokens=500, cost_usd="0.25")
    page = " ".join(client.get(address).content.decode().split())
    assert 'value="1000"' in page
    assert 'value="2.5"' in page
    assert "Today: <b>6</b> of 1,000 requests, <b>500</b> tokens, <b>$0.25</b> of $2.50." in page
    KeyUsage.objects.all().delete()

    api = api_for(stage.ada)
    answer = api.patch(f"/api/v1/keys/{key.key_id}", {"max_requests_a_day": None, "max_tokens_a_day": 7}, format="json")
    assert (answer.json()["max_requests_a_day"], answer.json()["max_dollars_a_day"]) == (None, "2.5000")
    assert api.get(f"/api/v1/keys/{key.key_id}").json()["today"] == {
        "requests": 0,
        "tokens": 0,
        "dollars": "0.00000000",
    }

    out = StringIO()
    options = ["--project", stage.project.slug, "--id", key.key_id, "--max-tokens-a-day", "9"]
    call_command("apikey", "limit", *options, stdout=out)
    assert "max_tokens_a_day 9" in out.getvalue()
    key.refresh_from_db()
    # What is not named stays.
    assert limits_of(key) == DailyLimits(max_tokens_a_day=9, max_dollars_a_day=Decimal("2.5"))
    call_command("apikey", "limit", "--project", stage.project.slug, "--id", key.key_id, "--no-limits", stdout=out)
    key.refresh_from_db()
    assert not limits_of(key)
    assert [entry.action for entry in AuditEntry.objects.order_by("id")][-4:] == ["key.limited"] * 4


def test_the_last_use_is_written_once_a_minute(stage: Stage):
    key, _ = api_keys.issue(stage.ada, name="router", scopes=["read"])
    start = timezone.now()

    for seconds in (0, 30, 59, 61):
        key.refresh_from_db()
        api_keys.note_use(key, start + timedelta(seconds=seconds))
        key.refresh_from_db()
        assert key.last_used_at == start + timedelta(seconds=61 if seconds == 61 else 0)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"scopes": []}, "key.unknown_scope"),
        ({"scopes": ["root"]}, "key.unknown_scope"),
        ({"name": " "}, "key.invalid"),
        ({"name": "x" * 101}, "key.invalid"),
        ({"expires_at": timezone.now() - timedelta(days=1)}, "key.invalid"),
    ],
)
def test_an_odd_key_is_not_made(stage: Stage, fields: dict[str, object], code: str):
    with pytest.raises(Problem) as refused:
        api_keys.issue(stage.ada, **{"name": "router", "scopes": ["read"], **fields})  # type: ignore[arg-type]

    assert refused.value.code == code


def test_keys_are_issued_listed_and_revoked_over_the_api(stage: Stage, api_for: ApiFor):
    admin = api_for(stage.ada)
    issued = admin.post("/api/v1/keys", {"name": "router", "scopes": ["read"]})
    service = APIClient()
    service.credentials(HTTP_AUTHORIZATION=f"Bearer {issued.json()['token']}")

    assert issued["Cache-Control"] == "no-store"
    assert service.get("/api/v1/me").json()["rights"] == ["see"]
    assert "token" not in admin.get("/api/v1/keys").json()["results"][0]
    assert admin.post(f"/api/v1/keys/{issued.json()['id']}/revoke").json()["revoked_at"]
    assert service.get("/api/v1/me").status_code == 401


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("apikey", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_prints_the_token_alone(stage: Stage):
    printed = run("create", "--project", "paper", "--scopes", "read,write", "--name", "ci")

    assert api_keys.TOKEN.fullmatch(printed.strip())
    assert api_keys.authenticate(printed.strip()).scopes == ["read", "write"]
    assert "ci" in run("list", "--project", "paper")
    key_id = printed.split("_")[1]
    run("revoke", "--project", "paper", "--id", key_id)
    with pytest.raises(Problem):
        api_keys.authenticate(printed.strip())


@pytest.mark.parametrize(
    "arguments",
    [
        ["create", "--project", "unknown", "--name", "x"],
        ["create", "--project", "paper", "--scopes", "root", "--name", "x"],
        ["create", "--project", "paper"],
        ["revoke", "--project", "paper", "--id", "x"],
    ],
)
def test_the_command_says_what_is_wrong(stage: Stage, arguments: list[str]):
    with pytest.raises(CommandError):
        run(*arguments)
