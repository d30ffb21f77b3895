"""Models that end, and what is on them: releases, inference configs, gates, tuned models and work under way, with the
successor that the maker names, and the settings of a sweep that tries it."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from django.db.models import BigIntegerField, Sum
from django.db.models.fields.json import KT
from django.db.models.functions import Cast
from django.utils import timezone

from core.errors import Problem
from evaluations.models import RUN_OPEN, Gate, Provider, ProviderModel, Run, RunState
from evaluations.providers import profiles
from finetunes.models import FineTune, TunedModel
from finetunes.strategy.links import Link
from inference.configs.record_reading import parse_record
from inference.models import InferenceConfig, UsageRollup
from registry.content.model_profiles.facts import get_profile
from registry.models import Project, PromptVersion, Release
from registry.prompts.resolution import with_live_environments

CALL_DAYS = 30
logger = logging.getLogger(__name__)
KINDS = {
    "live": "Live",
    "config": "Inference config",
    "gate": "Gate",
    "tuned": "Tuned model",
    "run": "Run under way",
    "fine-tune": "Fine-tune under way",
}


@dataclass(frozen=True)
class ModelUse:
    """One thing that asks a model: its kind (of KINDS), its title and page, the environment, and the calls of the last
    CALL_DAYS where services report them. `sweep` is the query of a new sweep that tries the successor."""

    kind: str
    title: str
    link: Link
    environment: str = ""
    calls: int = 0
    sweep: Mapping[str, Any] | None = None

    @property
    def kind_title(self) -> str:
        return KINDS[self.kind]


@dataclass
class Retirement:
    """A model's end, and its uses, the busiest first. `offers` are the successors that this project can ask, as
    provider/model; empty where nobody has added one."""

    model: str
    ends: date
    successor: str = ""
    offers: list[str] = field(default_factory=list)
    uses: list[ModelUse] = field(default_factory=list)

    @property
    def calls(self) -> int:
        return sum(use.calls for use in self.uses)

    def days_left(self, today: date | None = None) -> int:
        """Return the days until the end; negative once it is past."""
        return (self.ends - (today or timezone.now().date())).days


def retirements(project: Project) -> list[Retirement]:
    """Return the models in use that end, the soonest first, then by traffic. The number of queries does not depend on
    how many there are."""
    models = _Models(project)
    by_model: dict[str, Retirement] = {}
    for name, use, model in (*_live_uses(project, models), *_other_uses(project, models)):
        end = profiles.end_of(model) if model else models.end_of(name)
        if end is None:
            continue
        if name not in by_model:
            successor = models.successor_of(name, model)
            by_model[name] = Retirement(name, end, successor, models.offers_of(successor))
        by_model[name].ends = min(end, by_model[name].ends)
        by_model[name].uses.append(use)
    for retirement in by_model.values():
        retirement.uses.sort(key=lambda use: (-use.calls, list(KINDS).index(use.kind), use.title))
    return sorted(by_model.values(), key=lambda each: (each.ends, -each.calls, each.model))


class _Models:
    """The project's models by name: versions name a model without saying which provider it is asked through."""

    def __init__(self, project: Project) -> None:
        rows = ProviderModel.objects.filter(provider__project=project, provider__archived_at=None, archived_at=None)
        self._rows: dict[str, list[ProviderModel]] = defaultdict(list)
        self._providers = set(Provider.objects.filter(project=project).values_list("name", flat=True))
        for row in rows.select_related("provider").order_by("provider__is_simulation", "id"):
            self._rows[row.name].append(row)

    def end_of(self, name: str) -> date | None:
        rows = self._rows.get(name)
        if not rows:
            return get_profile(name).shutdown_date
        # A server of one's own that has a model of this name does not end with its maker's.
        return min((end for row in rows if (end := profiles.end_of(row))), default=None)

    def successor_of(self, name: str, model: ProviderModel | None) -> str:
        rows = [model] if model else self._rows.get(name, [])
        successors = [profiles.profile_of(row).successor for row in rows]
        return next(filter(None, successors), "") or get_profile(name).successor

    def offers_of(self, successor: str) -> list[str]:
        return [str(row) for row in self._rows.get(successor, ())] if successor else []

    def references(self, name: str) -> list[str]:
        """Return the models of this name that can still be asked."""
        today = timezone.now().date()
        rows = self._rows.get(name, ())
        return [str(row) for row in rows if (end := profiles.end_of(row)) is None or end > today]

    def plain_name(self, reference: str) -> str:
        """Return the model's name alone: without the provider, where a reference begins with one of the project's."""
        provider, _, name = reference.partition("/")
        return name if name and provider in self._providers else reference

    def row(self, reference: str) -> ProviderModel | None:
        _, _, name = reference.partition("/")
        return next((row for row in self._rows.get(name, ()) if str(row) == reference), None)


_Use = tuple[str, ModelUse, ProviderModel | None]


def _live_uses(project: Project, models: _Models) -> Iterator[_Use]:
    """Yield what is live: prompts, and configs, which are versions of a prompt of their own."""
    newest = Release.objects.filter(environment__project=project).order_by("environment_id", "prompt_id", "-number")
    live_keys = newest.distinct("environment_id", "prompt_id").values("version_id")
    live = with_live_environments(PromptVersion.objects.filter(pk__in=live_keys).select_related("prompt"))
    versions = list(live.order_by("prompt__name"))
    tasks = dict(InferenceConfig.objects.filter(project=project).values_list("holder_id", "task"))
    calls = _calls(versions)
    runs = _newest_runs(project, versions)
    for version in versions:
        for environment in version.live_in:  # type: ignore[attr-defined]  # annotated
            number = calls.get((version.pk, environment), 0)
            if version.prompt_id in tasks:
                task = tasks[version.prompt_id]
                link = Link("inference:config-detail", (task,))
                if reference := _config_model(version):
                    use = ModelUse("config", task, link, environment)
                    # A record names a model, or a provider's.
                    row = models.row(reference)
                    yield (row.name if row else models.plain_name(reference)), use, row
                continue
            name = str(version.content.get("model", {}).get("name", ""))
            if not name:
                continue
            link = Link("registry:version-detail", (version.prompt.name, version.number))
            sweep = _sweep(version, name, models, runs.get(version.prompt_id))
            yield name, ModelUse("live", str(version), link, environment, number, sweep), None


def _config_model(version: PromptVersion) -> str:
    """Return the model that a config's record names; empty where nobody could read the record."""
    try:
        return parse_record(str(version.content.get("text", ""))).model
    except Problem as problem:
        logger.info("retirements.unreadable_config version=%s %s", version, problem.code)
        return ""


def _calls(versions: Iterable[PromptVersion]) -> dict[tuple[int, str], int]:
    since = timezone.now() - timedelta(days=CALL_DAYS)
    rows = UsageRollup.objects.filter(version__in=[version.pk for version in versions], start__gte=since)
    counted = rows.values("version", "environment").annotate(calls=Sum(Cast(KT("usage__calls"), BigIntegerField())))
    return {(row["version"], row["environment"]): row["calls"] or 0 for row in counted.order_by()}


def _newest_runs(project: Project, versions: Iterable[PromptVersion]) -> dict[int, Run]:
    """Return each prompt's newest finished run: its dataset and scorers are the usual ones."""
    prompts = {version.prompt_id for version in versions}
    rows = Run.objects.filter(project=project, version__prompt__in=prompts, state=RunState.DONE)
    rows = rows.order_by("version__prompt_id", "-id").distinct("version__prompt_id")
    return {run.version.prompt_id: run for run in rows.select_related("version", "dataset_version__dataset")}


def _sweep(version: PromptVersion, name: str, models: _Models, run: Run | None) -> dict[str, Any] | None:
    """Return the query of a new sweep: the live version on its own model and on the successors, as its prompt is
    usually measured. None where it never was, or where there is no successor to ask."""
    offers = models.offers_of(models.successor_of(name, None))
    if run is None or not offers:
        return None
    query: dict[str, Any] = {
        "prompt": str(version),
        "dataset": run.dataset_version.dataset.name,
        "split": run.split,
        "models": [*models.references(name), *offers],
        "scorers": [spec["scorer"] for spec in run.scorers],
    }
    # A successor that reasons takes no temperature unless it is told not to.
    rows = [row for offer in offers if (row := models.row(offer))]
    if any(profiles.refusals_of(row, version.content) for row in rows) and not any(
        profiles.refusals_of(row, version.content, {"reasoning": {"effort": "none"}}) for row in rows
    ):
        query["effort"] = "none"
    return query


def _other_uses(project: Project, models: _Models) -> Iterator[_Use]:
    gates = Gate.objects.filter(environment__project=project, removed_at=None)
    for gate in gates.select_related("environment", "model__provider"):
        link = Link("evaluations:gate-list")
        for model in {gate.model, *_judges(gate.scorers, models)}:
            title = gate.name if model == gate.model else f"{gate.name}, as its judge"
            yield model.name, ModelUse("gate", title, link, gate.environment.name), model
    for tuned in TunedModel.objects.filter(project=project).select_related("base__provider", "job"):
        # A tuned model ends with its base.
        link = Link("finetunes:job-detail", (tuned.job_id,))
        yield tuned.base.name, ModelUse("tuned", tuned.remote_name, link), tuned.base
    for run in Run.objects.filter(project=project, state__in=RUN_OPEN).select_related("model__provider"):
        for model in {run.model, *_judges(run.scorers, models)}:
            title = f"run {run.pk}" if model == run.model else f"run {run.pk}, as its judge"
            yield model.name, ModelUse("run", title, Link("evaluations:run-detail", (run.pk,))), model
    jobs = FineTune.objects.filter(project=project, state__in=FineTune.OPEN_STATES)
    for job in jobs.select_related("model__provider"):
        link = Link("finetunes:job-detail", (job.pk,))
        yield job.model.name, ModelUse("fine-tune", f"fine-tune {job.pk}", link), job.model


def _judges(scorers: Iterable[Mapping[str, Any]], models: _Models) -> list[ProviderModel]:
    """Return the models that judge for scorers; what a rubric's own version names is among what is live."""
    references = [str(spec.get("parameters", {}).get("model") or "") for spec in scorers]
    return [row for reference in references if (row := models.row(reference))]
