"""The palette finds more than prompts: pages and things of every app, and nothing of another project."""

from typing import Any

import pytest
from django.test import Client

from evaluations.models import Run
from registry.accounts.permissions import Actor
from registry.views.palette import number_in
from tests.conftest import Stage


def listed(client: Client, project: str, text: str) -> str:
    answer = client.get(f"/p/{project}/search/", {"palette": "1", "q": text}, headers={"HX-Request": "true"})
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("support.tick", "/p/paper/datasets/support.tickets/"),
        ("run {run}", "/p/paper/evaluations/{run}/"),
        ("#{run}", "/p/paper/evaluations/{run}/"),
        ("sandb", "/p/paper/settings/providers/sandbox/"),
        ("new eval", "/p/paper/new-evaluation/"),
        ("token", "/p/paper/strategy/tokens/"),
        ("inference", "/p/paper/strategy/configs/"),
    ],
)
def test_things_and_pages_are_found(stage: Stage, run: Run, client: Client, text: str, address: str):
    client.force_login(stage.edith.user)  # type: ignore[arg-type]

    assert f'href="{address.format(run=run.pk)}"' in listed(client, "paper", text.format(run=run.pk))


def test_things_of_other_projects_are_not_found(stage: Stage, otis: Actor, run: Run, client: Client):
    client.force_login(otis.user)  # type: ignore[arg-type]

    for text in (f"run {run.pk}", "support.tick", "sandb"):
        assert "Nothing has" in listed(client, "elsewhere", text)


def test_what_a_viewer_may_not_do_is_not_offered(stage: Stage, run: Run, client: Client):
    client.force_login(stage.vera.user)  # type: ignore[arg-type]

    assert "New evaluation" not in listed(client, "paper", "new eval")


def test_the_search_page_lists_them_too(stage: Stage, run: Run, client: Client):
    client.force_login(stage.edith.user)  # type: ignore[arg-type]

    page = client.get("/p/paper/search/", {"q": f"run {run.pk}"}).content.decode()

    assert f"run {run.pk}" in page
    assert "1 found" in page
    assert "No results" not in page


@pytest.mark.parametrize(
    ("text", "kind", "number"),
    [
        ("12", "run", 12),
        ("#12", "run", 12),
        ("Run 12", "run", 12),
        ("run12", "run", 12),
        ("fine 3", "fine-tune", 3),
        ("fine-tune 3", "fine-tune", 3),
        ("promotion 3", "run", None),
        ("12 monkeys", "run", None),
        ("1234567890", "run", None),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, kind: str, number: Any):
    assert number_in(text, kind) == number
