"""Environments and their rules."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import Max

from core.errors import Fault, Problem
from core.references import is_environment_name, quoted
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import Environment, Project
from registry.promotions import approvals

MAX_APPROVALS = 20
MAX_CHECKS = 50


@dataclass(frozen=True)
class Rules:
    """The requirements of a release to an environment. Approvals and checks count where it is protected."""

    protected: bool
    required_approvals: int
    required_checks: Sequence[str]

    @classmethod
    def of(cls, environment: Environment) -> "Rules":
        return cls(environment.protected, environment.required_approvals, environment.required_checks)

    def as_dict(self) -> dict[str, object]:
        return {
            "protected": self.protected,
            "required_approvals": self.required_approvals,
            "required_checks": list(self.required_checks),
        }


def get_environment(project: Project, name: str) -> Environment:
    """Return the project's environment of that name, or `environment.not_found` with the existing names."""
    environment = Environment.objects.filter(project=project, name=name).first()
    if environment is None:
        names = list(Environment.objects.filter(project=project).values_list("name", flat=True))
        raise Problem("environment.not_found", f"There is no environment {quoted(name)}.", known=names)
    environment.project = project
    return environment


@transaction.atomic
def create(actor: Actor, *, name: str, rules: Rules) -> Environment:
    """Add an environment after the others."""
    actor.require(Right.ADMINISTER)
    if not is_environment_name(name):
        sentence = (
            "An environment's name starts with a letter: lower-case words joined by - or _, not latest or sha256."
        )
        raise Problem("environment.invalid_name", sentence)
    _refuse_odd_rules(rules)
    last = Environment.objects.filter(project=actor.project).aggregate(last=Max("position"))["last"] or 0
    try:
        with transaction.atomic():
            environment = Environment.objects.create(
                project=actor.project, name=name, position=last + 1, **_columns(rules)
            )
    except IntegrityError:
        raise Problem("environment.name_taken", f"There is an environment {quoted(name)} already.") from None
    audit.record(actor, "environment.created", environment, after=rules.as_dict())
    return environment


@transaction.atomic
def change_rules(actor: Actor, environment: Environment, rules: Rules) -> Environment:
    """Change an environment's rules. Approvals that were given under the old ones become void."""
    actor.require(Right.ADMINISTER)
    _refuse_odd_rules(rules)
    locked = lock(environment)
    before = Rules.of(locked)
    if before.as_dict() == rules.as_dict():
        return locked
    for column, value in _columns(rules).items():
        setattr(locked, column, value)
    # Counted, not compared: going back to the old rules does not restore old approvals.
    locked.rules_revision += 1
    locked.save(update_fields=[*_columns(rules), "rules_revision"])
    audit.record(actor, "environment.rules_changed", locked, before=before.as_dict(), after=rules.as_dict())
    approvals.reopen_unapproved(actor, locked, "the rules have changed")
    return locked


def set_measured(environment: Environment, names: Sequence[str]) -> None:
    """Say which required checks gates measure, so that nobody else records them. The caller holds the lock."""
    environment.measured_checks = sorted(set(names))
    environment.save(update_fields=["measured_checks"])


@transaction.atomic
def move(actor: Actor, environment: Environment, *, to: int) -> None:
    """Move an environment to a place in the order (1 is the first); beyond the last one it is the last.

    The order is for display alone; it releases nothing.
    """
    actor.require(Right.ADMINISTER)
    rows = list(Environment.objects.select_for_update(no_key=True).filter(project=actor.project).order_by("pk"))
    rows.sort(key=lambda row: row.position)
    names = [row.name for row in rows]
    old_index, new_index = names.index(environment.name), min(max(to, 1), len(rows)) - 1
    if old_index == new_index:
        return
    rows.insert(new_index, rows.pop(old_index))
    for position, row in enumerate(rows, start=1):
        if row.position != position:
            row.position = position
            row.save(update_fields=["position"])
    audit.record(
        actor, "environment.moved", environment, before={"order": names}, after={"order": [row.name for row in rows]}
    )


@transaction.atomic
def remove(actor: Actor, environment: Environment) -> None:
    """Remove an environment that nothing was ever released to or proposed for."""
    actor.require(Right.ADMINISTER)
    locked = lock(environment)
    if locked.releases.exists() or locked.promotions.exists():
        raise Problem("environment.in_use", f"{locked.name} has releases or promotions; its history is kept.")
    locked.delete()
    audit.record(actor, "environment.removed", environment)


def lock(environment: Environment) -> Environment:
    """Return the environment's row, locked until the transaction ends. Always taken before a prompt's lock."""
    locked = Environment.objects.select_for_update(no_key=True).filter(pk=environment.pk).first()
    if locked is None:
        raise Problem("environment.not_found", f"The environment {quoted(environment.name)} was removed.")
    return locked


def _columns(rules: Rules) -> dict[str, object]:
    return {**rules.as_dict(), "required_checks": sorted(set(rules.required_checks))}


def _refuse_odd_rules(rules: Rules) -> None:
    faults = []
    if not 1 <= rules.required_approvals <= MAX_APPROVALS:
        faults.append(Fault("/required_approvals", "range", f"Must be from 1 to {MAX_APPROVALS}."))
    if len(rules.required_checks) > MAX_CHECKS or any(not 1 <= len(name) <= 100 for name in rules.required_checks):
        faults.append(Fault("/required_checks", "name", f"Must be at most {MAX_CHECKS} names of 1 to 100 characters."))
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
