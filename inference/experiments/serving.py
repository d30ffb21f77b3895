"""What an experiment serves now, for whoever delivers prompts or calls models."""

from core.assignment import Arm, Split
from inference.calls.exposures import weight_at
from inference.experiments import runs
from inference.models import ExperimentArm, ExperimentRun
from registry.models import Environment, Project, Prompt


def split_of(run: ExperimentRun) -> Split:
    """Return what a run serves, at its step."""
    arms = served_arms(run)
    return Split(
        run=run.pk,
        step=run.step,
        salt=run.experiment.salt,
        baseline=f"v{run.baseline.number}",
        challengers=tuple(Arm(arm.name, weight_at(arm.weight, run.percent)) for arm in arms),
        stopped=frozenset(arm.name for arm in arms if arm.stopped_at is not None),
    )


def find_run(project: Project, name: str, environment: str) -> ExperimentRun | None:
    """Return the run that serves a prompt in an environment; None where there is none."""
    rows = runs.running(environment__project=project, environment__name=environment)
    return rows.filter(prompt__project=project, prompt__name=name).first()


def splits_in(environment: Environment) -> dict[str, tuple[Split, dict[str, int]]]:
    """Return what experiments serve in an environment, by the prompt's name: each with the versions of its arms (keys
    of rows) by their names."""
    splits = {}
    for run in runs.running(environment=environment):
        splits[run.prompt.name] = (split_of(run), versions_of(run))
    return splits


def versions_of(run: ExperimentRun) -> dict[str, int]:
    """Return the keys of the versions of a run's arms, by name; the baseline's among them."""
    return {f"v{run.baseline.number}": run.baseline_id, **{arm.name: arm.version_id for arm in served_arms(run)}}


def served_arms(run: ExperimentRun) -> list[ExperimentArm]:
    """Return the arms that subjects are served; a shadow is none."""
    return [arm for arm in run.arms.all() if not arm.is_shadow]


def split_for(project: Project, prompt: Prompt, environment: str) -> tuple[Split, dict[str, int]] | None:
    """Return what an experiment serves of a prompt in an environment, with the versions of its arms by name."""
    run = find_run(project, prompt.name, environment)
    return None if run is None else (split_of(run), versions_of(run))
