"""Experiments of the demo: one that its guardrail ended, and one that runs. Their calls are invented, flagged as a
simulation; the figures and what became of them are the product's own."""

import random
from datetime import timedelta

from django.utils import timezone

from core.references import DEFAULT_ENVIRONMENT
from inference.calls import feedback, storage
from inference.experiments import lifecycle, runs, serving, steering
from inference.models import ExperimentRun, FeedbackSource
from registry.accounts.permissions import Actor, actor_for_command_line
from registry.models import Prompt, PromptVersion
from registry.promotions import environments, workflow
from registry.prompts import versions

PROMPT = "support.answer"
# A fixed seed, so that every demo has the same calls.
SEED = 20261129
SUBJECTS = 900
BASELINE = "in at\nmost three sentences"
ENDED, RUNNING = "quote-the-handbook", "one-sentence"
# Arm's text in place of the baseline's, what is expected, and how helpful subjects find the baseline and the arm.
PLANS = {
    ENDED: ("in the words of the documents alone", "Quotes are trusted more than our own words.", (0.72, 0.48)),
    RUNNING: ("in one sentence, two where it must be", "Shorter answers are read to their end.", (0.72, 0.78)),
}


def seed(editor: Actor, reviewer: Actor) -> None:
    """Give the demo's question prompt two experiments, one after the other."""
    prompt = Prompt.objects.select_related("head").get(project=editor.project, name=PROMPT)
    prompt.project = editor.project
    for name, (text, hypothesis, rates) in PLANS.items():
        version = _approved_arm(editor, reviewer, prompt, text, hypothesis)
        run = _begin(editor, reviewer, name, version, hypothesis)
        _simulate(run, rates)
        steering.look(runs.get_run(editor.project, run.pk))


def _approved_arm(editor: Actor, reviewer: Actor, prompt: Prompt, text: str, hypothesis: str) -> PromptVersion:
    content = dict(prompt.versions.get(number=1).content)
    content["messages"] = [
        {**message, "content": message["content"].replace(BASELINE, text)} for message in content["messages"]
    ]
    version = versions.commit(editor, prompt, content=content, message=hypothesis).version
    production = environments.get_environment(editor.project, DEFAULT_ENVIRONMENT)
    promotion = workflow.request(editor, prompt, version, production, reason="To be an arm of an experiment.")
    workflow.approve(reviewer, promotion)
    return version


def _begin(editor: Actor, reviewer: Actor, name: str, version: PromptVersion, hypothesis: str) -> ExperimentRun:
    document = {
        "prompt": PROMPT,
        "baseline": f"{PROMPT}@{DEFAULT_ENVIRONMENT}",
        "arms": [{"version": f"{PROMPT}@{version.number}", "weight": 50}],
        "primary": {"metric": "feedback.helpful", "better": "higher", "margin": 0.05},
        "guardrails": [{"metric": "errors", "margin": 0.01}, {"metric": "latency_p95"}, {"metric": "cost"}],
        "ramp": [100],
        "hypothesis": hypothesis,
    }
    lifecycle.commit(editor, name, document)
    experiment = lifecycle.get_experiment(editor.project, name)
    production = environments.get_environment(editor.project, DEFAULT_ENVIRONMENT)
    promotion = lifecycle.propose(editor, experiment, production, reason=hypothesis)
    workflow.approve(reviewer, promotion)
    return runs.running(release=workflow.apply(editor, promotion)).get()


def _simulate(run: ExperimentRun, rates: tuple[float, float]) -> None:
    """Store a call of each subject, as the inference service would, and what the subject says of it; `rates` is how
    often the baseline and the arm are helpful."""
    rng = random.Random(f"{SEED} {run.experiment.name}")  # noqa: S311  # A demo's numbers, not secrets.
    split, keys = serving.split_of(run), serving.versions_of(run)
    now, calls, values = timezone.now(), [], []
    for number in range(SUBJECTS):
        subject = f"customer-{number}"
        arm = split.arm_of(subject) or split.baseline
        reference = f"demo-{run.experiment.name}-{number}"
        exposure = split.exposure(arm)
        calls.append(
            storage.new_call(
                project=run.experiment.project_id,
                version=keys[arm],
                environment=run.environment.name,
                reference=reference,
                at=now - timedelta(seconds=rng.uniform(0, 50)),
                model_name="sandbox-small",
                failed=rng.random() < 0.004,
                latency_ms=rng.lognormvariate(6.4, 0.3),
                tokens_in=900,
                tokens_out=rng.randint(20, 60),
                cost_usd=round(rng.uniform(0.0004, 0.0005), 8),
                subject=subject,
                is_simulation=True,
                experiment_run=exposure["run"],
                experiment_step=exposure["step"],
                arm=arm,
            )
        )
        about = {"call": reference, "name": "helpful", "source": FeedbackSource.SUBJECT.value}
        values.append({**about, "boolean": rng.random() < rates[arm != split.baseline]})
    storage.store(calls)
    feedback.record(actor_for_command_line(run.experiment.project), values)
