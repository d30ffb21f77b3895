"""`manage.py up --local`: an instance with a real model beside it, here a tiny one."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.config.test_up import wait_until_gone
from tests.instance import ROOT, clean_environment, demo_home, start
from tests.tiny_model import write_tiny_model
from tests.waiting import soon

pytestmark = pytest.mark.slow


def test_with_a_local_model_everything_can_be_asked_and_tuned_by_it(tmp_path: Path):
    home = demo_home(tmp_path / "home")
    model = write_tiny_model(tmp_path / "Tiny Model.gguf")
    instance = start(home, "--local", LOCAL_MODEL=str(model))
    try:
        assert "local/tiny-model is a real model on this machine; its prices are assumptions." in instance.printed
        provider = instance.call("GET", "/api/v1/providers/local")[1]
        assert (provider["kind"], provider["is_simulation"]) == ("local", False)
        assert "fine_tuning" in provider["capabilities"]
        body = {
            "models": ["local/tiny-model"],
            "content": {"messages": [{"role": "user", "content": "{{ ticket }}"}]},
            "parameters": {"max_tokens": 5},
            "variables": {"ticket": "I paid twice"},
        }
        status, run = instance.call("POST", "/api/v1/prompts/support.triage/playground-runs", body)
        assert status == 201, run
        path = f"/api/v1/prompts/support.triage/playground-runs/{run['id']}"
        assert soon(lambda: instance.call("GET", path)[1]["answers"][0]["state"] == "done", 60)
        (answer,) = instance.call("GET", path)[1]["answers"]
        assert 1 <= answer["tokens_out"] <= 5
        assert not answer["is_simulation"]
    finally:
        assert instance.stop(signal.SIGTERM) == 0
    assert wait_until_gone(home) == []


@pytest.mark.parametrize(("name", "sentence"), [("missing", "There is no file"), ("text", "is no model in GGUF")])
def test_a_model_that_cannot_be_served_is_said_before_anything_starts(tmp_path: Path, name: str, sentence: str):
    (tmp_path / "text").write_text("no model")
    result = subprocess.run(
        [sys.executable, "manage.py", "up", "--local", "--home", str(tmp_path / "home")],
        cwd=ROOT,
        env=clean_environment(LOCAL_MODEL=str(tmp_path / name)),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 1
    assert sentence in result.stderr
    assert not (tmp_path / "home").exists()
