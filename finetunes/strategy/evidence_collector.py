"""Collector of a prompt's evidence from its live calls, runs, tuned models and data."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from typing import Any

from django.db.models import Avg, Count, Q, QuerySet, StdDev
from django.utils import timezone

from core.errors import Problem
from core.example_selection import BY_SIMILARITY
from core.references import DEFAULT_ENVIRONMENT
from evaluations.comparisons import slas
from evaluations.data_quality import reports
from evaluations.models import ProviderModel, ReportKind, Result, Run, RunState
from evaluations.providers import configuration as providers
from evaluations.providers.configuration import is_same_model
from evaluations.providers.prices import TokenUsage
from evaluations.statistics.slas import format_adherence, too_many_calls
from finetunes.jobs import tuned_models
from finetunes.models import TunedEvaluation, TunedModel
from finetunes.strategy import benchmarks
from finetunes.strategy.evidence import Figure, Origin, default_figure, measured_figure, reconcile
from finetunes.strategy.links import Link
from finetunes.strategy.monthly_volume import MonthlyVolume, monthly_volume_of
from finetunes.strategy.policy import Policy
from inference.models import Call
from inference.monitoring import usage
from inference.monitoring.usage import LiveUsage
from inference.usage.estimates import DAYS_A_MONTH, Z
from inference.usage.stats import UsageStats
from registry.content import lint
from registry.models import Prompt, PromptVersion, Release

# The tag by which a prompt's retrieval variant is recognised: that prompt was measured on the same cases.
RETRIEVAL_TAG = "retrieval"
# What runs and live calls both measure; live calls count.
COMPARED = frozenset({"latency_ms", "format_error_rate", "prompt_price"})
# Scorers of whether an answer is right, the strictest first; the format is an input of its own.
QUALITY_SCORERS = ("label", "exact", "normalised", "fields", "numeric", "judge")
MILLION = 1_000_000
MAX_MODELS = 20


@dataclass(frozen=True)
class PromptEvidence:
    """Evidence about a version of a prompt, and the rows that it comes from."""

    prompt: Prompt
    version: PromptVersion
    environment: str
    live: LiveUsage
    # The version as it is; where it searches a collection, the same without that.
    run: Run | None
    run_without: Run | None
    tuned: TunedEvaluation | None
    # The retrieval variant of a version that searches nothing.
    retrieval: Run | None
    inputs: Mapping[str, Figure]

    @property
    def is_simulation(self) -> bool:
        return self.live.is_simulation or any(
            run is not None and run.is_simulation for run in self.by_approach.values()
        )

    @property
    def searches(self) -> bool:
        return "retrieval" in self.version.content

    @property
    def by_approach(self) -> Mapping[str, Run | None]:
        """Return the runs that measure each approach on the same cases."""
        return {
            benchmarks.PROMPT: self.run_without if self.searches else self.run,
            benchmarks.TUNED: self.tuned.candidate if self.tuned else None,
            benchmarks.RETRIEVAL: self.run if self.searches else self.retrieval,
        }


def collect(
    prompt: Prompt, policy: Policy, environment: str = DEFAULT_ENVIRONMENT, version: PromptVersion | None = None
) -> PromptEvidence:
    """Collect the evidence about a prompt: about the given version alone; else about the one that is live in an
    environment, or the newest, with all calls there."""
    is_named = version is not None
    version = version or _live_or_newest_version(prompt, environment)
    version.prompt = prompt
    calls = usage.usage_of_prompt(prompt, environment)
    evaluation = _newest_evaluation(prompt)
    baseline = evaluation.baseline if evaluation else None
    if is_named and baseline is not None and baseline.version_id != version.pk:
        evaluation = baseline = None
    run = baseline or newest_run(version)
    searches = "retrieval" in version.content
    run_without = _newest_run_without_retrieval(run) if run and searches else None
    retrieval = _newest_retrieval_run(run) if run and not searches else None
    volume = monthly_volume_of(prompt, calls, only=version if is_named else None)
    inputs = {
        **default_figures(policy),
        **_prompt_figures(prompt, version),
        **(_run_figures(run) if run else {}),
        **(_tuned_figures(evaluation) if evaluation else {}),
        **(_retrieval_figures(run, retrieval) if run and retrieval else {}),
        **_data_figures(run),
        **_base_figures(run),
    }
    live_figures = _call_figures(volume, run, prompt)
    if reason := _other_model(calls, run):
        # How many calls there are does not depend on who answers them; all else does.
        live_figures = _volume_by_run(volume, run, prompt)
        if "latency_ms" in inputs:
            inputs["latency_ms"] = replace(inputs["latency_ms"], conflict=reason)
    for name, figure in live_figures.items():
        other = inputs.get(name) if name in COMPARED else None
        inputs[name] = reconcile(figure, other, name) if other and other.origin == Origin.MEASURED else figure
    inputs = {**inputs, **_proportional_prices(inputs, policy)}
    return PromptEvidence(prompt, version, environment, calls, run, run_without, evaluation, retrieval, inputs)


def _live_or_newest_version(prompt: Prompt, environment: str) -> PromptVersion:
    rows = Release.objects.filter(prompt=prompt, environment__name=environment).select_related("version")
    release = rows.order_by("-number").first()
    version = release.version if release else prompt.head
    if version is None:
        raise Problem("prompt.no_versions", f"{prompt.name} has no version yet.")
    version.prompt = prompt
    return version


def newest_run(version: PromptVersion) -> Run | None:
    """Return the newest run of a version as it is that is done, on the test split where there is one."""
    rows = Run.objects.filter(version=version, state=RunState.DONE, summary__isnull=False, answers_of=None)
    rows = rows.filter(is_without_retrieval=False)
    rows = rows.select_related("dataset_version__dataset", "model__provider").order_by("-id")
    return rows.filter(split="test").first() or rows.first()


def _newest_evaluation(prompt: Prompt) -> TunedEvaluation | None:
    """Return the evaluation of a prompt's newest tuned model on the task."""
    rows = tuned_models.evaluations_with_related().filter(
        split="test",
        tuned__job__training_set__source__prompt=prompt,
        tuned__job__cross_validation=None,
        error="",
        baseline__state=RunState.DONE,
        candidate__state=RunState.DONE,
        baseline__summary__isnull=False,
        candidate__summary__isnull=False,
    )
    return rows.select_related("tuned__base", "baseline__dataset_version__dataset").order_by("-id").first()


def _newest_retrieval_run(run: Run) -> Run | None:
    """Return the newest run of a prompt with retrieval, on the same cases: one that searches a collection, or whose tag
    says that it is given what was looked up elsewhere."""
    searches = Q(version__content__has_key="retrieval") & ~Q(version=run.version_id)
    rows = _runs_on_same_cases(run).filter(is_without_retrieval=False)
    return rows.filter(searches | Q(version__prompt__tags__contains=[RETRIEVAL_TAG])).first()


def _newest_run_without_retrieval(run: Run) -> Run | None:
    """Return the newest run of the same version that retrieves nothing."""
    return _runs_on_same_cases(run).filter(version=run.version_id, is_without_retrieval=True).first()


def _runs_on_same_cases(run: Run) -> QuerySet[Run]:
    rows = Run.objects.filter(
        project=run.project_id,
        cases_hash=run.cases_hash,
        state=RunState.DONE,
        summary__isnull=False,
        model=run.model_id,
    )
    return rows.select_related("version__prompt", "model__provider").order_by("-id")


def default_figures(policy: Policy) -> dict[str, Figure]:
    """Return the policy's figures, for inputs that are not measured."""
    return {
        "prompt_price": default_figure(policy.prompt_price),
        "tuned_price": default_figure(policy.tuned_price),
        "retrieval_price": default_figure(policy.retrieval_price),
        "dev_cost_hours": default_figure(policy.tuned_hours),
    }


def _proportional_prices(inputs: Mapping[str, Figure], policy: Policy) -> dict[str, Figure]:
    """Scale the policy's prices to the measured price of the prompt. A price from a table compared with one of a cheap
    model would say nothing."""
    prompt = inputs["prompt_price"]
    if prompt.origin != Origin.MEASURED or not policy.prompt_price:
        return {}
    ratios = {"tuned_price": policy.tuned_price, "retrieval_price": policy.retrieval_price}
    return {
        name: default_figure(prompt.value * price / policy.prompt_price, "the published proportion of prices")
        for name, price in ratios.items()
        if inputs[name].origin == Origin.DEFAULT
    }


def _prompt_figures(prompt: Prompt, version: PromptVersion) -> dict[str, Figure]:
    subject = lint.Subject(version.content, frozenset(), version.tokens)
    response = version.content.get("response", {}).get("format", "text")
    is_picked = version.content.get("examples", {}).get("select") in BY_SIMILARITY
    link = Link("registry:version-detail", (prompt.name, version.number))
    source = f"{prompt.name}@{version.number}"
    return {
        "prompt_tokens": measured_figure(float(version.tokens), source=source, link=link),
        "examples": measured_figure(float(subject.example_count), source=source, link=link),
        "strict_format": measured_figure(
            float(response != "text"), source=f"its response format: {response}", link=link
        ),
        "schema_enforced": measured_figure(
            float(response == "json_schema"), source=f"its response format: {response}", link=link
        ),
        "examples_picked": measured_figure(float(is_picked), source=source, link=link),
    }


def _run_figures(run: Run) -> dict[str, Figure]:
    summary: Mapping[str, Any] = run.summary or {}
    about: dict[str, Any] = {"source": f"run {run.pk}", "link": Link("evaluations:run-detail", (run.pk,))}
    figures: dict[str, Figure] = {}
    price = price_of_run(run)
    if price:
        figures["prompt_price"] = measured_figure(*price, **about)
    if right := share_right(summary):
        figures["quality"] = measured_figure(*right, **about)
    if mean := mean_latency_of_run(run):
        figures["latency_ms"] = measured_figure(*mean, **about)
    if errors := format_error_rate(summary):
        figures["format_error_rate"] = measured_figure(*errors, **about)
    if tokens_in := summary.get("tokens_in"):
        figures["tokens_per_call"] = measured_figure(tokens_in["value"], tokens_in["low"], tokens_in["high"], **about)
    return figures


def _tuned_figures(evaluation: TunedEvaluation) -> dict[str, Figure]:
    run, base = evaluation.candidate, evaluation.baseline
    if run is None or base is None:
        return {}
    summary: Mapping[str, Any] = run.summary or {}
    about: dict[str, Any] = {"source": f"run {run.pk}", "link": Link("evaluations:run-detail", (run.pk,))}
    figures: dict[str, Figure] = {}
    tokens_in = (base.summary or {}).get("tokens_in")
    if tokens_in and (price := price_of_run(run, tokens_in["value"])):
        figures["tuned_price"] = measured_figure(*price, **about)
    if mean := mean_latency_of_run(run):
        figures["tuned_latency_ms"] = measured_figure(*mean, **about)
    if errors := format_error_rate(summary):
        figures["tuned_format_error_rate"] = measured_figure(*errors, **about)
    if evaluation.tuned.cost_usd is not None:
        job = evaluation.tuned.job_id
        link = Link("finetunes:job-detail", (job,))
        figures["tuning_cost_usd"] = measured_figure(
            float(evaluation.tuned.cost_usd), source=f"fine-tune {job}", link=link
        )
    quality = (evaluation.comparison.result or {}).get("quality") if evaluation.comparison else None
    if quality and evaluation.comparison:
        link = Link("evaluations:comparison-detail", (evaluation.comparison.pk,))
        source = f"comparison {evaluation.comparison.pk}"
        ends = (quality["low"], quality["high"])
        figures["quality_change"] = measured_figure(quality["difference"], *ends, source=source, link=link)
    return figures


def _retrieval_figures(run: Run, retrieval: Run) -> dict[str, Figure]:
    tokens_in = (run.summary or {}).get("tokens_in")
    price = price_of_run(retrieval, tokens_in["value"]) if tokens_in else None
    if price is None:
        return {}
    link = Link("evaluations:run-detail", (retrieval.pk,))
    return {"retrieval_price": measured_figure(*price, source=f"run {retrieval.pk}", link=link)}


def _call_figures(volume: MonthlyVolume, run: Run | None, prompt: Prompt) -> dict[str, Figure]:
    """Return the volume of all calls; and latency, format and price of calls with the long prompt and with tuned
    models."""
    link = Link("inference:live", (prompt.name,))
    long, short = volume.long_prompt, volume.short_prompt

    def about(stats: UsageStats) -> dict[str, Any]:
        return {"source": f"{stats.calls:,} live calls", "link": link}

    figures: dict[str, Figure] = {}
    all_stats = long + short
    if month := volume.tokens_a_month(run):
        figures["monthly_tokens"] = measured_figure(month.value, month.low, month.high, **about(all_stats))
    for name, stats in (("", long), ("tuned_", short)):
        if mean := stats.mean_latency():
            figures[f"{name}latency_ms"] = measured_figure(mean, **about(stats))
        if rate := stats.format_rate():
            low, high = (None if end is None else 1 - end for end in (rate.high, rate.low))
            figures[f"{name}format_error_rate"] = measured_figure(1 - rate.value, low, high, **about(stats))
    tokens_per_call = long.tokens_in / long.counted if long.counted else None
    if tokens_per_call:
        figures["tokens_per_call"] = measured_figure(tokens_per_call, **about(long))
        for name, stats in (("prompt_price", long), ("tuned_price", short)):
            if cost := stats.cost_per_call():
                figures[name] = measured_figure(cost / tokens_per_call * MILLION, **about(stats))
    return figures


def _data_figures(run: Run | None) -> dict[str, Figure]:
    """Count the cases to learn from in the dataset of the run: its train split, less the same share of duplicates,
    contradictions and unanswered cases as in the whole."""
    version = run.dataset_version if run else None
    if version is None:
        return {}
    report = reports.newest_done_report(version, ReportKind.READINESS)
    cases, train = sum(version.sizes.values()), version.sizes.get("train", 0)
    unusable_count = 0
    if report:
        unusable = ("duplicates", "contradictions", "unanswered")
        unusable_count = sum(
            int(trouble["count"]) for trouble in report.result.get("troubles", ()) if trouble["key"] in unusable
        )
    clean = max(0.0, train - unusable_count * train / cases) if cases else 0.0
    source = f"{version}, readiness {report.result['score']}" if report else f"{version}, no readiness report"
    if reports.leakage_status(version).blocks_fine_tuning:
        source += "; leaks are not settled"
    return {"clean_examples": measured_figure(clean, source=source)}


def _base_figures(run: Run | None) -> dict[str, Figure]:
    """Return how long the base model will be available."""
    model: ProviderModel | None = run.model if run else None
    if model is None or model.shutdown_date is None:
        return {}
    days = (model.shutdown_date - timezone.now().date()).days
    source = f"{model}, shut down on {model.shutdown_date}"
    return {"base_months_left": measured_figure(max(0.0, days / DAYS_A_MONTH), source=source)}


def _volume_by_run(volume: MonthlyVolume, run: Run | None, prompt: Prompt) -> dict[str, Figure]:
    """Return the volume by the number of live calls and the length of a run's questions: those of another model are
    counted in another way, or are not the same questions."""
    month = replace(volume, long_prompt=UsageStats(), short_prompt=UsageStats()).tokens_a_month(run)
    if month is None:
        return {}
    calls = (volume.long_prompt + volume.short_prompt).calls
    about: dict[str, Any] = {"source": f"{calls:,} live calls", "link": Link("inference:live", (prompt.name,))}
    return {"monthly_tokens": measured_figure(month.value, month.low, month.high, **about)}


def _other_model(calls: LiveUsage, run: Run | None) -> str:
    """Say why live calls cannot be set beside a run: they are of another model, or only one of the two is simulated.
    Empty where they can."""
    if run is None or not calls.total.calls:
        return ""
    if calls.is_simulation != run.is_simulation:
        simulated, real = ("live calls", f"run {run.pk}") if calls.is_simulation else (f"run {run.pk}", "live calls")
        return f"The {simulated} simulate and {real} does not: of live calls only their number counts here."
    versions = [version.pk for version, _ in calls.versions]
    since = datetime.combine(calls.since, time(), tzinfo=UTC)
    recent = Call.objects.filter(version__in=versions, environment=calls.environment, at__gte=since)
    recent = recent.exclude(model_name="")
    names = set(recent.order_by().values_list("model_name", flat=True).distinct()[:MAX_MODELS])
    tuned = TunedModel.objects.filter(published__in=versions).values_list("model__name", flat=True)
    names -= set(tuned)
    # Calls of several models are added up, so that one other model is in all their figures.
    if all(is_same_model(run.model_name, name) for name in names):
        return ""
    listed = ", ".join(sorted(names)[:3])
    return f"Live calls are of {listed}, run {run.pk} of {run.model_name}: of live calls only their number counts here."


def share_right(summary: Mapping[str, Any]) -> tuple[float, float | None, float | None] | None:
    """Return the share of answers that are right, by the strictest scorer of the run that compares them with what was
    expected; None without one."""
    by_scorer = {scorer["scorer"]: scorer["value"] for scorer in summary.get("scorers", ()) if scorer.get("value")}
    right = next((by_scorer[name] for name in QUALITY_SCORERS if name in by_scorer), None)
    return (right["value"], right["low"], right["high"]) if right else None


def price_of_run(run: Run, tokens_in: float | None = None) -> tuple[float, float, float] | None:
    """Return the price of a million tokens of questions by a run: as it was paid, else by the model's price of now."""
    summary: Mapping[str, Any] = run.summary or {}
    paid = price_from_summary(summary, tokens_in)
    price = None if paid else providers.price_of(run.model)
    questions, answers = summary.get("tokens_in"), summary.get("tokens_out")
    if price is None or not questions or not answers:
        return paid
    usage_of_calls = TokenUsage(round(questions["value"] * MILLION), tokens_out=round(answers["value"] * MILLION))
    value = float(price.of(usage_of_calls)) / (tokens_in or questions["value"])
    return value, value, value


def price_from_summary(summary: Mapping[str, Any], tokens_in: float | None = None) -> tuple[float, float, float] | None:
    """Return the price of a million tokens of questions, all of a call included, with its interval. `tokens_in` is
    given where they are to be another prompt's, so that both prices are for the same questions."""
    cost = summary.get("cost_per_call_usd")
    tokens = tokens_in or (summary.get("tokens_in") or {}).get("value")
    if not cost or not tokens:
        return None
    ends = (cost["value"], cost.get("low"), cost.get("high"))
    value, low, high = (cost["value"] if end is None else end for end in ends)
    return value / tokens * MILLION, low / tokens * MILLION, high / tokens * MILLION


def mean_latency_of_run(run: Run) -> tuple[float, float, float] | None:
    """Return the mean latency of a run's answers in milliseconds, with its interval (normal approximation); None where
    it had more calls in flight than the project's SLAs say."""
    if too_many_calls(run.summary or {}, slas.slas_as_dict(slas.get_slas(run.project))):
        return None
    answers = Result.objects.filter(run=run, error="", latency_ms__isnull=False)
    if run.answers_of_id is None:
        # An answer from the cache has the latency of another run.
        answers = answers.filter(is_from_cache=False)
    aggregates = answers.aggregate(mean=Avg("latency_ms"), spread=StdDev("latency_ms", sample=True), n=Count("pk"))
    if not aggregates["n"]:
        return None
    reach = Z * (aggregates["spread"] or 0.0) / aggregates["n"] ** 0.5
    return aggregates["mean"], max(0.0, aggregates["mean"] - reach), aggregates["mean"] + reach


def format_error_rate(summary: Mapping[str, Any]) -> tuple[float, float | None, float | None] | None:
    """Return the share of answers that break the format; None where no scorer checked it."""
    passed = format_adherence(summary)
    if not passed:
        return None
    low, high = (None if passed[end] is None else 1 - passed[end] for end in ("high", "low"))
    return 1 - passed["value"], low, high
