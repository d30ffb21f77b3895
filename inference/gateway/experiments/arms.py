"""Plans of experiments: beside the plan of what is live, one for the version of each arm."""

import logging
from dataclasses import dataclass, replace
from decimal import Decimal

from django.db import close_old_connections

from core.assignment import Split
from core.errors import Problem
from inference.configs.lifecycle import PREFIX
from inference.experiments import serving
from inference.gateway import plans
from inference.gateway.plans import Plan, Shadow
from inference.gateway.request_reading import TASK, Target
from inference.models import ExperimentArm, ExperimentRun
from registry.models import Project

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plans:
    """How a target is asked now: the plan of what is live, and where an experiment runs, those of its arms by name."""

    live: Plan
    split: Split | None = None
    arms: dict[str, Plan] | None = None

    def of(self, subject: str) -> Plan:
        """Return the plan for a subject, with what its record says of the experiment."""
        arm = self.split.arm_of(subject) if self.split else None
        plan = (self.arms or {}).get(arm or "")
        return self.live if plan is None else plan


def load_plans(project_id: int, target: Target) -> Plans:
    """Return how a target is asked now, or raise the Problem with it."""
    close_old_connections()
    return read_plans(Project.objects.get(pk=project_id), target)


def read_plans(project: Project, target: Target) -> Plans:
    """Return how a target of a project is asked now, or raise the Problem with it.

    An arm that cannot be asked for (its model is gone, say) is left out, and the log says so: its subjects get what is
    live, and are no part of the experiment.
    """
    live = plans.read_plan(project, target)
    name = f"{PREFIX}{target.name}" if target.kind == TASK else target.name
    run = serving.find_run(project, name, target.selector)
    if run is None:
        return Plans(live)
    live = replace(live, shadows=_shadows(project, target, run, live))
    split = serving.split_of(run)
    arms = {split.baseline: replace(live, exposure=split.exposure(split.baseline))}
    for arm in serving.served_arms(run):
        plan = None if arm.stopped_at else _plan_of(project, target, arm, live)
        if plan is not None:
            arms[arm.name] = replace(plan, exposure=split.exposure(arm.name))
    return Plans(live, split, arms)


def _shadows(project: Project, target: Target, run: ExperimentRun, live: Plan) -> tuple[Shadow, ...]:
    """Return what is asked beside the live version. What has no price has no budget, and is not asked."""
    shadows = []
    for arm in run.arms.all():
        plan = _plan_of(project, target, arm, live) if arm.is_shadow and arm.stopped_at is None else None
        if plan is not None and plan.route.price is None:
            logger.warning("gateway.arm_left_out run=%d arm=%s its model has no price", run.pk, arm.name)
        elif plan is not None:
            shadows.append(Shadow(arm.pk, replace(plan, fallback=None), arm.weight, arm.shadow_dollars or Decimal()))
    return tuple(shadows)


def _plan_of(project: Project, target: Target, arm: ExperimentArm, live: Plan) -> Plan | None:
    """Return the plan of an arm's version; None, and a line in the log, where it cannot be asked for."""
    try:
        plan = plans.read_plan(project, replace(target, selector=arm.version.content_hash))
    except Problem as problem:
        if problem.kind.status >= 500:
            # Nothing is wrong with the arm: what was before goes on to be served, and it is asked for again.
            raise
        logger.warning("gateway.arm_left_out run=%d arm=%s %s", arm.run_id, arm.name, problem.detail)
        return None
    return replace(plan, environment=live.environment)
