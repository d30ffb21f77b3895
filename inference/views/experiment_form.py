"""The form of an experiment: what it offers to choose from, and what was chosen as a document of the API."""

from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import Fault
from inference.experiments.record import BETTER, HIGHER, TITLES, ExperimentRecord, Metric
from inference.monitoring import usage
from inference.usage.stats import CONVERSION, FEEDBACK
from registry.accounts.permissions import Actor
from registry.models import Environment, Promotion, PromotionStatus, Prompt, Release
from registry.views.frame import decimal, whole

MAX_ARMS, MIN_ARMS_SHOWN = 5, 3
MAX_VERSIONS_OFFERED = 100
RAMPS = {"1 10 50 100": "1, 10, 50, 100 %", "10 50 100": "10, 50, 100 %", "10 100": "10, 100 %", "100": "100 % at once"}
# Of these an arm is guarded by default: what services mostly measure.
GUARDED = ("errors", "format", "score", "cost", "latency_p95")
DEFAULTS = {
    **{"environment": "production", "metric": "score", "better": HIGHER, "ramp": "1 10 50 100"},
    **{"step_hours": "24", "expected_subjects": "2000", "weight1": "50", "guard_errors": "on"},
}
FIELDS = (
    *("name", "prompt", "environment", "hypothesis", "metric", "better", "margin", "ramp", "step_hours"),
    *("expected_subjects", "message", "feedback_name", "shadow", "shadow_percent", "shadow_usd"),
    *(f"arm{number}" for number in range(1, MAX_ARMS + 1)),
    *(f"weight{number}" for number in range(1, MAX_ARMS + 1)),
    *(f"guard_{name}" for name in GUARDED),
    *(f"margin_{name}" for name in GUARDED),
)
# Feedback and conversions of which nothing has come yet.
NEW_METRICS = ((FEEDBACK, "Feedback"), (CONVERSION, "Conversion"))
LABELS = {
    **{f"arm{number}": f"Arm {number}" for number in range(1, MAX_ARMS + 1)},
    **{f"weight{number}": f"Subjects of arm {number}" for number in range(1, MAX_ARMS + 1)},
    **{"step_hours": "Hours a step", "expected_subjects": "Subjects expected", "metric": "What decides"},
    **{"guardrails": "Guardrails", "margin": "Margin", "shadow_percent": "Shadow, of the calls"},
    "shadow_usd": "Shadow, dollars a day",
}
# Where the faults of a document are in the form.
FAULTS = {
    "/arms": "arm1",
    **{f"/arms/{number}/version": f"arm{number + 1}" for number in range(MAX_ARMS)},
    **{f"/arms/{number}/weight": f"weight{number + 1}" for number in range(MAX_ARMS)},
    "/primary": "metric",
    "/primary/metric": "metric",
    "/primary/margin": "margin",
    "/baseline": "environment",
    "/shadow/version": "shadow",
    "/shadow/percent": "shadow_percent",
    "/shadow/daily_usd": "shadow_usd",
}


def offered(
    actor: Actor, prompt: Prompt | None, values: Mapping[str, str], errors: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return what the form offers for a prompt: its versions, where it is live, and what is measured of it."""
    if prompt is None:
        # What is live nowhere has no baseline.
        prompts = Prompt.objects.filter(project=actor.project, archived_at=None, experiment=None)
        prompts = prompts.filter(releases__isnull=False).distinct()
        return {"prompts": prompts.order_by("name").values_list("name", flat=True)[:500]}
    releases = Release.objects.filter(prompt=prompt).order_by("environment_id", "-number").distinct("environment_id")
    live = dict(releases.values_list("environment__name", "version__number"))
    names = feedback_names(prompt)
    metrics = [(name, TITLES[name], False) for name in BETTER]
    metrics += [(f"{FEEDBACK}{name}", f"Feedback: {name}", True) for name in names]
    metrics += [(f"{CONVERSION}{name}", f"Conversion: {name}", True) for name in names]
    metric = values.get("metric", "")
    if metric and metric not in {name for name, *_ in metrics}:
        # What it was, also where nothing of it has come lately.
        metrics.append((metric, Metric(metric, HIGHER).title, True))
    environments = list(Environment.objects.filter(project=actor.project).order_by("position"))
    versions = _versions(prompt, environments)
    metrics += [(f"{prefix}?", f"{title}, by its name below", True) for prefix, title in NEW_METRICS]
    return {
        "prompt": prompt,
        "environments": [(row.name, live[row.name]) for row in environments if row.name in live],
        "versions": versions,
        "metrics": metrics,
        "arms": [
            (
                *(number, values.get(f"arm{number}", ""), values.get(f"weight{number}", "")),
                (errors or {}).get(f"arm{number}") or (errors or {}).get(f"weight{number}"),
            )
            for number in range(1, MAX_ARMS + 1)
            if number <= MIN_ARMS_SHOWN or values.get(f"arm{number}")
        ],
        "guards": [
            (name, TITLES[name], bool(values.get(f"guard_{name}")), values.get(f"margin_{name}", ""))
            for name in GUARDED
        ],
        "ramps": RAMPS.items() if values.get("ramp") in RAMPS else [*RAMPS.items(), (values.get("ramp"),) * 2],
    }


def carried_over(record: ExperimentRecord | None) -> list[Metric]:
    """Return the guardrails of a record that the form has no row for: its next version keeps them."""
    return [metric for metric in record.guardrails if metric.name not in GUARDED] if record else []


def document_of(values: Mapping[str, str], prompt: Prompt, carried: Sequence[Metric] = ()) -> dict[str, Any]:
    """Return what was chosen as a document of the API, with guardrails that are carried over; what is no number goes on
    as it was typed, and is refused by its name."""
    arms = [
        {"version": f"{prompt.name}@{values[f'arm{number}']}", "weight": _number(values[f"weight{number}"])}
        for number in range(1, MAX_ARMS + 1)
        if values[f"arm{number}"]
    ]
    guardrails = [
        {"metric": name, **_margin(values[f"margin_{name}"])}
        for name in GUARDED
        # Errors always guard; a margin beside another says that it is meant to.
        if name == "errors" or values[f"guard_{name}"] or values[f"margin_{name}"]
    ]
    guardrails += [metric.as_dict() for metric in carried]
    metric = values["metric"]
    if metric.endswith(".?"):
        metric = f"{metric.removesuffix('?')}{values['feedback_name']}"
    primary = {"metric": metric, **_margin(values["margin"])}
    if metric not in BETTER:
        primary["better"] = values["better"]
    document: dict[str, Any] = {
        "prompt": prompt.name,
        "baseline": f"{prompt.name}@{values['environment']}",
        "arms": arms,
        "primary": primary,
        "guardrails": guardrails,
        "ramp": [whole(step) or step for step in values["ramp"].split()],
        "step_hours": _number(values["step_hours"]),
        "hypothesis": values["hypothesis"],
    }
    if values["shadow"]:
        document["shadow"] = {
            "version": f"{prompt.name}@{values['shadow']}",
            "percent": _number(values["shadow_percent"]),
            "daily_usd": _number(values["shadow_usd"]),
        }
    if values["expected_subjects"]:
        document["expected_subjects"] = _number(values["expected_subjects"])
    return document


def feedback_names(prompt: Prompt) -> list[str]:
    """Return the names of the feedback that has come lately."""
    return sorted(usage.usage_of_prompt(prompt).total.feedback)


def _versions(prompt: Prompt, environments: Sequence[Environment]) -> list[tuple[int, str, str]]:
    """Return the newest versions with their messages, and where each is approved and can be an arm."""
    approved: dict[int, set[str]] = {}
    released = Release.objects.filter(prompt=prompt, approvals__gte=1).values_list("version", "environment__name")
    waiting = Promotion.objects.filter(prompt=prompt, status=PromotionStatus.APPROVED)
    for key, name in (*released, *waiting.values_list("version", "environment__name")):
        approved.setdefault(key, set()).add(name)
    is_protected = any(environment.approvals_needed for environment in environments)
    rows = prompt.versions.order_by("-number").values_list("pk", "number", "message")[:MAX_VERSIONS_OFFERED]
    return [
        (number, message, ", ".join(sorted(approved.get(key, ()))) or ("nowhere" if is_protected else ""))
        for key, number, message in rows
    ]


def errors_of_faults(faults: Sequence[Fault]) -> dict[str, str]:
    """Return the faults of a document by the field of the form, each with what it is about."""
    errors = {}
    for fault in faults:
        field = FAULTS.get(fault.pointer, fault.pointer.strip("/").partition("/")[0])
        errors[field] = f"{LABELS[field]}: {fault.message}" if field in LABELS else fault.message
    return errors


def _margin(text: str) -> dict[str, Any]:
    return {"margin": _number(text)} if text else {}


def _number(text: str) -> Any:
    count = whole(text)
    number = decimal(text) if count is None else count
    return text if number is None else number


def values_of(record: ExperimentRecord, numbers: Mapping[str, int]) -> dict[str, str]:
    """Return a record as the form has it; `numbers` are those of its versions, by their references."""
    values = {
        "hypothesis": record.hypothesis,
        "metric": record.primary.name,
        "better": record.primary.better,
        "margin": _written(record.primary.margin) if record.primary.margin else "",
        "ramp": " ".join(map(str, record.ramp)),
        "step_hours": _written(record.step_hours),
        "expected_subjects": str(record.expected_subjects),
    }
    for number, arm in enumerate(record.arms, start=1):
        values |= {f"arm{number}": str(numbers.get(arm.version, "")), f"weight{number}": _written(arm.weight)}
    if record.shadow:
        values |= {
            "shadow": str(numbers.get(record.shadow.version, "")),
            "shadow_percent": _written(record.shadow.percent),
            "shadow_usd": _written(record.shadow.daily_usd),
        }
    for metric in record.guardrails:
        margin = _written(metric.margin) if metric.margin else ""
        values |= {f"guard_{metric.name}": "on", f"margin_{metric.name}": margin}
    return values


def _written(number: float) -> str:
    """Return a number as somebody would type it, with all its digits."""
    return f"{number:.8f}".rstrip("0").rstrip(".")
