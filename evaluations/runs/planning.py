"""Plans of runs: the cases, the model, the repetitions, and the estimated cost."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Avg, Count, QuerySet
from django.utils import timezone

from core.errors import Fault, Problem
from core.json_values import normalise_json
from core.model_settings import LIMITS, laid_over, read_settings
from core.references import HashPrefix, Reference, parse_reference
from core.rendering import analyse_content
from evaluations.data_quality import reports
from evaluations.datasets import lifecycle as datasets
from evaluations.models import Case, DatasetVersion, ProviderModel, Result, Run, Split
from evaluations.providers import configuration as providers
from evaluations.providers.prices import Price, TokenUsage
from evaluations.scorers import judge
from evaluations.scorers import specs as scoring
from evaluations.scorers.base import Sample
from evaluations.scorers.specs import Spec
from evaluations.statistics.slas import MAX_CONCURRENCY
from registry.content import tokens
from registry.content.normalize import normalise
from registry.models import Project, PromptVersion
from registry.prompts import resolution, versions

MAX_ANSWERS = 200_000
MAX_REPETITIONS = 20
MAX_BUDGET = Decimal(100_000)
SAMPLE_SIZE = 100
MIN_MEASURED_ANSWERS = 10
# Used where the length of answers is unknown.
DEFAULT_ANSWER_TOKENS = 200
MAX_PARAMETERS = 20
# Model settings that a run may set in place of the version's own.
PARAMETERS = frozenset(
    {
        *("temperature", "top_p", "top_k", *LIMITS, "seed", "stop", "presence_penalty", "frequency_penalty"),
        *("reasoning", "reasoning_effort", "service_tier", "verbosity", "prompt_cache"),
    }
)


@dataclass(frozen=True)
class RunSettings:
    """Settings of a run before it is planned."""

    version: PromptVersion
    dataset_version: DatasetVersion
    scorers: object
    model: ProviderModel
    split: str = Split.TEST
    parameters: Mapping[str, Any] | None = None
    repetitions: int = 1
    leaked: str = "mark"
    limit: int | None = None
    budget_usd: object = None
    # True to ask anew where an answer to the same request is known: another model may stand behind its name.
    fresh: bool = False
    # The most calls in flight; as many as the provider takes where it is None.
    concurrency: int | None = None
    # True to retrieve nothing, though the version searches a collection: what searching is worth is the difference.
    without_retrieval: bool = False
    # The moment whose documents are searched; now where it is None.
    as_of: datetime | None = None
    # These cases and no others, whatever their split.
    cases: Sequence[int] | None = None

    @property
    def searches(self) -> bool:
        """Return whether a collection is searched for each case."""
        return "retrieval" in self.version.content and not self.without_retrieval


def settings_of(run: Run) -> RunSettings:
    """Return what a run measured as the settings of another; of its cases, its budget and how it asked (`fresh`,
    `concurrency`) nothing."""
    return RunSettings(
        version=run.version,
        dataset_version=run.dataset_version,
        scorers=run.scorers,
        model=run.model,
        split=run.split,
        parameters=run.parameters,
        repetitions=run.repetitions,
        leaked=run.leaked,
        without_retrieval=run.is_without_retrieval,
        as_of=run.as_of,
    )


DEFAULTS: Mapping[str, Any] = {
    **{"split": Split.TEST, "parameters": None, "repetitions": 1, "leaked": "mark", "limit": None, "budget_usd": None},
    **{"fresh": False, "concurrency": None, "without_retrieval": False, "as_of": None},
}


def settings_from_document(project: Project, document: Mapping[str, Any]) -> RunSettings:
    """Read settings as users write them: `prompt` (support.route@production), `dataset` (support.tickets or a version
    of it, support.tickets@3), `model` (openai/gpt-6-luna) and the other members of RunSettings."""
    version = resolution.resolve(project, parse_reference(str(document["prompt"])))
    name, _, selector = str(document["dataset"]).partition("@")
    return RunSettings(
        version=version,
        dataset_version=datasets.get_version(project, name, selector or "latest"),
        scorers=document["scorers"],
        model=providers.get_model(project, str(document["model"])),
        **{member: document.get(member, default) for member, default in DEFAULTS.items()},
    )


@dataclass(frozen=True)
class RunPlan:
    """A planned run: its cases, its checked settings and its estimate."""

    cases: Sequence[int]
    cases_hash: str
    excluded: int
    specs: Sequence[Spec]
    parameters: Mapping[str, Any]
    price: Price | None
    tokens_in: int
    tokens_out: int
    cost_usd: Decimal | None
    budget_usd: Decimal | None

    def estimate(self) -> dict[str, Any]:
        cost = None if self.cost_usd is None else str(round(self.cost_usd, 6))
        return {"tokens_in": self.tokens_in, "tokens_out": self.tokens_out, "cost_usd": cost}


def plan_run(project: Project, settings: RunSettings) -> RunPlan:
    """Choose the cases and estimate; refuse settings that cannot be run, with the reason."""
    faults: list[Fault] = []
    if settings.split and settings.split not in Split.values:
        faults.append(Fault("/split", "choice", f"Must be one of: {', '.join(Split.values)}, or empty for all."))
    if not isinstance(settings.repetitions, int) or not 1 <= settings.repetitions <= MAX_REPETITIONS:
        faults.append(Fault("/repetitions", "range", f"Must be a whole number from 1 to {MAX_REPETITIONS}."))
    if settings.leaked not in ("mark", "exclude"):
        faults.append(Fault("/leaked", "choice", "Must be mark or exclude."))
    if settings.limit is not None and not 1 <= settings.limit <= MAX_ANSWERS:
        faults.append(Fault("/limit", "range", f"Must be from 1 to {MAX_ANSWERS:,}."))
    if settings.concurrency is not None and settings.concurrency not in range(1, MAX_CONCURRENCY + 1):
        faults.append(Fault("/concurrency", "range", f"Must be a whole number from 1 to {MAX_CONCURRENCY}."))
    faults += _retrieval_faults(settings)
    parameters = read_parameters(settings.parameters or {}, faults)
    budget = read_budget(settings.budget_usd, faults)
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    providers.require_usable(settings.model, settings.version.content, parameters)
    specs = pin_scorers(project, scoring.read_specs(settings.scorers), settings.model)
    if settings.without_retrieval:
        _require_scorers_of_answers(project, specs)
    leaked = reports.leaked_cases(settings.dataset_version) if settings.leaked == "exclude" else set()
    cases = _cases(settings)
    keys = [key for key in cases.values_list("pk", flat=True)[: MAX_ANSWERS + len(leaked) + 1] if key not in leaked]
    excluded = cases.filter(pk__in=leaked).count() if leaked else 0
    keys = keys[: settings.limit] if settings.limit else keys
    if not keys:
        raise Problem("run.no_cases", f"{settings.dataset_version} has no case in this split.")
    if len(keys) * settings.repetitions > MAX_ANSWERS:
        raise Problem("run.too_large", f"A run has at most {MAX_ANSWERS:,} answers.")
    price = providers.price_of(settings.model)
    if budget is not None and price is None:
        sentence = f"{settings.model} has no price, so a budget cannot be kept. Enter its price first."
        raise Problem("run.no_price", sentence, faults=[Fault("/budget_usd", "price", sentence)])
    if budget is not None:
        _require_judges_prices(project, specs)
    tokens_in, tokens_out = _expected_tokens(settings, parameters, keys)
    count = len(keys) * settings.repetitions
    return RunPlan(
        cases=keys,
        cases_hash=hash_cases(keys),
        excluded=excluded,
        specs=specs,
        parameters=parameters,
        price=price,
        tokens_in=tokens_in * count,
        tokens_out=tokens_out * count,
        cost_usd=price.of(TokenUsage(tokens_in * count, tokens_out=tokens_out * count)) if price else None,
        budget_usd=budget,
    )


def _retrieval_faults(settings: RunSettings) -> list[Fault]:
    has_retrieval = "retrieval" in settings.version.content
    if settings.without_retrieval and not has_retrieval:
        return [Fault("/without_retrieval", "retrieval", f"{settings.version} searches no collection.")]
    if settings.as_of is None:
        return []
    if not settings.searches:
        return [Fault("/as_of", "retrieval", "No collection is searched: there is no moment to search at.")]
    if settings.as_of > timezone.now():
        return [Fault("/as_of", "range", "Must not be in the future.")]
    return []


def judges_retrieval(project: Project, spec: Spec) -> bool:
    """Return whether a pinned scorer judges by what was retrieved: without that it says nothing."""
    if not spec.definition.asks_model:
        return spec.definition.needs_retrieval
    return judge.DOCUMENTS in analyse_content(get_rubric(project, str(spec.parameters["prompt"])).content).variables


def _require_scorers_of_answers(project: Project, specs: Sequence[Spec]) -> None:
    for place, spec in enumerate(specs):
        if judges_retrieval(project, spec):
            sentence = f"{spec.name} judges by what was retrieved, and this run retrieves nothing."
            raise Problem("scorers.invalid", sentence, faults=[Fault(f"/scorers/{place}", "retrieval", sentence)])


def _require_judges_prices(project: Project, specs: Sequence[Spec]) -> None:
    """Require prices of the judges: they spend of a run's budget as well."""
    for place, spec in enumerate(specs):
        if not spec.definition.asks_model:
            continue
        judging = providers.get_model(project, str(spec.parameters["model"]))
        if providers.price_of(judging) is None:
            sentence = f"The judge {judging} has no price, so a budget cannot be kept. Enter its price first."
            pointer = f"/scorers/{place}/parameters/model"
            raise Problem("run.no_price", sentence, faults=[Fault(pointer, "price", sentence)])


def plan_rescoring(project: Project, settings: RunSettings, keys: Sequence[int]) -> RunPlan:
    """Plan the re-scoring of existing answers to these cases; only judges are called."""
    specs = pin_scorers(project, scoring.read_specs(settings.scorers), settings.model)
    price = providers.price_of(settings.model)
    return RunPlan(keys, hash_cases(keys), 0, specs, settings.parameters or {}, price, 0, 0, Decimal(0), None)


def hash_cases(keys: Sequence[int]) -> str:
    """Hash a choice of cases, whatever their order."""
    return f"sha256:{hashlib.sha256(','.join(map(str, sorted(keys))).encode()).hexdigest()}"


def pin_scorers(project: Project, specs: Sequence[Spec], model: ProviderModel) -> list[Spec]:
    """Pin the references of scorers: a judge's rubric to its hash, its model to its name."""
    pinned_specs = []
    for place, spec in enumerate(specs):
        if not spec.definition.asks_model:
            pinned_specs.append(spec)
            continue
        pointer = f"/scorers/{place}/parameters"
        reference = parse_reference(str(spec.parameters["prompt"]))
        rubric = resolution.resolve(project, reference)
        if "examples" in rubric.content:
            sentence = "A rubric must not pick examples from a set: it is rendered for every case."
            raise Problem("scorers.invalid", sentence, faults=[Fault(f"{pointer}/prompt", "examples", sentence)])
        _require_renderable(rubric, f"{pointer}/prompt")
        judge_model = str(spec.parameters.get("model") or "") or _own_model(rubric, model)
        judging = providers.get_model(project, judge_model)
        providers.require_usable(judging, rubric.content)
        parameters = {
            **spec.parameters,
            "prompt": f"{reference.name}@{rubric.content_hash}",
            "model": f"{judging.provider.name}/{judging.name}",
        }
        pinned_specs.append(Spec(spec.scorer, spec.name, parameters, spec.weight, spec.threshold, spec.negate))
    return pinned_specs


def require_usable_judges(project: Project, specs: Sequence[Spec]) -> None:
    """Raise the Problem with the first pinned judge that can no longer be asked."""
    for spec in specs:
        if spec.definition.asks_model:
            rubric = get_rubric(project, str(spec.parameters["prompt"]))
            providers.require_usable(providers.get_model(project, str(spec.parameters["model"])), rubric.content)


def _require_renderable(rubric: PromptVersion, pointer: str) -> None:
    """Refuse a rubric with variables that a judge does not have, before anything is paid for."""
    try:
        versions.render(rubric, judge.judge_variables(Sample(output="x", expected="x"), is_first=True))
    except Problem as problem:
        sentence = f"{rubric} cannot judge: {problem.detail}"
        raise Problem("scorers.invalid", sentence, faults=[Fault(pointer, problem.code, sentence)]) from None


def get_rubric(project: Project, reference: str) -> PromptVersion:
    """Return the version of a pinned rubric."""
    name, _, digest = reference.partition("@")
    return resolution.resolve(project, Reference(name, HashPrefix(digest)))


def _own_model(rubric: PromptVersion, model: ProviderModel) -> str:
    """Return the model that a rubric names, where the provider has it; else the model of the run."""
    own = str(rubric.content.get("model", {}).get("name") or "")
    has = model.provider.models.filter(name=own, archived_at=None).exists()
    return f"{model.provider.name}/{own if has else model.name}"


def _cases(settings: RunSettings) -> QuerySet[Case]:
    cases = Case.objects.of(settings.dataset_version).order_by("id")
    if settings.cases is not None:
        return cases.filter(pk__in=settings.cases)
    return cases.filter(split=settings.split) if settings.split else cases


def _expected_tokens(settings: RunSettings, parameters: Mapping[str, Any], keys: Sequence[int]) -> tuple[int, int]:
    """Estimate the tokens of a request and an answer: as measured where this version has been run on this model, else
    from the prompt's own length, some cases' variables and expected answers."""
    measured = Result.objects.filter(
        run__version=settings.version,
        run__model=settings.model,
        run__is_without_retrieval=settings.without_retrieval,
        error="",
        tokens_in__gt=0,
    )
    newest = Result.objects.filter(pk__in=measured.order_by("-id").values("pk")[:SAMPLE_SIZE])
    averages = newest.aggregate(tokens_in=Avg("tokens_in"), tokens_out=Avg("tokens_out"), n=Count("pk"))
    if averages["n"] >= MIN_MEASURED_ANSWERS:
        return round(averages["tokens_in"]), max(1, round(averages["tokens_out"]))
    step = max(1, len(keys) // SAMPLE_SIZE)
    sample = Case.objects.filter(pk__in=keys[::step][:SAMPLE_SIZE]).values_list("variables", "expected")
    name = settings.model.name
    lengths_in = [tokens.count("\n".join(map(str, variables.values())), name).tokens for variables, _ in sample]
    lengths_out = [tokens.count(str(expected), name).tokens for _, expected in sample if expected is not None]
    own = settings.version.tokens + round(sum(lengths_in) / max(1, len(lengths_in)))
    limit = read_settings(laid_over(settings.version.content.get("model", {}), parameters)).max_output_tokens
    usual = max(1, round(sum(lengths_out) / len(lengths_out))) if lengths_out else limit or DEFAULT_ANSWER_TOKENS
    return own, min(usual, limit) if limit else usual


def read_parameters(document: object, faults: list[Fault]) -> dict[str, Any]:
    """Read a run's own model settings; add to `faults` what is wrong with them."""
    if not isinstance(document, Mapping) or len(document) > MAX_PARAMETERS:
        faults.append(Fault("/parameters", "type", "Must be an object of model settings."))
        return {}
    sentence = f"A run sets: {', '.join(sorted(PARAMETERS))}."
    unknown = [name for name in document if name not in PARAMETERS]
    faults.extend(Fault(f"/parameters/{name}", "unknown", sentence) for name in unknown)
    own: list[Fault] = []
    parameters = normalise_json({name: value for name, value in document.items() if name in PARAMETERS}, own)
    faults.extend(replace(fault, pointer=f"/parameters{fault.pointer}") for fault in own)
    if faults or not isinstance(parameters, dict):
        return {}
    try:
        normalise({"kind": "text", "text": "x", "model": parameters})
    except Problem as problem:
        its = (fault for fault in problem.faults if fault.pointer.startswith("/model/"))
        faults.extend(replace(fault, pointer=f"/parameters{fault.pointer.removeprefix('/model')}") for fault in its)
    return parameters


def read_budget(value: object, faults: list[Fault]) -> Decimal | None:
    if value in (None, ""):
        return None
    try:
        budget = Decimal(str(value))
    except ArithmeticError:
        budget = Decimal(-1)
    if not budget.is_finite() or not 0 < budget <= MAX_BUDGET:
        faults.append(Fault("/budget_usd", "range", f"Must be US dollars, above 0 and at most {MAX_BUDGET:,}."))
        return None
    return round(budget, 6)
