"""What is served of a prompt where an experiment runs; the app that runs experiments says it (settings).

An experiment serves versions beside what is live. Whoever names no subject gets what is live.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from core.assignment import Split
from registry.delivery import request_scope
from registry.models import Environment, Project, Prompt, PromptVersion
from registry.prompts import resolution

# A split, and the keys of the rows of its arms' versions by name.
VersionsOfArms = tuple[Split, dict[str, int]]


@dataclass(frozen=True)
class Served:
    """The version of the arm that a subject is in."""

    version: PromptVersion
    split: Split
    arm: str

    @property
    def run(self) -> int:
        return self.split.run

    @property
    def step(self) -> int:
        return self.split.step

    @property
    def exposure(self) -> dict[str, Any]:
        return self.split.exposure(self.arm)


def serve(project: Project, live: PromptVersion, environment: str, subject: str) -> Served | None:
    """Return what a subject is served in an environment; None where that is what is live, and no part of an
    experiment. An empty subject is nobody."""
    find: Callable[[Project, Prompt, str], VersionsOfArms | None] = import_string(settings.EXPERIMENT_SPLIT)
    split_of_prompt = find(project, live.prompt, environment)
    if split_of_prompt is None:
        return None
    split, versions = split_of_prompt
    # An experiment is set against what was live when it began.
    arm = split.arm_of(subject) if subject and versions[split.baseline] == live.pk else None
    request_scope.set_split(split, arm or "")
    if arm is None:
        return None
    return Served(live if versions[arm] == live.pk else _version(versions[arm]), split, arm)


def experiments_in(environment: Environment) -> tuple[dict[str, dict[str, Any]], list[PromptVersion]]:
    """Return what experiments serve in an environment, by the prompt's name as snapshots have it, and the versions of
    all their arms."""
    find: Callable[[Environment], dict[str, VersionsOfArms]] = import_string(settings.EXPERIMENT_SPLITS)
    splits = find(environment)
    keys = {key for _, versions in splits.values() for key in versions.values()}
    rows = {row.pk: row for row in resolution.with_live_environments(PromptVersion.objects.filter(pk__in=keys))}
    documents = {}
    for name, (split, versions) in sorted(splits.items()):
        documents[name] = split.as_dict({arm: rows[key].content_hash for arm, key in versions.items()})
    return documents, list(rows.values())


def _version(key: int) -> PromptVersion:
    return resolution.with_live_environments(PromptVersion.objects.filter(pk=key)).get()
