"""Asking, reviewing and going back on the pages: what was seen is what is decided on."""

import re

from registry.models import Membership, Role
from registry.promotions import workflow
from registry.prompts import versions
from tests.conftest import Stage, chat
from tests.registry.views.pages import TRIAGE, signed_in, text


def binding(html: str) -> str:
    return re.search(r'name="seen" value="([^"]*)"', html)[1]  # type: ignore[index]


def test_a_version_is_asked_for_reviewed_and_made_live(storied: Stage):
    storied.commit(storied.project.prompts.get(), "three")
    edith, rhea = signed_in(storied.edith), signed_in(storied.rhea)
    form = {"version": "3", "environment": "production", "reason": "Fewer words"}

    page = edith.post(f"{TRIAGE}/promote/", form)["Location"]
    html = text(edith.get(page))
    assert "Fewer words" in html
    assert "You may not approve" in html
    assert "> Approve <" not in html

    html = text(rhea.get(page))
    assert "> Approve <" in html
    html = text(rhea.post(f"{page}approve/", {"seen": binding(html), "text": "Good."}, follow=True))
    assert "Promotion approved" in html
    assert "Good." in html

    html = text(edith.get(page))
    assert ">Release<" in html
    edith.post(f"{page}apply/", {"seen": binding(html)})
    assert storied.project.prompts.get().releases.first().version.number == 3  # type: ignore[union-attr]


def test_who_wrote_it_is_told_why_the_button_is_not_theirs(storied: Stage):
    prompt = storied.project.prompts.get()
    version = versions.commit(storied.rhea, prompt, content=chat("by Rhea")).version
    promotion = workflow.request(storied.edith, prompt, version, storied.environment("production"))

    html = text(signed_in(storied.rhea).get(f"/p/paper/promotions/{promotion.pk}/"))

    assert f"You wrote {version}, so another user has to approve it." in html
    assert "> Approve <" not in html


def test_an_approval_of_something_else_than_was_seen_is_refused_with_the_words_kept(storied: Stage):
    prompt = storied.project.prompts.get()
    version, production = storied.commit(prompt, "three"), storied.environment("production")
    promotion = workflow.request(storied.edith, prompt, version, production)
    page = f"/p/paper/promotions/{promotion.pk}/"
    stale = binding(text(signed_in(storied.rhea).get(page)))
    storied.release(storied.commit(prompt, "four"))

    response = signed_in(storied.rhea).post(f"{page}approve/", {"seen": stale, "text": "Looks <good>"})

    assert response.status_code == 412
    assert "What you reviewed has changed" in text(response)
    assert "Looks &lt;good&gt;" in text(response)


def test_sending_back_needs_words(storied: Stage):
    prompt = storied.project.prompts.get()
    version, production = storied.commit(prompt, "three"), storied.environment("production")
    promotion = workflow.request(storied.edith, prompt, version, production)

    response = signed_in(storied.rhea).post(f"/p/paper/promotions/{promotion.pk}/request-changes/", {"text": " "})

    assert response.status_code == 400
    assert "Say what should change." in text(response)


def test_pressing_twice_does_no_harm(storied: Stage):
    prompt = storied.project.prompts.get()
    version, production = storied.commit(prompt, "three"), storied.environment("production")
    promotion = workflow.request(storied.edith, prompt, version, production)
    rhea = signed_in(storied.rhea)

    first = rhea.post(f"/p/paper/promotions/{promotion.pk}/approve/")
    second = rhea.post(f"/p/paper/promotions/{promotion.pk}/approve/")

    assert (first.status_code, second.status_code) == (302, 409)
    assert "Your approval stands already." in text(second)
    assert signed_in(storied.edith).post(f"/p/paper/promotions/{promotion.pk}/explode/").status_code == 404


def test_rolling_back_shows_what_it_changes_and_takes_a_reason(stage: Stage):
    prompt = stage.prompt()
    stage.release(stage.commit(prompt, "one"))
    stage.release(stage.commit(prompt, "two"))
    edith = signed_in(stage.edith)

    html = text(edith.get(f"{TRIAGE}/rollback/?environment=production"))
    assert "From v2 to v1" in html
    seen = re.search(r'name="seen" value="([^"]*)"', html)[1]  # type: ignore[index]

    edith.post(f"{TRIAGE}/rollback/", {"environment": "production", "to": "1", "seen": seen, "reason": "It was wrong"})
    release = prompt.releases.first()
    assert release
    assert (release.version.number, release.reason) == (1, "It was wrong")

    again = edith.post(f"{TRIAGE}/rollback/", {"environment": "production", "to": "1", "seen": seen, "reason": "Again"})
    assert again.status_code == 412
    assert "Again" in text(again)


def test_a_promotion_that_nobody_can_approve_says_so(stage: Stage):
    version = stage.commit(stage.prompt(), "Sort it.", by=stage.rhea)
    promotion = workflow.request(stage.edith, version.prompt, version, stage.environment("production"))
    page = f"/p/paper/promotions/{promotion.pk}/"
    assert "can approve this" not in text(signed_in(stage.edith).get(page))

    for user in (stage.ralf.user, stage.ada.user):
        assert user
        Membership.objects.filter(user=user, project=stage.project).update(role=Role.VIEWER)

    assert "Nobody here can approve this" in text(signed_in(stage.edith).get(page))
