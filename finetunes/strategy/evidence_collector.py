"""What is known of a prompt, from its live calls, runs, tuned models and data; each figure with where it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Avg, Count, StdDev
from django.urls import reverse
from django.utils import timezone

from core.errors import Problem
from core.references import DEFAULT_ENVIRONMENT
from evaluations.data_quality import reports
from evaluations.models import ProviderModel, ReportKind, Result, Run, RunState
from evaluations.statistics.service_levels import format_of
from finetunes.jobs import tuned_models
from finetunes.models import TunedEvaluation
from finetunes.strategy import volume
from finetunes.strategy.evidence import Figure, Origin, default, measured
from finetunes.strategy.policy import Policy
from finetunes.strategy.volume import Asked
from inference.monitoring import usage
from inference.monitoring.usage import Live
from inference.calls.usage_stats import DAYS_A_MONTH, Traffic, Z
from registry.content import lint
from registry.models import Prompt, PromptVersion, Release

# Where a prompt's retrieval variant is told by: a tag of the prompt that was measured on the same cases.
RETRIEVAL_TAG = "retrieval"
MILLION = 1_000_000


@dataclass(frozen=True)
class Known:
    """The version that is asked, the evidence about it, and the rows that it rests on."""

    prompt: Prompt
    version: PromptVersion
    environment: str
    live: Live
    run: Run | None
    tuned: TunedEvaluation | None
    retrieval: Run | None
    inputs: Mapping[str, Figure]

    @property
    def is_simulation(self) -> bool:
        runs = (self.run, self.retrieval, self.tuned.candidate if self.tuned else None)
        return self.live.is_simulation or any(run is not None and run.is_simulation for run in runs)


def of_prompt(
    prompt: Prompt, policy: Policy, environment: str = DEFAULT_ENVIRONMENT, version: PromptVersion | None = None
) -> Known:
    """What is known of a prompt: of the version that is named alone; else of the one that is live in an environment, or
    the newest, with all that is asked there."""
    is_named = version is not None
    version = version or _version(prompt, environment)
    version.prompt = prompt
    calls = usage.of_prompt(prompt, environment)
    evaluation = _evaluation(prompt)
    baseline = evaluation.baseline if evaluation else None
    if is_named and baseline is not None and baseline.version_id != version.pk:
        evaluation = baseline = None
    run = baseline or newest_run(version)
    retrieval = _retrieval(run) if run else None
    asked = volume.traffic_of(prompt, calls, only=version if is_named else None)
    inputs = {
        **defaults(policy),
        **_of_prompt(prompt, version),
        **(_of_run(run, prompt) if run else {}),
        **(_of_tuned(evaluation, prompt) if evaluation else {}),
        **(_of_retrieval(run, retrieval, prompt) if run and retrieval else {}),
        **_of_calls(asked, run, prompt),
        **_of_data(run),
        **_of_base(run),
    }
    inputs = {**inputs, **_in_proportion(inputs, policy)}
    return Known(prompt, version, environment, calls, run, evaluation, retrieval, inputs)


def _version(prompt: Prompt, environment: str) -> PromptVersion:
    rows = Release.objects.filter(prompt=prompt, environment__name=environment).select_related("version")
    release = rows.order_by("-number").first()
    version = release.version if release else prompt.head
    if version is None:
        raise Problem("prompt.no_versions", f"{prompt.name} has no version yet.")
    version.prompt = prompt
    return version


def newest_run(version: PromptVersion) -> Run | None:
    """The newest run of a version that is done and on its test side, else on any."""
    rows = Run.objects.filter(version=version, state=RunState.DONE, summary__isnull=False, answers_of=None)
    rows = rows.select_related("dataset_version__dataset", "model__provider").order_by("-id")
    return rows.filter(split="test").first() or rows.first()


def _evaluation(prompt: Prompt) -> TunedEvaluation | None:
    """How the newest tuned model of a prompt measured on the task."""
    rows = tuned_models.evaluations().filter(
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


def _retrieval(run: Run) -> Run | None:
    """The newest run of a prompt that looks facts up, on the same cases."""
    rows = Run.objects.filter(
        project=run.project_id,
        cases_hash=run.cases_hash,
        state=RunState.DONE,
        summary__isnull=False,
        version__prompt__tags__contains=[RETRIEVAL_TAG],
    )
    return rows.select_related("version__prompt", "model__provider").order_by("-id").first()


def defaults(policy: Policy) -> dict[str, Figure]:
    """What the policy says where nobody has measured."""
    return {
        "prompt_price": default(policy.prompt_price),
        "tuned_price": default(policy.tuned_price),
        "retrieval_price": default(policy.retrieval_price),
        "dev_cost_hours": default(policy.tuned_hours),
    }


def _in_proportion(inputs: Mapping[str, Figure], policy: Policy) -> dict[str, Figure]:
    """Prices that nobody has measured, where that of the prompt is measured: in the policy's proportion to it. A price
    from a table beside one from a cheap model would say what neither does."""
    prompt = inputs["prompt_price"]
    if prompt.origin != Origin.MEASURED or not policy.prompt_price:
        return {}
    ratios = {"tuned_price": policy.tuned_price, "retrieval_price": policy.retrieval_price}
    return {
        name: default(prompt.value * price / policy.prompt_price, "the published proportion of prices")
        for name, price in ratios.items()
        if inputs[name].origin == Origin.DEFAULT
    }


def _of_prompt(prompt: Prompt, version: PromptVersion) -> dict[str, Figure]:
    subject = lint.Subject(version.content, frozenset(), version.tokens)
    response = version.content.get("response", {}).get("format", "text")
    link = _link("registry:version-detail", prompt, prompt.name, version.number)
    source = f"{prompt.name}@{version.number}"
    return {
        "prompt_tokens": measured(float(version.tokens), source=source, link=link),
        "examples": measured(float(subject.example_count), source=source, link=link),
        "strict_format": measured(float(response != "text"), source=f"its response format: {response}", link=link),
    }


def _of_run(run: Run, prompt: Prompt) -> dict[str, Figure]:
    summary: Mapping[str, Any] = run.summary or {}
    about: dict[str, Any] = {"source": f"run {run.pk}", "link": _link("evaluations:run-detail", prompt, run.pk)}
    found: dict[str, Figure] = {}
    price = price_of(summary)
    if price:
        found["prompt_price"] = measured(*price, **about)
    if mean := mean_latency(run):
        found["latency_ms"] = measured(*mean, **about)
    if errors := format_errors(summary):
        found["format_error_rate"] = measured(*errors, **about)
    if asked := summary.get("tokens_in"):
        found["tokens_per_call"] = measured(asked["value"], asked["low"], asked["high"], **about)
    return found


def _of_tuned(evaluation: TunedEvaluation, prompt: Prompt) -> dict[str, Figure]:
    run, base = evaluation.candidate, evaluation.baseline
    if run is None or base is None:
        return {}
    summary: Mapping[str, Any] = run.summary or {}
    about: dict[str, Any] = {"source": f"run {run.pk}", "link": _link("evaluations:run-detail", prompt, run.pk)}
    found: dict[str, Figure] = {}
    asked = (base.summary or {}).get("tokens_in")
    if asked and (price := price_of(summary, asked["value"])):
        found["tuned_price"] = measured(*price, **about)
    if mean := mean_latency(run):
        found["tuned_latency_ms"] = measured(*mean, **about)
    if errors := format_errors(summary):
        found["tuned_format_error_rate"] = measured(*errors, **about)
    if evaluation.tuned.cost_usd is not None:
        job = evaluation.tuned.job_id
        link = _link("finetunes:job-detail", prompt, job)
        found["tuning_cost_usd"] = measured(float(evaluation.tuned.cost_usd), source=f"fine-tune {job}", link=link)
    quality = (evaluation.comparison.result or {}).get("quality") if evaluation.comparison else None
    if quality and evaluation.comparison:
        link = _link("evaluations:comparison-detail", prompt, evaluation.comparison.pk)
        source = f"comparison {evaluation.comparison.pk}"
        ends = (quality["low"], quality["high"])
        found["quality_change"] = measured(quality["difference"], *ends, source=source, link=link)
    return found


def _of_retrieval(run: Run, retrieval: Run, prompt: Prompt) -> dict[str, Figure]:
    asked = (run.summary or {}).get("tokens_in")
    price = price_of(retrieval.summary or {}, asked["value"]) if asked else None
    if price is None:
        return {}
    link = _link("evaluations:run-detail", prompt, retrieval.pk)
    return {"retrieval_price": measured(*price, source=f"run {retrieval.pk}", link=link)}


def _of_calls(asked: Asked, run: Run | None, prompt: Prompt) -> dict[str, Figure]:
    """Volume of all calls; latency, format and price of those that ask the long prompt, and of tuned ones."""
    link = _link("inference:live", prompt, prompt.name)
    long, short = asked.long, asked.short

    def about(traffic: Traffic) -> dict[str, Any]:
        return {"source": f"{traffic.calls:,} live calls", "link": link}

    found: dict[str, Figure] = {}
    every = long + short
    if month := asked.tokens_a_month(run):
        found["monthly_tokens"] = measured(month.value, month.low, month.high, **about(every))
    for name, traffic in (("", long), ("tuned_", short)):
        if mean := traffic.mean_latency():
            found[f"{name}latency_ms"] = measured(mean, **about(traffic))
        if rate := traffic.format_rate():
            low, high = (None if end is None else 1 - end for end in (rate.high, rate.low))
            found[f"{name}format_error_rate"] = measured(1 - rate.value, low, high, **about(traffic))
    each = long.tokens_in / long.counted if long.counted else None
    if each:
        found["tokens_per_call"] = measured(each, **about(long))
        for name, traffic in (("prompt_price", long), ("tuned_price", short)):
            if cost := traffic.cost_per_call():
                found[name] = measured(cost / each * MILLION, **about(traffic))
    return found


def _of_data(run: Run | None) -> dict[str, Figure]:
    """Cases to learn from, in the dataset that it was measured on: the training side, less its share of those that are
    there twice, contradict themselves or have no answer."""
    version = run.dataset_version if run else None
    if version is None:
        return {}
    report = reports.done(version, ReportKind.READINESS)
    cases, train = sum(version.sizes.values()), version.sizes.get("train", 0)
    troubled = 0
    if report:
        wrong = ("duplicates", "contradictions", "unanswered")
        troubled = sum(int(one["count"]) for one in report.result.get("troubles", ()) if one["key"] in wrong)
    clean = max(0.0, train - troubled * train / cases) if cases else 0.0
    source = f"{version}, readiness {report.result['score']}" if report else f"{version}, nobody has looked through it"
    if reports.standing(version).blocks_fine_tuning:
        source += "; leaks are not settled"
    return {"clean_examples": measured(clean, source=source)}


def _of_base(run: Run | None) -> dict[str, Figure]:
    """How long the model lives on which one would tune."""
    model: ProviderModel | None = run.model if run else None
    if model is None or model.shutdown_date is None:
        return {}
    days = (model.shutdown_date - timezone.now().date()).days
    source = f"{model}, shut down on {model.shutdown_date}"
    return {"base_months_left": measured(max(0.0, days / DAYS_A_MONTH), source=source)}


def price_of(summary: Mapping[str, Any], tokens_in: float | None = None) -> tuple[float, float, float] | None:
    """What a million tokens of questions cost, all of a call included, with its interval; `tokens_in` where they are to
    be another prompt's, so that prices of both are for the same questions."""
    cost = summary.get("cost_per_call_usd")
    asked = tokens_in or (summary.get("tokens_in") or {}).get("value")
    if not cost or not asked:
        return None
    ends = (cost["value"], cost.get("low"), cost.get("high"))
    value, low, high = (cost["value"] if one is None else one for one in ends)
    return value / asked * MILLION, low / asked * MILLION, high / asked * MILLION


def mean_latency(run: Run) -> tuple[float, float, float] | None:
    """The mean latency of a run's answers in milliseconds, with its interval (normal approximation)."""
    found = Result.objects.filter(run=run, error="", latency_ms__isnull=False).aggregate(
        mean=Avg("latency_ms"), spread=StdDev("latency_ms", sample=True), n=Count("pk")
    )
    if not found["n"]:
        return None
    reach = Z * (found["spread"] or 0.0) / found["n"] ** 0.5
    return found["mean"], max(0.0, found["mean"] - reach), found["mean"] + reach


def format_errors(summary: Mapping[str, Any]) -> tuple[float, float | None, float | None] | None:
    """The share of answers that are not in the format; None where no scorer looked at that."""
    passed = format_of(summary)
    if not passed:
        return None
    low, high = (None if passed[end] is None else 1 - passed[end] for end in ("high", "low"))
    return 1 - passed["value"], low, high


def _link(name: str, prompt: Prompt, *args: object) -> str:
    return reverse(name, args=[prompt.project.slug, *args])
