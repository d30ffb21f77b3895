"""Live calls of the demo's prompt, as a service would report them: invented, and flagged as a simulation."""

import random
from collections.abc import Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from django.db import transaction
from django.utils import timezone

from core.references import DEFAULT_ENVIRONMENT, parse_reference
from evaluations.demo import PRICES, PROMPT
from evaluations.models import Case
from inference import demo_experiments
from inference.calls import feedback, storage
from inference.calls.storage import NewCall
from inference.models import Call, FeedbackSource
from inference.monitoring import monitors
from registry import demo
from registry.accounts.permissions import Actor, actor_for_command_line, actor_for_user
from registry.content import tokens
from registry.models import Project, Prompt, PromptVersion, User
from registry.promotions import approvals, environments, workflow
from registry.prompts import resolution

DAYS = 14
CALLS_A_DAY = 700
MODEL = "sandbox-small"
# A fixed seed, so that every demo has the same calls.
SEED = 20261130
BATCH = 2_000
RATED_ONE_IN = 12


@transaction.atomic
def seed(_credentials_file: Path) -> bool:
    """Give the demo's prompt two weeks of calls, unless it has some; returns whether they were created."""
    project = Project.objects.filter(slug=demo.PROJECT).first()
    if project is None or Call.objects.filter(project=project).exists():
        return False
    editor = actor_for_user(User.objects.get(username="editor"), project)
    version = _live(project, editor)
    # Read before the copy, during which the connection is busy.
    cases = Case.objects.filter(dataset__project=project).exclude(label="").order_by("id")[:500]
    tickets = [(tokens.count(str(case.variables)).tokens, case.label) for case in cases] or [(30, "")]
    calls = list(_calls(version, tickets))
    for start in range(0, len(calls), BATCH):
        storage.store(calls[start : start + BATCH])
    _rate(project, [call["reference"] for call in calls[-7 * CALLS_A_DAY :: RATED_ONE_IN]])
    monitors.create(editor, version.prompt, figure="latency_p99", bound=1_500)
    monitors.create(editor, version.prompt, figure="format_rate", bound=0.98)
    demo_experiments.seed(editor, actor_for_user(User.objects.get(username="reviewer"), project))
    return True


def _live(project: Project, editor: Actor) -> PromptVersion:
    """Return the version that is live in production; the newest is released where there is none."""
    prompt = Prompt.objects.select_related("head").get(project=project, name=PROMPT)
    production = environments.get_environment(project, DEFAULT_ENVIRONMENT)
    live = approvals.live_release(production, prompt)
    if live is None:
        prompt.project = project
        version = resolution.resolve(project, parse_reference(f"{PROMPT}@latest"))
        promotion = workflow.request(editor, prompt, version, production, reason="Sorts tickets by team")
        reviewer = actor_for_user(User.objects.get(username="reviewer"), project)
        workflow.approve(reviewer, promotion)
        workflow.apply(editor, workflow.get_promotion(project, promotion.pk))
        return version
    return live.version


def _calls(version: PromptVersion, tickets: Sequence[tuple[int, str]]) -> Iterator[NewCall]:
    rng = random.Random(SEED)  # noqa: S311  # A demo's numbers, not secrets.
    price = {name: Decimal(value) for name, value in PRICES[MODEL].items()}
    now = timezone.now()
    number = 0
    for days in range(DAYS, -1, -1):
        morning = (now - timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)
        weekend = 0.4 if morning.weekday() >= 5 else 1.0
        for _ in range(round(CALLS_A_DAY * weekend * rng.uniform(0.9, 1.1))):
            at = morning + _moment(rng)
            if at > now:
                continue
            number += 1
            length, label = rng.choice(tickets)
            tokens_in, tokens_out = version.tokens + length, rng.randint(14, 30)
            cost = (tokens_in * price["input"] + tokens_out * price["output"]) / 1_000_000
            failed = rng.random() < 0.004
            yield storage.new_call(
                project=version.prompt.project_id,
                version=version.pk,
                environment=DEFAULT_ENVIRONMENT,
                reference=f"demo-{number}",
                at=at,
                model_name=MODEL,
                failed=failed,
                latency_ms=rng.lognormvariate(6.1, 0.35),
                tokens_in=tokens_in,
                tokens_out=tokens_out,
                cost_usd=round(cost, 8),
                format_ok=None if failed else rng.random() < 0.93,
                label=label,
                is_simulation=True,
            )


def _rate(project: Project, references: Sequence[str]) -> None:
    """Give calls the feedback of their subjects; invented, as the calls are."""
    rng = random.Random(SEED)  # noqa: S311  # A demo's numbers, not secrets.
    actor = actor_for_command_line(project)
    about = {"name": "helpful", "source": FeedbackSource.SUBJECT.value}
    feedback.record(actor, [{**about, "call": reference, "boolean": rng.random() < 0.8} for reference in references])


def _moment(rng: random.Random) -> timedelta:
    """Draw a time of the day, most often in the afternoon."""
    return timedelta(seconds=min(86_399.0, max(0.0, rng.gauss(14, 3.5) * 3_600)))
