"""Who stands behind a promotion: nobody releases text of their own alone, whatever way it takes to a model."""

from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django.test import Client
from rest_framework.test import APIClient

from core.errors import Problem
from core.examples import Shot
from inference.configs import lifecycle as configs
from registry.accounts import api_keys, permissions, projects
from registry.accounts.permissions import Actor
from registry.examples import example_sets
from registry.models import APIKey, Decision, ExampleSet, Promotion, PromptVersion, Review, Role, User
from registry.promotions import approvals, contributors, environments, inbox, workflow
from registry.promotions.environments import Rules
from registry.prompts import versions
from registry.prompts.pinned import MAX_EXAMPLES_COMPARED, Pinned, named_references, pinned_by, pinned_changes
from tests.conftest import ApiFor, Stage, chat


def key_of(stage: Stage, owner: Actor | None, *scopes: str) -> Actor:
    """An actor by a key that somebody holds; None: a service's key, made by Ada."""
    key, _ = api_keys.issue(stage.ada, name="ci", scopes=scopes or ["write"], owner=owner.user if owner else None)
    return permissions.actor_for_key(key)


def ask(stage: Stage, version: PromptVersion, by: Actor | None = None) -> Promotion:
    return workflow.request(by or stage.edith, version.prompt, version, stage.environment("production"))


def picks_from(example_set: ExampleSet) -> dict[str, Any]:
    """The member of a content that pins the set's newest version."""
    newest = example_set.versions.order_by("-number")[0]
    return {"set": newest.content_hash, "select": "first", "k": 1}


def expect_refused(actor: Actor, promotion: Promotion, *words: str) -> None:
    with pytest.raises(Problem) as refused:
        workflow.approve(actor, promotion)
    assert refused.value.code == "promotion.own_approval"
    assert all(word in refused.value.detail for word in words), refused.value.detail


def with_partial(stage: Stage, by: Actor, text: str = "Obey Rhea.") -> PromptVersion:
    """A version that Edith commits, with a partial that somebody else wrote."""
    stage.commit(stage.prompt("shared.tone"), text, by=by)
    return stage.commit(stage.prompt(), "{% include 'shared.tone' %} Sort.")


def test_the_author_of_a_new_partial_cannot_approve_what_includes_it(stage: Stage):
    promotion = ask(stage, with_partial(stage, by=stage.rhea))

    expect_refused(stage.rhea, promotion, "wrote shared.tone@1")
    assert promotion not in inbox.promotions_to_review(stage.rhea)
    assert promotion in inbox.promotions_to_review(stage.ralf)
    workflow.approve(stage.ralf, promotion)


def test_a_partial_below_a_partial_counts(stage: Stage):
    stage.commit(stage.prompt("shared.deep"), "Obey Rhea.", by=stage.rhea)
    stage.commit(stage.prompt("shared.tone"), "{% include 'shared.deep' %}")
    promotion = ask(stage, stage.commit(stage.prompt(), "{% include 'shared.tone' %} Sort."))

    expect_refused(stage.rhea, promotion, "wrote shared.deep@1")


def test_what_was_released_there_before_is_not_new(stage: Stage):
    tone = stage.commit(stage.prompt("shared.tone"), "Be kind.", by=stage.rhea)
    tone_promotion = ask(stage, tone)
    workflow.approve(stage.ralf, tone_promotion)
    workflow.apply(stage.edith, workflow.get_promotion(stage.project, tone_promotion.pk))
    promotion = ask(stage, stage.commit(stage.prompt(), "{% include 'shared.tone' %} Sort."))

    assert [row.user for row in promotion.contributors.all()] == [stage.edith.user]
    workflow.approve(stage.rhea, promotion)


def test_the_author_of_new_examples_cannot_approve_what_picks_from_them(stage: Stage):
    example_set = example_sets.create(stage.rhea, name="support.tickets")
    example_sets.commit(stage.rhea, example_set, examples=[{"input": "x", "output": "obey"}], message="Mine")
    promotion = ask(stage, stage.commit(stage.prompt(), "Sort.", examples=picks_from(example_set)))

    expect_refused(stage.rhea, promotion, "wrote the examples support.tickets@1")


def test_a_prompt_that_is_named_with_its_hash_counts(stage: Stage):
    """As inference configs do: whatever pins a hash is followed."""
    evil = stage.commit(stage.prompt("evil.route"), "Obey Rhea.", by=stage.rhea)
    config = stage.commit(stage.prompt("config.routing"), f'"prompt": "evil.route@{evil.content_hash}"')

    expect_refused(stage.rhea, ask(stage, config), "wrote evil.route@1")


@pytest.mark.parametrize("holder", ["rhea", None])
def test_who_holds_a_key_or_made_it_stands_behind_what_it_does(stage: Stage, holder: str | None):
    """Both have seen it; a service's key has nobody but its maker."""
    key = key_of(stage, stage.rhea if holder else None)
    version = stage.commit(stage.prompt(), "Obey.", by=key)
    by_key = ask(stage, version, by=key)

    for actor in (stage.rhea, stage.ada) if holder else (stage.ada,):
        expect_refused(actor, by_key, "the key ci")
    workflow.withdraw(key, by_key)
    by_edith = ask(stage, version)
    expect_refused(stage.rhea if holder else stage.ada, by_edith, "the key ci")
    workflow.approve(stage.ralf, by_edith)


def test_where_nobody_answers_for_a_part_of_it_two_have_to_look(stage: Stage):
    """A key of the command line has neither owner nor maker: whoever has it may be the one who approves. Also where
    somebody answers for another part."""
    key, _ = api_keys.issue(permissions.actor_for_command_line(stage.project), name="ci", scopes=["write"])
    actor = permissions.actor_for_key(key)
    prompt = stage.prompt()
    stage.commit(prompt, "Harmless.")
    promotion = ask(stage, stage.commit(prompt, "Obey.", by=actor), by=actor)

    workflow.approve(stage.rhea, promotion)
    assert Promotion.objects.get(pk=promotion.pk).status == "open"
    workflow.approve(stage.ralf, promotion)
    assert Promotion.objects.get(pk=promotion.pk).status == "approved"


def test_text_that_is_carried_on_keeps_its_author(stage: Stage):
    """Rhea's unreleased text, in a version that Edith changed by a word."""
    prompt = stage.prompt()
    stage.commit(prompt, "Obey Rhea.", by=stage.rhea)
    grown = versions.commit(stage.edith, prompt, content=chat("Obey Rhea now."), parent=1).version
    promotion = ask(stage, grown)

    expect_refused(stage.rhea, promotion, "wrote support.triage@1")


def test_text_that_takes_another_parent_keeps_its_author(stage: Stage):
    """As a merge does, or a commit that names an older version as its parent."""
    prompt = stage.prompt()
    stage.commit(prompt, "Sort.")
    stage.commit(prompt, "Obey Rhea.", by=stage.rhea)
    promotion = ask(stage, versions.commit(stage.edith, prompt, content=chat("Obey Rhea now."), parent=1).version)

    expect_refused(stage.rhea, promotion, "wrote support.triage@2")


def test_what_does_not_exist_yet_cannot_be_pinned(stage: Stage):
    """Its hash can be known beforehand: who commits it after the review would stand behind nothing."""
    later_hash = stage.commit(stage.prompt("scratch"), "Obey Rhea.").content_hash
    config = stage.commit(stage.prompt("config.routing"), f'"prompt": "evil.route@{later_hash}"')

    with pytest.raises(Problem, match="names what does not exist") as refused:
        ask(stage, config)
    assert refused.value.code == "promotion.unknown_pin"
    assert not Promotion.objects.exists()


def test_what_was_named_before_it_existed_was_not_reviewed(stage: Stage):
    """A live version's text names a hash; somebody commits it later and includes it."""
    later_hash = stage.commit(stage.prompt("scratch"), "Obey Rhea.").content_hash
    prompt = stage.prompt()
    live = stage.commit(prompt, "Kind. {# evil.l@" + later_hash + " #}")
    Promotion.objects.bulk_create(
        [Promotion(environment=stage.environment("production"), prompt=prompt, version=live, requested_by_name="x")]
    )
    promoted = Promotion.objects.get()
    workflow.approve(stage.ralf, promoted)
    workflow.apply(stage.edith, workflow.get_promotion(stage.project, promoted.pk))
    stage.commit(stage.prompt("evil.l"), "Obey Rhea.", by=stage.rhea)
    promotion = ask(stage, stage.commit(prompt, "Kind. {% include 'evil.l@1' %}"))

    expect_refused(stage.rhea, promotion, "wrote evil.l@1")


def test_who_names_too_many_is_refused_when_it_is_written(stage: Stage):
    names = " ".join(f"a.b@sha256:{number:064x}" for number in range(101))
    with pytest.raises(Problem, match="at most 100"):
        stage.commit(stage.prompt(), names)


def test_what_went_live_without_approval_is_shown_and_counts(stage: Stage):
    production = stage.environment("production")
    environments.change_rules(stage.ada, production, Rules(False, 1, ()))
    stage.commit(stage.prompt("hidden.part"), "Obey Rhea.", by=stage.rhea)
    prompt = stage.prompt()
    stage.release(stage.commit(prompt, "{% include 'hidden.part' %} One"))
    environments.change_rules(stage.ada, stage.environment("production"), Rules(True, 1, ()))
    promotion = ask(stage, stage.commit(prompt, "{% include 'hidden.part' %} Two"))

    expect_refused(stage.rhea, promotion, "wrote hidden.part@1")
    live = approvals.compared_release(promotion)
    (change,) = pinned_changes(contributors.reviewed_pins(promotion.environment, live), promotion.version)
    assert change.name == "hidden.part"


def test_another_order_of_examples_is_a_change(stage: Stage):
    """`first` picks by it."""
    example_set = example_sets.create(stage.edith, name="tickets")
    rows = [{"input": "a", "output": "1"}, {"input": "b", "output": "2"}]
    example_sets.commit(stage.edith, example_set, examples=rows)
    prompt = stage.prompt()
    old = stage.commit(prompt, "Sort.", examples=picks_from(example_set))
    example_sets.commit(stage.edith, example_set, examples=rows[::-1])
    new = stage.commit(prompt, "Sort.", examples=picks_from(example_set))

    (change,) = pinned_changes(pinned_by(old), new)

    assert (change.old_content["text"], change.new_content["text"]) == ("a\n→ 1\n\nb\n→ 2", "b\n→ 2\n\na\n→ 1")


def test_of_many_examples_the_rest_is_counted(stage: Stage):
    example_set = example_sets.create(stage.edith, name="tickets")
    rows = [{"input": str(number), "output": "x"} for number in range(MAX_EXAMPLES_COMPARED + 7)]
    example_sets.commit(stage.edith, example_set, examples=rows)
    picks = {**picks_from(example_set), "select": "first"}

    (change,) = pinned_changes(Pinned(), stage.commit(stage.prompt(), "Sort.", examples=picks))

    assert change.left_out == 7


def test_a_config_that_nobody_could_read_is_not_released(stage: Stage):
    config, _ = configs.commit(stage.edith, "routing", {"strategy": "fine-tune", "model": "ft:x"})
    by_hand = versions.commit(
        stage.edith,
        config.holder,
        content={"kind": "text", "text": '{"strategy": "prompt", "model": "m", "prompt": "evil@latest"}'},
    ).version

    with pytest.raises(Problem, match="has to be pinned"):
        ask(stage, by_hand)


def test_examples_that_are_carried_on_keep_their_author(stage: Stage):
    example_set = example_sets.create(stage.rhea, name="support.tickets")
    example_sets.commit(stage.rhea, example_set, examples=[{"input": "x", "output": "obey"}])
    example_sets.add(stage.edith, example_set, added=[Shot("y", "z")], replace=False)
    promotion = ask(stage, stage.commit(stage.prompt(), "Sort.", examples=picks_from(example_set)))

    expect_refused(stage.rhea, promotion, "wrote the examples support.tickets@1")


@pytest.mark.parametrize(
    "spelling", ["evil.route@{}", "\\nevil.route@{}", "evil.route\\u0040{}", "evil.route@\\u0073{}"]
)
def test_every_spelling_of_a_pin_is_followed(spelling: str):
    """As they stand in a text, which may be JSON: a line break or an @ may be escaped there."""
    content_hash = f"sha256:{'a' * 64}"
    written = spelling.format(content_hash.removeprefix("s") if "0073" in spelling else content_hash)
    content = {"kind": "text", "text": '{"prompt": "' + written + '"}'}

    assert ("evil.route", content_hash) in named_references(content)


def test_a_long_text_is_gone_through_once():
    assert named_references({"kind": "text", "text": "a" * 200_000}) == set()


def test_the_database_refuses_too(stage: Stage):
    promotion = ask(stage, with_partial(stage, by=stage.rhea))
    members: dict[str, Any] = {"promotion": promotion, "by": stage.rhea.user, "by_name": "rhea", "bound_rules": 1}

    with pytest.raises(DatabaseError, match="does not approve it"), transaction.atomic():
        Review.objects.create(decision=Decision.APPROVE, **members)
    Review.objects.create(decision=Decision.COMMENT, **members)
    with pytest.raises(DatabaseError, match="insert-only"), transaction.atomic():
        promotion.contributors.all().delete()


def test_the_page_and_the_api_say_who_and_what(stage: Stage, api: APIClient, client: Client):
    example_set = example_sets.create(stage.edith, name="tickets")
    example_sets.commit(stage.edith, example_set, examples=[{"input": "Charged twice", "output": "billing"}])
    stage.commit(stage.prompt("shared.tone"), "Obey Rhea alone.", by=stage.rhea)
    first = stage.commit(stage.prompt(), "Sort.")
    stage.release(first)
    picks = picks_from(example_set)
    second = stage.commit(first.prompt, "{% include 'shared.tone' %} Sort.", examples=picks)
    promotion = ask(stage, second)
    assert stage.rhea.user
    client.force_login(stage.rhea.user)

    html = client.get(f"/p/paper/promotions/{promotion.pk}/").content.decode()
    document = api.get(f"/api/v1/promotions/{promotion.pk}").json()
    difference = api.get("/api/v1/prompts/support.triage/diff?from=1&to=2").json()

    assert "Obey Rhea alone." in html
    assert "Charged twice" in html
    assert "wrote shared.tone@1" in html
    assert {"user": "rhea", "reasons": ["wrote shared.tone@1"]} in document["contributors"]
    for rows in (document["pinned"], difference["pinned"]):
        assert [(row["kind"], row["name"], row["old"], row["new"]) for row in rows] == [
            ("prompt", "shared.tone", "", "v1"),
            ("examples", "tickets", "", "v1"),
        ]
        assert rows[0]["diff"]["added"] == 1


def test_a_changed_partial_is_compared_with_the_one_that_is_live(stage: Stage):
    tone = stage.prompt("shared.tone")
    stage.commit(tone, "Be kind.")
    prompt = stage.prompt()
    old = stage.commit(prompt, "{% include 'shared.tone' %} Sort.")
    newer = stage.commit(tone, "Be cruel.")
    new = stage.commit(prompt, "{% include 'shared.tone@latest' %} Sort.")

    (change,) = pinned_changes(pinned_by(old), new)

    assert (change.name, change.old_label, change.new_label) == ("shared.tone", "v1", "v2")
    assert change.new_content == newer.content
    assert pinned_changes(pinned_by(new), new) == []


def test_a_key_ends_with_its_owners_membership_and_has_no_more_rights(stage: Stage, api_for: ApiFor):
    key, token = api_keys.issue(stage.ada, name="laptop", scopes=["write"], owner=stage.ralf.user)
    other, _ = api_keys.issue(stage.ada, name="service", scopes=["write"])
    assert stage.ralf.user
    projects.set_member(stage.ada, user=stage.ralf.user, role=Role.VIEWER)
    assert not permissions.actor_for_key(key).may(permissions.Right.EDIT)

    ended = projects.remove_member(stage.ada, user=stage.ralf.user)

    assert [row.name for row in ended] == ["laptop"]
    with pytest.raises(Problem, match="revoked"):
        api_keys.authenticate(token)
    other.refresh_from_db()
    assert other.is_usable


@pytest.mark.parametrize("how", ["membership", "account"])
def test_keys_end_whoever_ends_the_membership(stage: Stage, how: str):
    """By SQL, the admin's pages or a script."""
    key, _ = api_keys.issue(stage.ada, name="laptop", scopes=["read"], owner=stage.ralf.user)
    assert stage.ralf.user
    if how == "membership":
        stage.ralf.user.memberships.all().delete()
    else:
        User.objects.filter(pk=stage.ralf.user.pk).update(is_active=False)

    assert not APIKey.objects.get(pk=key.pk).is_usable


def test_who_holds_a_key_is_said_when_it_is_made(stage: Stage, client: Client, api_for: ApiFor, otis: Actor):
    api = api_for(stage.ada)
    key_of_edith = api.post("/api/v1/keys", {"name": "one", "scopes": ["read"], "owner": "edith"}).json()
    service = api.post("/api/v1/keys", {"name": "two", "scopes": ["read"], "owner": None}).json()
    own = api.post("/api/v1/keys", {"name": "three", "scopes": ["read"]}).json()
    outsider = api.post("/api/v1/keys", {"name": "four", "scopes": ["read"], "owner": "otis"})

    assert [key_of_edith["owner"], service["owner"], own["owner"]] == ["edith", None, "ada"]
    assert outsider.json()["errors"][0]["pointer"] == "/owner"
    assert stage.ada.user
    client.force_login(stage.ada.user)
    page = client.get("/p/paper/settings/keys/")
    form = {"form": page.context["form"], "name": "five", "scopes": ["read"], "days": "30"}
    unsaid = client.post("/p/paper/settings/keys/", form)
    assert "Choose who holds the key." in unsaid.content.decode()
    issued = client.post("/p/paper/settings/keys/", {**form, "form": unsaid.context["form"], "owner": "rhea"})
    assert "cbk_" in issued.content.decode()
    assert APIKey.objects.get(name="five").owner == stage.rhea.user
