"""An experiment from its approval to its end: 4,000 subjects through the client and the inference service, a model
whose answers differ by version, and figures that SQL over the raw calls gives as well."""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest
from cuebook import Cuebook
from django.db import connection

from inference.calls import feedback
from inference.experiments import figures, lifecycle, runs, serving, steering
from inference.models import Call, ExperimentRun
from inference.monitoring import alerts
from registry.accounts import api_keys, permissions
from registry.models import PromptVersion, Release
from registry.promotions import workflow
from registry.prompts import versions
from tests.conftest import Stage
from tests.evaluations.conftest import routing
from tests.front import django_alone
from tests.inference.experiments.conftest import approve_arm
from tests.inference.gateway.conftest import GatewayProcess, recorded, until
from tests.sandbox import Running

PROMPT = "support.route"
KINDS = [("The site is down", "incident"), ("I was charged twice", "billing"), ("How do I export?", "how-to")]
SUBJECTS, ROUND = 4_000, 500
BY_SUBJECT = """
SELECT arm, count(*), sum(value), sum(value ^ 2) FROM (
    SELECT call.arm, call.subject, avg({value}) AS value
    FROM inference_call AS call {source}
    WHERE call.experiment_run = %(run)s AND call.experiment_step = %(step)s AND {value} IS NOT NULL
    GROUP BY call.arm, call.subject
) AS subjects GROUP BY arm
"""
CORRECT = {
    "value": "said.value",
    "source": "JOIN inference_feedback AS said ON said.project_id = call.project_id AND said.call = call.reference",
}
COST = {"value": "call.cost_usd::float8", "source": ""}


@dataclass
class Traffic:
    """What services do: half of them render with the client and ask the model themselves, half ask the inference
    service. Each says afterwards whether the answer was right."""

    stage: Stage
    url: str
    token: str
    client: Cuebook
    gateway: GatewayProcess
    model: openai.OpenAI
    served: dict[str, str] = field(default_factory=dict)
    judgments: list[dict[str, Any]] = field(default_factory=list)
    # Calls beside those of the subjects.
    probes: int = 0

    def send(self, numbers: Sequence[int]) -> None:
        with ThreadPoolExecutor(6) as threads:
            reports = list(threads.map(self._ask_model, [number for number in numbers if number % 2]))
        answer = httpx.post(
            f"{self.url}/api/v1/calls",
            json={"calls": reports},
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=60,
        )
        assert answer.status_code == 202, answer.text
        asyncio.run(self._ask_gateway([number for number in numbers if not number % 2]))

    def _ask_model(self, number: int) -> dict[str, Any]:
        subject, (ticket, label) = f"user-{number}", KINDS[number % 3]
        prompt = self.client.get(PROMPT, subject=subject)
        answer = self.model.chat.completions.create(**prompt.render(ticket=f"{ticket} ({number})"))
        assert answer.usage
        self.served[subject] = str(prompt.experiment["arm"]) if prompt.experiment else ""
        self._judge(f"own-{number}", answer.choices[0].message.content == label)
        return {
            "id": f"own-{number}",
            "prompt": f"{PROMPT}@{prompt.hash}",
            "environment": "production",
            "model": "sandbox-small",
            "tokens_in": answer.usage.prompt_tokens,
            "tokens_out": answer.usage.completion_tokens,
            "subject": subject,
            "experiment": prompt.experiment,
        }

    async def _ask_gateway(self, numbers: Sequence[int]) -> None:
        turns = asyncio.Semaphore(8)
        async with openai.AsyncOpenAI(base_url=f"{self.gateway.url}/v1", api_key=self.gateway.token) as client:

            async def ask(number: int) -> None:
                subject, (ticket, label) = f"user-{number}", KINDS[number % 3]
                messages: Any = [{"role": "user", "content": f"{ticket} ({number})"}]
                async with turns:
                    raw = await client.chat.completions.with_raw_response.create(
                        model=f"prompt:{PROMPT}", messages=messages, extra_body={"cuebook": {"subject": subject}}
                    )
                self.served[subject] = raw.headers.get("X-Cuebook-Arm", "")
                self._judge(raw.headers["X-Cuebook-Call"], raw.parse().choices[0].message.content == label)

            await asyncio.gather(*map(ask, numbers))

    def _judge(self, call: str, is_right: bool) -> None:
        self.judgments.append({"call": call, "name": "correct", "boolean": is_right})

    def judge(self) -> None:
        service = permissions.Actor(self.stage.project, "service", frozenset({permissions.Right.OBSERVE}))
        feedback.record(service, self.judgments)
        self.judgments.clear()


@pytest.fixture
def traffic(
    live_stage: Stage, gateway: GatewayProcess, live_sandbox: Running, settings: Any, tmp_path: Path
) -> Iterator[Traffic]:
    actor = permissions.actor_for_command_line(live_stage.project)
    token = api_keys.issue(actor, name="services", scopes=["read", "observe"])[1]
    commit(live_stage, KINDS[:2], "Sort the ticket.")
    with (
        django_alone() as url,
        Cuebook(url, token, refresh_seconds=3_600, timeout=30, cache_dir=tmp_path / "copies") as client,
        openai.OpenAI(base_url=live_sandbox.url, api_key=settings.SANDBOX_KEY) as model,
    ):
        yield Traffic(live_stage, url, token, client, gateway, model)


def commit(stage: Stage, examples: Sequence[tuple[str, str]], system: str) -> PromptVersion:
    """Commit a version that knows these kinds of tickets; the first is released."""
    shots = [
        {"role": role, "content": text}
        for ticket, label in examples
        for role, text in (("user", ticket), ("assistant", label))
    ]
    content = routing()
    content["messages"] = [{"role": "system", "content": system}, *shots, content["messages"][-1]]
    prompt = stage.project.prompts.filter(name=PROMPT).first() or stage.prompt(PROMPT)
    version = versions.commit(stage.edith, prompt, content=content, message=system[:40]).version
    if version.number == 1:
        stage.release(version)
    return version


def begin(stage: Stage) -> ExperimentRun:
    """Approve a wordy arm and one that knows all kinds, and the experiment of both."""
    wordy = commit(stage, KINDS[:2], "Sort the ticket. " + "Be careful, and think of all that may be meant. " * 60)
    right = commit(stage, KINDS, "Sort the ticket.")
    for version in (wordy, right):
        approve_arm(stage, version)
    document = {
        "prompt": PROMPT,
        "baseline": f"{PROMPT}@production",
        "arms": [{"version": f"{PROMPT}@{version.number}", "weight": 30} for version in (wordy, right)],
        "primary": {"metric": "feedback.correct", "better": "higher"},
        "guardrails": [{"metric": "errors", "margin": 0.01}, {"metric": "cost", "margin": 0.0002}],
        "ramp": [50, 100],
        "step_hours": 0,
    }
    lifecycle.commit(stage.edith, "all-kinds", document)
    experiment = lifecycle.get_experiment(stage.project, "all-kinds")
    promotion = lifecycle.propose(stage.edith, experiment, stage.environment("production"))
    workflow.approve(stage.rhea, promotion)
    return runs.running(release=workflow.apply(stage.edith, promotion)).get()


def raw(run: ExperimentRun, **parts: str) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(BY_SUBJECT.format(**parts), {"run": run.pk, "step": run.step})
        return {arm: pytest.approx((n, total, squares)) for arm, n, total, squares in cursor.fetchall()}


def sums_of(read: figures.RunFigures, metric: str) -> dict[str, Any]:
    return {
        arm.name: (arm.sums[metric].n, arm.sums[metric].total, arm.sums[metric].squares)
        for arm in (read.baseline, *read.arms)
        if metric in arm.sums
    }


def test_from_its_approval_to_its_end(traffic: Traffic, live_stage: Stage):
    stage = live_stage
    run = begin(stage)
    traffic.client.refresh()
    first = serving.split_of(run)
    wait_for_service(traffic, run)
    sent = 0
    for start in range(0, SUBJECTS, ROUND):
        run = runs.get_run(stage.project, run.pk)
        split = serving.split_of(run)
        subject = next(f"user-{n}" for n in range(SUBJECTS) if split.arm_of(f"user-{n}") == "v3")
        assert traffic.client.get(PROMPT, subject=subject).number == 3
        traffic.send(range(start, start + ROUND))
        sent += ROUND
        recorded(sent + traffic.probes)
        traffic.judge()
        served = {name: arm for name, arm in traffic.served.items() if int(name[5:]) >= start}
        # Both ways, and the registry, assign alike; a step that the service had not heard of yet is a moment.
        assert served == {name: split.arm_of(name) or "" for name in served}
        steering.look_at_all()
        traffic.client.refresh()
        wait_for_service(traffic, runs.get_run(stage.project, run.pk))

    run = runs.get_run(stage.project, run.pk)
    wordy = run.arms.get(name="v2")
    # The wrong arm was taken back by its guardrail, soon, and everybody is told.
    assert "cost" in wordy.stop_reason
    assert Call.objects.filter(arm="v2").count() < ROUND
    assert [alert.event.kind for alert in alerts.open_alerts(stage.project)] == ["stopped"]
    assert run.step == 2
    assert first.salt == serving.split_of(run).salt
    # The figures are those of SQL over the raw calls.
    read = figures.read(run)
    assert sums_of(read, "feedback.correct") == raw(run, **CORRECT)
    assert sums_of(read, "cost") == raw(run, **COST)
    assert not read.is_mismatched
    assert read.mixed == 0
    # The right one was proposed; its promotion is an ordinary one, approved before, and released by a person.
    (proposed,) = run.events.filter(kind="proposed")
    assert proposed.arm == "v3"
    assert run.promotion is not None
    workflow.apply(stage.edith, run.promotion)
    run.refresh_from_db()
    assert run.end_reason == "Version 3 was released."
    traffic.client.refresh()
    assert (traffic.client.get(PROMPT, subject="user-1").number, traffic.client.get(PROMPT).number) == (3, 3)
    assert Release.objects.filter(prompt__name=PROMPT).order_by("-id")[0].version.number == 3


def wait_for_service(traffic: Traffic, run: ExperimentRun) -> None:
    """Wait until the inference service serves what was decided."""
    split = serving.split_of(run)
    expected = {f"user-{n}": split.arm_of(f"user-{n}") or "" for n in range(40)}

    def served(subject: str) -> str:
        traffic.probes += 1
        return traffic.gateway.client.chat.completions.with_raw_response.create(
            model=f"prompt:{PROMPT}",
            messages=[{"role": "user", "content": "Hello"}],
            extra_body={"cuebook": {"subject": subject}},
        ).headers.get("X-Cuebook-Arm", "")

    for subject, arm in expected.items():
        assert until(lambda subject=subject: served(subject), arm)
