"""An experiment with two versions of a prompt, in a protected environment."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from core.assignment import Split
from inference.calls import log as call_log
from inference.experiments import lifecycle, runs, serving
from inference.models import Experiment, ExperimentRun
from registry.accounts import permissions
from registry.models import Promotion, Prompt, PromptVersion, Release
from registry.promotions import workflow
from tests.conftest import Stage


@dataclass
class Lab:
    """A prompt with a live version, an approved other one, and the experiment of both."""

    stage: Stage
    prompt: Prompt
    live: PromptVersion
    arm: PromptVersion
    arm_promotion: Promotion

    def document(self, **members: Any) -> dict[str, Any]:
        return {
            "prompt": self.prompt.name,
            "baseline": f"{self.prompt.name}@production",
            "arms": [{"version": f"{self.prompt.name}@{self.arm.number}", "weight": 50}],
            "primary": {"metric": "score"},
            "ramp": [100],
            **members,
        }

    def commit(self, name: str = "shorter", **members: Any) -> Experiment:
        experiment, _ = lifecycle.commit(self.stage.edith, name, self.document(**members))
        return experiment

    def release(self, experiment: Experiment, environment: str = "production") -> Release:
        """Edith asks, Rhea approves where it must be, Edith releases."""
        target = self.stage.environment(environment)
        experiment = lifecycle.get_experiment(self.stage.project, experiment.name)
        promotion = lifecycle.propose(self.stage.edith, experiment, target)
        if target.protected:
            workflow.approve(self.stage.rhea, promotion)
        return workflow.apply(self.stage.edith, promotion)

    def start(self, name: str = "shorter", **members: Any) -> ExperimentRun:
        release = self.release(self.commit(name, **members))
        return runs.running(release=release).get()

    def split(self, run: ExperimentRun) -> Split:
        return serving.split_of(runs.get_run(self.stage.project, run.pk))

    def report(self, calls: Iterable[Mapping[str, Any]]) -> None:
        service = permissions.Actor(self.stage.project, "service", frozenset({permissions.Right.OBSERVE}))
        rows = list(calls)
        for start in range(0, len(rows), 1_000):
            call_log.record(service, rows[start : start + 1_000])

    def calls(self, run: ExperimentRun, subjects: Iterable[str], **members: Any) -> list[dict[str, Any]]:
        """Return a call of each subject, with what `members` say; one that is a function is asked with the arm and the
        subject."""
        split = self.split(run)
        numbers = {f"v{self.live.number}": self.live.number, f"v{self.arm.number}": self.arm.number}
        documents = []
        for subject in subjects:
            arm = split.arm_of(subject)
            assert arm is not None
            own = {name: value(arm, subject) if callable(value) else value for name, value in members.items()}
            documents.append(
                {
                    "prompt": f"{self.prompt.name}@{numbers[arm]}",
                    "environment": "production",
                    "subject": subject,
                    "experiment": split.exposure(arm),
                    **own,
                }
            )
        return documents


def approve_arm(stage: Stage, version: PromptVersion) -> Promotion:
    """Request the promotion of a version, and approve it; it waits for its release."""
    promotion = workflow.request(stage.edith, version.prompt, version, stage.environment("production"))
    return workflow.approve(stage.rhea, promotion)


def make_lab(stage: Stage, name: str = "support.triage") -> Lab:
    prompt = stage.prompt(name)
    live = stage.commit(prompt, "Sort the ticket.")
    stage.release(live)
    arm = stage.commit(prompt, "Sort the ticket shortly.")
    return Lab(stage, prompt, live, arm, approve_arm(stage, arm))


@pytest.fixture
def lab(stage: Stage) -> Lab:
    return make_lab(stage)


def backdated(run: ExperimentRun, **by: float) -> ExperimentRun:
    """Let a run be at its step for longer."""
    ExperimentRun.objects.filter(pk=run.pk).update(stepped_at=timezone.now() - timedelta(**by))
    return runs.running(pk=run.pk).get()
