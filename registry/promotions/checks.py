"""Checks: results that gates and CI record on a version's hash, like a commit status."""

from django.db import transaction

from core.errors import Fault, Problem
from core.references import quoted
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import CheckStatus, Environment, PromptVersion, VersionCheck

MAX_TEXT = 1_000


@transaction.atomic
def record(
    actor: Actor,
    version: PromptVersion,
    *,
    name: str,
    status: str,
    summary: str = "",
    url: str = "",
    measured_for: Environment | None = None,
) -> VersionCheck:
    """Record a result on a version's hash; the newest result of a name counts. A gate's result is for
    its prompt in the gate's environment (`measured_for`) alone, and nobody else records one of a gate's name
    (`check.measured`)."""
    actor.require(Right.RECORD_CHECKS)
    if (
        measured_for is None
        and Environment.objects.filter(project=actor.project, measured_checks__contains=[name]).exists()
    ):
        sentence = f"The gate {quoted(name)} measures this itself; a check from outside needs another name."
        raise Problem("check.measured", sentence, faults=[Fault("/name", "reserved", sentence)])
    faults = []
    if not 1 <= len(name) <= 100:
        faults.append(Fault("/name", "name", "Must have 1 to 100 characters."))
    if status not in CheckStatus.values:
        faults.append(Fault("/status", "choice", f"Must be one of: {', '.join(CheckStatus.values)}."))
    if url and not url.startswith(("https://", "http://")):
        faults.append(Fault("/url", "url", "Must start with https:// or http://."))
    for member, text in (("summary", summary), ("url", url)):
        if len(text) > MAX_TEXT:
            faults.append(Fault(f"/{member}", "too_long", f"Must have at most {MAX_TEXT:,} characters."))
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    check = VersionCheck.objects.create(
        project=actor.project,
        prompt=version.prompt if measured_for else None,
        environment=measured_for,
        content_hash=version.content_hash,
        name=name,
        status=status,
        summary=summary,
        url=url,
        recorded_by_name=actor.name,
    )
    audit.record(actor, "check.recorded", version, after={"name": name, "status": status, "summary": summary})
    return check
