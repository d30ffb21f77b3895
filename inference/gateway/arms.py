"""Plans of experiments: beside the plan of what is live, one for the version of each arm."""

import logging
from dataclasses import dataclass, replace

from django.db import close_old_connections

from core.assignment import Split
from core.errors import Problem
from inference.configs.lifecycle import PREFIX
from inference.experiments import serving
from inference.gateway import plans
from inference.gateway.plans import Plan
from inference.gateway.request_reading import TASK, Target
from registry.models import Project, PromptVersion

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
    split, arms = serving.split_of(run), {}
    hashes = dict(
        PromptVersion.objects.filter(pk__in=serving.versions_of(run).values()).values_list("pk", "content_hash")
    )
    for arm, key in serving.versions_of(run).items():
        if arm in split.stopped:
            continue
        try:
            plan = live
            if arm != split.baseline:
                plan = plans.read_plan(project, replace(target, selector=hashes[key]))
            arms[arm] = replace(plan, environment=live.environment, exposure=split.exposure(arm))
        except Problem as problem:
            logger.warning("gateway.arm_left_out run=%d arm=%s %s", run.pk, arm, problem.detail)
    return Plans(live, split, arms)
