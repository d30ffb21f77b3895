"""Resolution of references to versions: the most frequent read of services, in one query."""

from collections.abc import Iterable, Sequence

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, Q, QuerySet, Subquery

from core.errors import Problem
from core.references import Environment as EnvironmentSelector
from core.references import HashPrefix, Latest, Number, Reference, Selector, parse_reference, quoted
from registry.models import Environment, Project, Prompt, PromptVersion, Release


def with_live_environments(versions: QuerySet[PromptVersion]) -> QuerySet[PromptVersion]:
    """Return versions with their prompt, and `live_in`: the names of the environments they are live in, in order."""
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
    """Return the version that a reference selects now.

    Raises `prompt.not_found`, `prompt.unknown_selector`, `prompt.no_versions` or `version.ambiguous_hash`.
    """
    versions = list(_select_versions(project, reference.name, reference.selector)[:2])
    if len(versions) == 1:
        return versions[0]
    raise _resolution_problem(project, reference, versions)


def pinned(project: Project, text: str) -> str:
    """Return a reference pinned to the content hash of what it selects now; raises what `resolve` raises, and
    `reference.invalid`."""
    reference = parse_reference(text)
    return f"{reference.name}@{resolve(project, reference).content_hash}"


def resolve_hash(project: Project, prefix: HashPrefix) -> PromptVersion:
    """Return the version with this content, of the prompt that has had it longest."""
    versions = with_live_environments(
        PromptVersion.objects.filter(prompt__project=project, content_hash__startswith=prefix.value)
    )
    first = versions.order_by("id").first()
    if first is None:
        raise Problem("version.not_found", f"No version in {project.slug} has a hash that starts with {prefix.value}.")
    if not prefix.is_whole and versions.exclude(content_hash=first.content_hash).exists():
        raise _ambiguous_problem(prefix)
    return first


def resolve_many(project: Project, references: Sequence[Reference]) -> list[PromptVersion | Problem]:
    """Return for each reference its version or the problem, in a fixed number of queries."""
    condition = Q(pk__in=[])
    for reference in set(references):
        condition |= _condition(project, reference.name, reference.selector)
    versions = with_live_environments(_with_position(project).filter(condition))
    by_name: dict[str, list[PromptVersion]] = {}
    for version in versions:
        by_name.setdefault(version.prompt.name, []).append(version)
    known_names = set(
        Prompt.objects.filter(project=project, name__in={r.name for r in references}).values_list("name", flat=True)
    )
    return [_select_from(reference, by_name.get(reference.name, []), known_names) for reference in references]


def live_versions(project: Project, environment: Environment) -> QuerySet[PromptVersion]:
    """Return everything that is live in an environment, by prompt name."""
    newest = Release.objects.filter(environment=environment).order_by("prompt_id", "-number").distinct("prompt_id")
    live = PromptVersion.objects.filter(pk__in=newest.values("version_id"), prompt__project=project)
    return with_live_environments(live).order_by("prompt__name")


def _with_position(project: Project) -> QuerySet[PromptVersion]:
    """Versions annotated with what `_pick` compares: the newest number of their prompt."""
    newest = PromptVersion.objects.filter(prompt=OuterRef("prompt_id")).order_by("-number")
    return PromptVersion.objects.filter(prompt__project=project).annotate(newest=Subquery(newest.values("number")[:1]))


def _select_versions(project: Project, name: str, selector: Selector) -> QuerySet[PromptVersion]:
    return with_live_environments(PromptVersion.objects.filter(_condition(project, name, selector)))


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


def _select_from(
    reference: Reference, versions: Iterable[PromptVersion], known_names: set[str]
) -> PromptVersion | Problem:
    """Return the one of a prompt's fetched versions that the reference selects."""
    match reference.selector:
        case Number(value):
            selected = [version for version in versions if version.number == value]
        case HashPrefix(value):
            selected = [version for version in versions if version.content_hash.startswith(value)]
        case Latest():
            selected = [version for version in versions if version.number == version.newest]  # type: ignore[attr-defined]  # annotated above
        case EnvironmentSelector(name):
            selected = [version for version in versions if name in version.live_in]  # type: ignore[attr-defined]  # annotated above
    if len(selected) == 1:
        return selected[0]
    if len(selected) > 1 and isinstance(reference.selector, HashPrefix):
        return _ambiguous_problem(reference.selector)
    return _not_found_problem(reference, exists=reference.name in known_names)


def _resolution_problem(project: Project, reference: Reference, versions: list[PromptVersion]) -> Problem:
    if versions and isinstance(reference.selector, HashPrefix):
        return _ambiguous_problem(reference.selector)
    exists = Prompt.objects.filter(project=project, name=reference.name).exists()
    problem = _not_found_problem(reference, exists=exists)
    if problem.code == "prompt.unknown_selector":
        problem.members["environments"] = list(
            Environment.objects.filter(project=project).values_list("name", flat=True)
        )
    return problem


def _not_found_problem(reference: Reference, *, exists: bool) -> Problem:
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


def _ambiguous_problem(prefix: HashPrefix) -> Problem:
    return Problem("version.ambiguous_hash", f"{prefix.value} fits several versions; give more digits.")
