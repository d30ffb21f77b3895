"""Releases: what is live, and rollbacks."""

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils.module_loading import import_string

from core.errors import Problem
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import Environment, Promotion, Prompt, PromptVersion, Release, ReleaseKind
from registry.promotions import approvals, environments
from registry.prompts import lifecycle as prompts
from registry.retrieval import usage


def refuse_other_live(live: Release | None, expected: str | None, *others: str) -> None:
    """Raise `request.precondition` where something else is live than the caller saw (`If-Match`).

    `expected` is the live version's hash, or one of `others` that stand for the same state.
    """
    seen = live.version.content_hash if live else ""
    if expected is not None and expected not in {seen, *others}:
        now = f"version {live.version.number}" if live else "nothing"
        raise Problem("request.precondition", f"This is not what is live: that is {now}.", live=seen or None)


def record(
    actor: Actor,
    environment: Environment,
    prompt: Prompt,
    version: PromptVersion,
    *,
    live: Release | None,
    kind: ReleaseKind,
    promotion: Promotion | None = None,
    restores: Release | None = None,
    approvals_given: int = 0,
    reason: str = "",
) -> Release:
    """Make a version live. The caller holds the locks of environment and prompt and has checked every rule but one: a
    collection that it searches must not be archived (`collection.archived`)."""
    usage.lock_collections(prompt.project_id, usage.collections_searched(version))
    release = Release.objects.create(
        environment=environment,
        prompt=prompt,
        version=version,
        number=live.number + 1 if live else 1,
        kind=kind,
        promotion=promotion,
        restores=restores,
        approvals=approvals_given,
        reason=reason,
        by=actor.user,
        by_key=actor.key,
        by_name=actor.name,
    )
    audit.record(
        actor,
        "release.rolled_back" if kind == ReleaseKind.ROLLBACK else "release.promoted",
        f"{prompt.name} in {environment.name}",
        before={"version": live.version.number, "hash": live.version.content_hash} if live else None,
        after={"version": version.number, "hash": version.content_hash, "reason": reason},
    )
    approvals.reopen_unapproved(actor, environment, f"{environment.name} has another live version", prompt)
    for follow_up in map(import_string, settings.ON_RELEASE):
        follow_up(actor, release)
    return release


@transaction.atomic
def roll_back(
    actor: Actor,
    prompt: Prompt,
    environment: Environment,
    *,
    to: PromptVersion | None = None,
    reason: str = "",
    expected_live: str | None = None,
) -> Release:
    """Make a version live again that was live in the environment before; it needs no new approval.

    In a protected environment it must have been approved then: what was released there before the environment was
    protected was never reviewed.

    Without `to` it is what was live before the live version came; rolling back again goes further back instead of
    returning to what was just left.
    """
    actor.require(Right.APPLY)
    locked_environment = environments.lock(environment)
    locked = prompts.lock(prompt)
    live = approvals.live_release(locked_environment, locked)
    refuse_other_live(live, expected_live)
    if live is None:
        raise Problem("release.nothing_live", f"Nothing of {prompt.name} is live in {environment.name}.")
    live.environment = locked_environment
    previous = _get_previous(live) if to is None else _get_released(live, to)
    # A rollback to what was itself rolled back to restores the same promotion: the path back stays one step long.
    target = previous.restores or previous
    return record(
        actor,
        locked_environment,
        locked,
        target.version,
        live=live,
        kind=ReleaseKind.ROLLBACK,
        restores=target,
        approvals_given=target.approvals,
        reason=reason,
    )


def rollback_targets(live: Release) -> QuerySet[Release]:
    """Return releases that a rollback may name: other versions, only approved ones where the environment is
    protected."""
    earlier = Release.objects.filter(environment=live.environment, prompt=live.prompt)
    if live.environment.protected:
        earlier = earlier.filter(approvals__gt=0)
    return earlier.exclude(version=live.version)


def next_release(release: Release) -> Release | None:
    """Return the release that replaced this one, or None while it is live."""
    rows = Release.objects.filter(environment=release.environment_id, prompt=release.prompt_id)
    return rows.filter(number=release.number + 1).select_related("version").first()


def previous_version(live: Release) -> PromptVersion | None:
    """Return the version that a rollback without `to` would make live, or None where there is none."""
    release = _find_previous(live)
    return release.version if release else None


def _find_previous(live: Release) -> Release | None:
    """Return the release before the one that made the live version live, ignoring rollbacks."""
    origin = live.restores or live
    earlier = rollback_targets(live).filter(number__lt=origin.number)
    return earlier.select_related("version").order_by("-number").first()


def _get_previous(live: Release) -> Release:
    target = _find_previous(live)
    if target is None:
        before = f"before version {live.version.number}"
        sentence = f"Nothing that was live in {live.environment.name} {before} can be returned to."
        raise Problem("release.nothing_to_roll_back_to", sentence)
    return target


def _get_released(live: Release, version: PromptVersion) -> Release:
    if version.pk == live.version_id:
        raise Problem("release.already_live", f"Version {version.number} is live in {live.environment.name} already.")
    released = Release.objects.filter(environment=live.environment, prompt=live.prompt, version=version)
    target = released.select_related("version").order_by("-approvals", "-number").first()
    if target is None:
        sentence = f"Version {version.number} was never live in {live.environment.name}; ask for a promotion."
        raise Problem("release.never_released", sentence)
    if live.environment.protected and not target.approvals:
        sentence = f"Version {version.number} was live there before {live.environment.name} was protected."
        raise Problem("release.never_approved", f"{sentence} Ask for a promotion.")
    return target
