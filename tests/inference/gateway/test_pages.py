"""The pages of a config: programs that ask for its task, what they did, and its form."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from html import unescape
from typing import Any

from inference.configs import lifecycle as configs
from registry.prompts import versions
from tests.conftest import Stage
from tests.evaluations.conftest import make_model, routing
from tests.evaluations.runs.test_pages import client_of, text
from tests.inference.gateway.conftest import TICKET, GatewayProcess, recorded
from tests.sandbox import Running


def test_a_tasks_page_shows_programs_that_work_and_what_they_did(
    live_stage: Stage, live: Any, gateway: GatewayProcess, settings: Any, live_sandbox: Running
):
    settings.GATEWAY_URL = gateway.url
    record = {
        **{"strategy": "prompt", "model": "sandbox/sandbox-small", "prompt": "support.route", "input": "ticket"},
        "fallback": {"prompt": "support.route", "model": "sandbox/sandbox-small"},
    }
    _, version = configs.commit(live_stage.edith, "triage", record)
    live_stage.release(version.version)
    page = client_of(live_stage.edith)

    before = page.get("/p/paper/strategy/configs/triage/").content.decode()
    shown_programs = re.findall(r"<pre[^>]*>(.*?)</pre>", before, re.DOTALL)
    curl, python, typescript = (unescape(program).replace("YOUR KEY", gateway.token) for program in shown_programs[:3])
    outputs = [
        subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
        for command in (["/bin/bash", "-c", curl], [sys.executable, "-c", python])
    ]

    assert json.loads(outputs[0])["choices"][0]["message"]["content"] == outputs[1].strip()
    assert f'baseURL: "{gateway.url}/v1"' in typescript
    live_sandbox.fault("overloaded", count=2)
    gateway.client.chat.completions.create(model="task:triage", messages=[{"role": "user", "content": TICKET}])
    recorded(3)
    after = text(page.get("/p/paper/strategy/configs/triage/"))
    rows = re.findall(r"<tr>(.*?)</tr>", after.partition("The last day")[2], re.DOTALL)
    words = [re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", row)).split() for row in rows[1:]]
    assert [row[0] for row in words] == ["prompt", "fallback"]
    assert words[0][1:3] == ["2", "0"]
    assert words[1][1:4] == ["call.overloaded", "1", "1"]


def test_the_form_of_a_config_keeps_question_and_fallback(live_stage: Stage, live: Any):
    record = {
        **{"strategy": "prompt", "model": "sandbox/sandbox-small", "prompt": "support.route", "input": "ticket"},
        "fallback": {"prompt": "support.route", "model": "sandbox/sandbox-small"},
    }
    _, first = configs.commit(live_stage.edith, "triage", record)
    page = client_of(live_stage.edith)
    address = "/p/paper/strategy/configs/triage/"
    form = text(page.get(address)).partition("<h2>Next version</h2>")[2].partition("</form>")[0]
    values = dict(re.findall(r'name="(\w+)"\s+type="text"\s+value="([^"]*)"', form))
    values |= {"strategy": "prompt", "response_format": "text", "max_tokens": "50"}

    assert page.post(address, values).status_code == 302

    second = configs.get_config_version(configs.get_config(live_stage.project, "triage"), "latest").record
    assert second == replace(first.record, max_tokens=50)


def programs_of(page: str) -> list[str]:
    return [unescape(program) for program in re.findall(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL)[:3]]


def test_programs_send_the_variables_that_the_config_needs(live_stage: Stage, gateway: GatewayProcess, settings: Any):
    settings.GATEWAY_URL = gateway.url
    prompt = live_stage.prompt("support.two")
    content = routing(messages=[{"role": "user", "content": "{{ tone }}: {{ ticket }}"}])
    live_stage.release(versions.commit(live_stage.edith, prompt, content=content, message="").version)
    record = {"strategy": "prompt", "model": "sandbox/sandbox-small", "prompt": "support.two"}
    for task, members in (("both", record), ("one-beside", {**record, "input": "ticket"})):
        _, version = configs.commit(live_stage.edith, task, members)
        live_stage.release(version.version, "staging")
    page = client_of(live_stage.edith)

    for task in ("both", "one-beside"):
        address = f"/p/paper/strategy/configs/{task}/"
        curl, python, typescript = programs_of(page.get(address).content.decode())
        for command in (["/bin/bash", "-c", curl], [sys.executable, "-c", python]):
            filled = [part.replace("YOUR KEY", gateway.token) for part in command]
            assert subprocess.run(filled, capture_output=True, text=True, timeout=30, check=True).stdout
        assert f'"task:{task}@staging"' in typescript
        assert "It is live in staging, not in production." in text(page.get(address))
    assert {call.error for call in recorded(4)} == {""}


def test_a_page_says_what_the_service_would_not_do(live_stage: Stage, live: Any, live_sandbox: Running):
    make_model(live_stage)
    record = {"strategy": "prompt", "model": "sandbox/sandbox-small", "prompt": "support.route", "input": "question"}
    configs.commit(live_stage.edith, "triage", {**record, "fallback": {"prompt": "support.route", "model": "x/gone"}})
    configs.commit(live_stage.edith, "elsewhere", {**record, "model": "x/gone"})
    page = client_of(live_stage.edith)

    triage = text(page.get("/p/paper/strategy/configs/triage/"))
    assert "There is no fallback: No provider here has x/gone." in triage
    assert "The config takes the last message as question; support.route@1 has no such variable." in triage
    assert "It is live nowhere" in triage
    assert "would refuse it: No provider here has x/gone." in text(page.get("/p/paper/strategy/configs/elsewhere/"))
