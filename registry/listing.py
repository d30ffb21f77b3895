"""Querysets behind lists: everything that a row shows, in a number of queries that does not grow with the rows."""

from django.db.models import F, Prefetch, Q, QuerySet

from registry.models import Project, Prompt, PromptVersion, Release


def prompts(project: Project) -> QuerySet[Prompt]:
    """Prompts with `newest_versions` (none or one) and `live_releases` (one per environment, in order)."""
    newest = PromptVersion.objects.defer("content").order_by("prompt_id", "-number").distinct("prompt_id")
    return Prompt.objects.filter(project=project).prefetch_related(
        Prefetch("versions", newest, to_attr="newest_versions"),
        Prefetch("releases", newest_releases(), to_attr="live_releases"),
    )


def newest_releases() -> QuerySet[Release]:
    """What is live: the newest release of each prompt in each environment, in the environments' order."""
    newest = Release.objects.order_by("prompt_id", "environment__position", "environment_id", "-number")
    chosen = newest.distinct("prompt_id", "environment__position", "environment_id")
    return chosen.select_related("environment", "version").defer("version__content")


def found(prompts: QuerySet[Prompt], text: str) -> QuerySet[Prompt]:
    """Prompts with `text` in their name or description, or as a tag."""
    return prompts.filter(Q(name__icontains=text) | Q(description__icontains=text) | Q(tags__contains=[text]))


def live_in(prompts: QuerySet[Prompt], environment: str) -> QuerySet[Prompt]:
    """Prompts of which something is live in the environment."""
    return prompts.filter(
        pk__in=Release.objects.filter(environment__name=environment, environment__project=F("prompt__project")).values(
            "prompt_id"
        )
    )
