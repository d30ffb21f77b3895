"""The pages of a config: programs that ask for its task, what they did, and its form."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from html import unescape
from typing import Any

from inference.configs import lifecycle as configs
from tests.conftest import Stage
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
