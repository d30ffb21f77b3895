"""What reported calls say of the experiment that they are a part of, checked against the run that they name."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from core.assignment import Arm, assign
from core.errors import Fault
from core.references import DEFAULT_ENVIRONMENT
from inference.models import ExperimentRun
from registry.models import Project, PromptVersion

# Of a service and of the registry.
CLOCKS_DIFFER = timedelta(minutes=5)


def runs_of_calls(project: Project, calls: Sequence[Mapping[str, Any] | None]) -> dict[int, ExperimentRun]:
    """Return the project's runs that calls name, by number."""
    numbers = {call["experiment"]["run"] for call in calls if call is not None and call["experiment"]}
    if not numbers:
        return {}
    rows = ExperimentRun.objects.filter(pk__in=numbers, experiment__project=project)
    return {
        run.pk: run for run in rows.select_related("baseline", "environment", "experiment").prefetch_related("arms")
    }


def faults_of(
    call: Mapping[str, Any], version: PromptVersion, runs: Mapping[int, ExperimentRun], pointer: str
) -> Iterable[Fault]:
    """Return what is wrong with the arm that a call says it was served."""
    exposure = call["experiment"]
    if not exposure:
        return
    run = runs.get(exposure["run"])
    if run is None:
        yield Fault(f"{pointer}/experiment/run", "unknown", f"There is no run {exposure['run']} of an experiment.")
        return
    arms = {
        f"v{run.baseline.number}": run.baseline_id,
        **{arm.name: arm.version_id for arm in run.arms.all() if not arm.is_shadow},
    }
    if (call["environment"] or DEFAULT_ENVIRONMENT) != run.environment.name:
        yield Fault(f"{pointer}/experiment/run", "other", f"That run is in {run.environment.name}.")
    if arms.get(exposure["arm"]) != version.pk:
        sentence = "Must be an arm of that run, and the call's prompt the arm's version."
        yield Fault(f"{pointer}/experiment/arm", "other", sentence)
    if not 1 <= exposure["step"] <= run.step:
        yield Fault(f"{pointer}/experiment/step", "range", f"That run has been at the steps 1 to {run.step}.")
        return
    if call["at"] is not None and call["at"] < run.started_at - CLOCKS_DIFFER:
        yield Fault(f"{pointer}/experiment/run", "range", "The call was made before that run began.")
    arm = assigned_arm(run, exposure["step"], call["subject"]) if call["subject"] else None
    if arm is not None and arm != exposure["arm"]:
        sentence = f"Its subject is in {arm} at that step: what was served is no part of the experiment."
        yield Fault(f"{pointer}/experiment/arm", "not_assigned", sentence)


def assigned_arm(run: ExperimentRun, step: int, subject: str) -> str:
    """Return the arm that a subject was in at a step of a run, before any was stopped."""
    percents = run.ramp
    arms = [Arm(arm.name, weight_at(arm.weight, percents[step - 1])) for arm in run.arms.all() if not arm.is_shadow]
    return assign(run.experiment.salt, subject, f"v{run.baseline.number}", arms)


def weight_at(weight: int, percent: int) -> int:
    """Return an approved weight at so many per cent of the ramp, in basis points."""
    return max(1, round(weight * percent / 100))


def members_of(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a call's row that say what it was a part of."""
    exposure = call["experiment"]
    if not exposure:
        return {}
    return {"experiment_run": exposure["run"], "experiment_step": exposure["step"], "arm": exposure["arm"]}
