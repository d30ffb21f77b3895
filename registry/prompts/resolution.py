"""From a reference to a version: the read that services do most, in one query."""

from collections.abc import Iterable, Sequence

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, Q, QuerySet, Subquery

from core.errors import Problem
from core.references import Environment as EnvironmentSelector
from core.references import HashPrefix, Latest, Number, Reference, Selector, quoted
from registry.models import Environment, Project, Prompt, PromptVersion, Release


def deliverable(versions: QuerySet[PromptVersion]) -> QuerySet[PromptVersion]:
    """The versions with their prompt, and `live_in`: names of the environments they are live in, in order."""
    newest = Release.objects.filter(environment=OuterRef("pk"), prompt=OuterRef(OuterRef("prompt_id"))).order_by(
        "-number"
    )
    environments = (
        Environment.objects.filter(project=OuterRef("prompt__project_id"))
        .alias(live_version=Subquery(newest.values("version_id")[:1]))
        .filter(live_version=OuterRef("pk"))
        .order_by("position")
    )
    # The text that lists search in is no part of a delivery.
    whole = versions.select_related("prompt", "parent", "example_set__example_set").defer(
        "prompt__head_text", "parent__content"
    )
    return whole.annotate(live_in=ArraySubquery(environments.values("name")))


def resolve(project: Project, reference: Reference) -> PromptVersion:
    """The version that a reference selects now.

    Raises `prompt.not_found`, `prompt.unknown_selector`, `prompt.no_versions` or `version.ambiguous_hash`.
    """
    found = list(_selected(project, reference.name, reference.selector)[:2])
    if len(found) == 1:
        return found[0]
    raise _why_not_one(project, reference, found)


def resolve_hash(project: Project, prefix: HashPrefix) -> PromptVersion:
    """The version with this content, under whichever prompt has had it longest."""
    versions = deliverable(PromptVersion.objects.filter(prompt__project=project, content_hash__startswith=prefix.value))
    first = versions.order_by("id").first()
    if first is None:
        raise Problem("version.not_found", f"No version in {project.slug} has a hash that starts with {prefix.value}.")
    if not prefix.is_whole and versions.exclude(content_hash=first.content_hash).exists():
        raise _ambiguous(prefix)
    return first


def resolve_many(project: Project, references: Sequence[Reference]) -> list[PromptVersion | Problem]:
    """For each reference its version or why there is none, in a number of queries that does not grow."""
    wanted = Q(pk__in=[])
    for reference in set(references):
        wanted |= _condition(project, reference.name, reference.selector)
    versions = deliverable(_with_position(project).filter(wanted))
    by_name: dict[str, list[PromptVersion]] = {}
    for version in versions:
        by_name.setdefault(version.prompt.name, []).append(version)
    known = set(
        Prompt.objects.filter(project=project, name__in={r.name for r in references}).values_list("name", flat=True)
    )
    return [_pick(reference, by_name.get(reference.name, []), known) for reference in references]


def live_versions(project: Project, environment: Environment) -> QuerySet[PromptVersion]:
    """Everything that is live in an environment, by prompt name."""
    newest = Release.objects.filter(environment=environment).order_by("prompt_id", "-number").distinct("prompt_id")
    live = PromptVersion.objects.filter(pk__in=newest.values("version_id"), prompt__project=project)
    return deliverable(live).order_by("prompt__name")


def _with_position(project: Project) -> QuerySet[PromptVersion]:
    """Versions annotated with what `_pick` compares: the newest number of their prompt."""
    newest = PromptVersion.objects.filter(prompt=OuterRef("prompt_id")).order_by("-number")
    return PromptVersion.objects.filter(prompt__project=project).annotate(newest=Subquery(newest.values("number")[:1]))


def _selected(project: Project, name: str, selector: Selector) -> QuerySet[PromptVersion]:
    return deliverable(PromptVersion.objects.filter(_condition(project, name, selector)))


def _condition(project: Project, name: str, selector: Selector) -> Q:
    of_prompt = Q(prompt__project=project, prompt__name=name)
    match selector:
        case Number(value):
            return of_prompt & Q(number=value)
        case HashPrefix(value) if selector.is_whole:
            return of_prompt & Q(content_hash=value)
        case HashPrefix(value):
            return of_prompt & Q(content_hash__startswith=value)
        case Latest():
            versions = PromptVersion.objects.filter(prompt__project=project, prompt__name=name).order_by("-number")
            return Q(pk=Subquery(versions.values("pk")[:1]))
        case EnvironmentSelector(environment):
            releases = Release.objects.filter(
                environment__project=project,
                environment__name=environment,
                prompt__project=project,
                prompt__name=name,
            ).order_by("-number")
            return Q(pk=Subquery(releases.values("version_id")[:1]))


def _pick(reference: Reference, versions: Iterable[PromptVersion], known: set[str]) -> PromptVersion | Problem:
    """The one version of a prompt's fetched ones that the reference selects."""
    match reference.selector:
        case Number(value):
            chosen = [version for version in versions if version.number == value]
        case HashPrefix(value):
            chosen = [version for version in versions if version.content_hash.startswith(value)]
        case Latest():
            chosen = [version for version in versions if version.number == version.newest]  # type: ignore[attr-defined]  # annotated above
        case EnvironmentSelector(name):
            chosen = [version for version in versions if name in version.live_in]  # type: ignore[attr-defined]  # annotated above
    if len(chosen) == 1:
        return chosen[0]
    if len(chosen) > 1 and isinstance(reference.selector, HashPrefix):
        return _ambiguous(reference.selector)
    return _missing(reference, exists=reference.name in known)


def _why_not_one(project: Project, reference: Reference, found: list[PromptVersion]) -> Problem:
    if found and isinstance(reference.selector, HashPrefix):
        return _ambiguous(reference.selector)
    exists = Prompt.objects.filter(project=project, name=reference.name).exists()
    problem = _missing(reference, exists=exists)
    if problem.code == "prompt.unknown_selector":
        problem.members["environments"] = list(
            Environment.objects.filter(project=project).values_list("name", flat=True)
        )
    return problem


def _missing(reference: Reference, *, exists: bool) -> Problem:
    name = reference.name
    if not exists:
        return Problem("prompt.not_found", f"There is no prompt {quoted(name)}.")
    match reference.selector:
        case Latest():
            return Problem("prompt.no_versions", f"{name} has no version yet.")
        case Number(value):
            return Problem("prompt.unknown_selector", f"{name} has no version {value}.")
        case HashPrefix(value):
            return Problem("prompt.unknown_selector", f"{name} has no version with the hash {value}.")
        case EnvironmentSelector(environment):
            return Problem(
                "prompt.unknown_selector",
                f"Nothing of {name} is live in an environment {quoted(environment)}.",
            )


def _ambiguous(prefix: HashPrefix) -> Problem:
    return Problem("version.ambiguous_hash", f"{prefix.value} fits several versions; give more digits.")
