"""SLAs of a project: what its prompts have to keep to, by gates, comparisons and recommendations."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.db import transaction

from core.errors import Fault, Problem
from evaluations.models import SLA
from evaluations.statistics.slas import CONCURRENCY, MAX_CONCURRENCY, NAMES, PROPORTIONS
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import Project

MAX_TARGET = 1_000_000


def get_slas(project: Project) -> SLA:
    """Return what a project's prompts have to keep to; targets that nobody has set are None."""
    return SLA.objects.filter(project=project).first() or SLA(project=project)


@transaction.atomic
def set_slas(actor: Actor, targets: Mapping[str, Any]) -> SLA:
    """Set what prompts have to keep to; a member that is None asks for nothing."""
    actor.require(Right.ADMINISTER)
    checked = read_slas(targets)
    before = slas_as_dict(get_slas(actor.project))
    slas, _ = SLA.objects.update_or_create(project=actor.project, defaults=checked)
    audit.record(actor, "slas.set", slas, before=before, after=slas_as_dict(slas))
    return slas


def read_slas(targets: Mapping[str, Any], pointer: str = "") -> dict[str, Any]:
    """Check targets as they are written, each of them a number or None; `request.invalid` names those that are not."""
    unknown = targets.keys() - {*NAMES, CONCURRENCY}
    faults = [Fault(f"{pointer}/{name}", "unknown", "There is no such SLA.") for name in unknown]
    concurrency = targets.get(CONCURRENCY)
    if concurrency is not None and not (_is_number(concurrency) and concurrency in range(1, MAX_CONCURRENCY + 1)):
        sentence = f"Must be a whole number from 1 to {MAX_CONCURRENCY}."
        faults.append(Fault(f"{pointer}/{CONCURRENCY}", "range", sentence))
    for name in NAMES:
        highest = 1 if name in PROPORTIONS else MAX_TARGET
        if (target := targets.get(name)) is not None and not (_is_number(target) and 0 < target <= highest):
            sentence = "Must be from 0 to 1." if name in PROPORTIONS else "Must be above 0."
            faults.append(Fault(f"{pointer}/{name}", "range", sentence))
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    return {
        **{name: targets.get(name) for name in NAMES},
        CONCURRENCY: None if concurrency is None else int(concurrency),
    }


def slas_as_dict(slas: SLA) -> dict[str, float | None]:
    """Return targets by name, and with how many calls in flight a latency counts."""
    names = (*NAMES, CONCURRENCY)
    return {name: None if (target := getattr(slas, name)) is None else float(target) for name in names}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
