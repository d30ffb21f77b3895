"""Prompts: the names that versions belong to."""

from collections.abc import Sequence

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from core.errors import Fault, Problem
from core.references import MAX_PROMPT_NAME, RESERVED_PROMPT_NAMES, is_prompt_name, quoted
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import UNDECIDED, Inclusion, Project, Prompt, PromptVersion, Release

MAX_TAGS = 30
MAX_DESCRIPTION = 20_000


def get_prompt(project: Project, name: str) -> Prompt:
    """Return the project's prompt of that name, or `prompt.not_found`."""
    prompt = Prompt.objects.filter(project=project, name=name).first()
    if prompt is None:
        raise Problem("prompt.not_found", f"There is no prompt {quoted(name)} in {project.slug}.")
    prompt.project = project
    return prompt


def lock(prompt: Prompt) -> Prompt:
    """Return the prompt's row, locked until the transaction ends: commits, releases and archiving are serialised."""
    return Prompt.objects.select_for_update(no_key=True).get(pk=prompt.pk)


@transaction.atomic
def create(actor: Actor, *, name: str, description: str = "", tags: Sequence[str] = ()) -> Prompt:
    """Create a prompt without versions."""
    actor.require(Right.EDIT)
    if name in RESERVED_PROMPT_NAMES:
        raise Problem(
            "prompt.invalid_name", f"The name {quoted(name)} is reserved: the API has an address of that name."
        )
    if not is_prompt_name(name):
        rule = f"lower-case letters and digits in words joined by . - or _, at most {MAX_PROMPT_NAME} characters"
        raise Problem("prompt.invalid_name", f"A prompt's name is {rule}; {quoted(name)} is not.")
    labels = _checked_tags(description, tags)
    try:
        with transaction.atomic():
            prompt = Prompt.objects.create(
                project=actor.project,
                name=name,
                description=description,
                tags=labels,
                created_by_name=actor.name,
            )
    except IntegrityError:
        raise Problem("prompt.name_taken", f"There is a prompt {quoted(name)} already.") from None
    audit.record(actor, "prompt.created", prompt, after={"description": description, "tags": labels})
    return prompt


@transaction.atomic
def describe(
    actor: Actor, prompt: Prompt, *, description: str | None = None, tags: Sequence[str] | None = None
) -> Prompt:
    """Change a prompt's description or tags; None leaves one as it is."""
    actor.require(Right.EDIT)
    locked = lock(prompt)
    before = {"description": locked.description, "tags": locked.tags}
    locked.description = locked.description if description is None else description
    locked.tags = _checked_tags(locked.description, locked.tags if tags is None else tags)
    after = {"description": locked.description, "tags": locked.tags}
    if after != before:
        locked.save(update_fields=["description", "tags"])
        audit.record(actor, "prompt.described", locked, before=before, after=after)
    return locked


@transaction.atomic
def archive(actor: Actor, prompt: Prompt) -> Prompt:
    """Take a prompt out of use; nothing is deleted. `prompt.in_use` where it is live, proposed or included."""
    actor.require(Right.EDIT)
    locked = lock(prompt)
    if locked.archived_at:
        return locked
    _refuse_used(locked)
    locked.archived_at = timezone.now()
    locked.save(update_fields=["archived_at"])
    audit.record(actor, "prompt.archived", locked)
    return locked


@transaction.atomic
def restore(actor: Actor, prompt: Prompt) -> Prompt:
    """Restore an archived prompt."""
    actor.require(Right.EDIT)
    locked = lock(prompt)
    if locked.archived_at:
        locked.archived_at = None
        locked.save(update_fields=["archived_at"])
        audit.record(actor, "prompt.restored", locked)
    return locked


def prompts_including(prompt: Prompt) -> list[str]:
    """Return the names of prompts in use whose newest or live version includes this one."""
    newer = PromptVersion.objects.filter(prompt=OuterRef("version__prompt"), number__gt=OuterRef("version__number"))
    later = Release.objects.filter(
        environment=OuterRef("environment"), prompt=OuterRef("prompt"), number__gt=OuterRef("number")
    )
    live = Release.objects.filter(~Exists(later), version=OuterRef("version"))
    uses = Inclusion.objects.filter(included__prompt=prompt, version__prompt__archived_at=None)
    in_use = uses.filter(~Exists(newer)) | uses.filter(Exists(live))
    return sorted(set(in_use.values_list("version__prompt__name", flat=True)))


def _refuse_used(prompt: Prompt) -> None:
    live = list(
        Release.objects.filter(prompt=prompt)
        .order_by("environment__name")
        .values_list("environment__name", flat=True)
        .distinct()
    )
    if live:
        raise Problem("prompt.in_use", f"{prompt.name} is live in {', '.join(live)}.", environments=live)
    if prompt.promotions.filter(status__in=UNDECIDED).exists():
        raise Problem("prompt.in_use", f"{prompt.name} has an undecided promotion; withdraw it first.")
    included_by = prompts_including(prompt)
    if included_by:
        raise Problem(
            "prompt.in_use",
            f"{prompt.name} is included by {', '.join(included_by)}.",
            included_by=included_by,
        )


def _checked_tags(description: str, tags: Sequence[str]) -> list[str]:
    """Return sorted unique tags; `request.invalid` where something is too long."""
    faults = []
    if len(description) > MAX_DESCRIPTION:
        faults.append(Fault("/description", "too_long", f"Must have at most {MAX_DESCRIPTION:,} characters."))
    if len(tags) > MAX_TAGS or any(not 1 <= len(tag.strip()) <= 50 for tag in tags):
        faults.append(Fault("/tags", "tags", f"Must be at most {MAX_TAGS} tags of 1 to 50 characters."))
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    return sorted({tag.strip() for tag in tags})
