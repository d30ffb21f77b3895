"""Cuebook with its local engine: registered, tuned by an ordinary job, measured; real llama.cpp, a tiny model."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import Problem
from evaluations import tasks
from evaluations.models import Capability, ProviderKind
from evaluations.providers import configuration as providers
from evaluations.providers.connection_test import check_connection
from finetunes.jobs import lifecycle as jobs
from finetunes.jobs import local_engine, provider_settings, tuned_models
from finetunes.models import FineTune, TrainingSet
from finetunes.providers.states import JobState
from registry.accounts import permissions
from registry.models import Project
from tests.conftest import Stage
from tests.evaluations.runs.test_pages import client_of
from tests.finetunes.conftest import is_over, step
from tests.local_engine import KEY, Engine, running_engine
from tests.tiny_model import write_tiny_model

PATIENCE_SECONDS = 120


@pytest.fixture
def engine(settings: Any, tmp_path: Path) -> Iterator[Engine]:
    model = write_tiny_model(tmp_path / "tiny.gguf")
    with running_engine(model, tmp_path / "engine", context=2048) as running:
        settings.LOCAL_URL, settings.LOCAL_KEY = running.url, KEY
        yield running


def test_it_is_registered_with_what_it_says_of_itself(stage: Stage, engine: Engine):
    model = local_engine.register(stage.ada)
    provider = model.provider
    assert (provider.name, provider.kind, provider.is_simulation) == ("local", ProviderKind.LOCAL, False)
    assert provider.max_concurrency == 2
    assert Capability.FINE_TUNING in provider.capabilities
    assert provider_settings.settings_for(provider).protocol == "local"
    assert model.prices.get().source == "assumed: no bill is sent"

    providers.set_price(stage.ada, model, {"input": "0", "output": "0"})
    assert local_engine.register(stage.ada) == model
    price = providers.price_of(model)
    assert price is not None
    assert price.input == 0


def test_one_that_is_added_by_hand_is_tested_like_any_other(stage: Stage, engine: Engine):
    provider = providers.create(stage.ada, name="mine", kind="local")
    assert Capability.FINE_TUNING in provider.capabilities
    tested = check_connection(provider, "tiny")
    assert tested.test_passed
    assert "It takes 2 calls at a time." in tested.test_result
    assert [model.name for model in tested.models.all()] == ["tiny"]

    with pytest.raises(Problem, match="has the local engine already"):
        providers.create(stage.ada, name="second", kind="local")
    providers.archive(stage.ada, provider)
    providers.create(stage.ada, name="second", kind="local")
    with pytest.raises(Problem, match="has the local engine already"):
        providers.restore(stage.ada, provider)


def test_it_has_no_address_and_no_key(stage: Stage):
    for member in ({"base_url": "http://127.0.0.1:9/v1"}, {"key": "sk-1"}):
        with pytest.raises(Problem, match="no address and no key") as refusal:
            providers.create(stage.ada, name="mine", kind="local", **member)
        assert refusal.value.faults[0].pointer == f"/{next(iter(member))}"
    provider = providers.create(stage.ada, name="mine", kind="local")
    for member in ({"base_url": "http://127.0.0.1:9/v1"}, {"key": "sk-1"}):
        with pytest.raises(Problem, match="no address and no key"):
            providers.change(stage.ada, provider, **member)


def test_without_an_engine_it_is_refused(stage: Stage, settings: Any):
    settings.LOCAL_URL = ""
    with pytest.raises(Problem, match="make local"):
        local_engine.register(stage.ada)
    settings.LOCAL_URL = "http://127.0.0.1:9/v1"
    with pytest.raises(Problem, match="does not answer"):
        local_engine.register(stage.ada)
    with pytest.raises(Problem) as refusal:
        providers.create(stage.ada, name="odd", kind="imaginary")
    assert refusal.value.faults[0].pointer == "/kind"


def test_its_own_settings_are_refused_elsewhere(stage: Stage, engine: Engine, training_set: TrainingSet):
    sandbox = providers.create(
        stage.ada, name="sandbox", kind="sandbox", capabilities=[Capability.CHAT, Capability.FINE_TUNING]
    )
    elsewhere = providers.add_model(stage.ada, sandbox, "sandbox-small")
    here = local_engine.register(stage.ada)
    for hyperparameters in ({"rank": 4}, {"layers": 2}):
        with pytest.raises(Problem, match="Sandbox takes no"):
            jobs.draft(stage.edith, training_set, elsewhere, hyperparameters=hyperparameters)
        jobs.draft(stage.edith, training_set, here, hyperparameters=hyperparameters)
    with pytest.raises(Problem, match="from 1 to 128"):
        jobs.draft(stage.edith, training_set, here, hyperparameters={"rank": 1_000})
    page = client_of(stage.edith).get(f"/p/{stage.project.slug}/training-sets/{training_set.pk}/")
    assert "how many are tuned, from the last" in page.content.decode()


def test_a_job_of_the_product_from_a_draft_to_a_measured_model(stage: Stage, engine: Engine, training_set: TrainingSet):
    model = local_engine.register(stage.ada)
    draft = jobs.draft(stage.edith, training_set, model, hyperparameters={"rank": 4, "layers": 2})
    done = wait(jobs.submit(stage.edith, draft))
    assert (done.hyperparameters["rank"], done.hyperparameters["layers"]) == (4, 2)
    assert done.state == JobState.SUCCEEDED, done.error
    assert not done.is_simulation
    assert done.checkpoints.count() == done.hyperparameters["n_epochs"]
    assert done.points.filter(values__has_key="valid_loss").count() == done.hyperparameters["n_epochs"]
    tuned = tuned_models.tuned_model_of_job(done)
    assert tuned is not None
    # Its own project has it, and another one of the same engine is not told of it.
    assert check_connection(model.provider).models.filter(name=tuned.remote_name).exists()
    elsewhere = permissions.actor_for_command_line(Project.objects.create(name="Elsewhere", slug="elsewhere"))
    theirs = check_connection(local_engine.register(elsewhere).provider)
    assert [row.name for row in theirs.models.all()] == ["tiny"]
    runs = tuned_models.measure(tuned)
    for run in runs:
        tasks.work_on_run(run.pk)
        tasks.sum_up_run(run.pk)
        run.refresh_from_db()
        assert run.state == "done"
        assert run.tokens_in > 0


def wait(job: FineTune) -> FineTune:
    """Take steps for as long as the trainer works: nothing is simulated here, so it takes its time."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not is_over(job):
        assert time.monotonic() < until, job.note
        time.sleep(0.2)
        job = step(job)
    return job
