"""Prompts of other products come in: dry, for good, again, and in part."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from core.references import HASH
from evaluations.datasets import imports
from evaluations.models import Dataset, DatasetImport
from registry.models import AuditEntry, Prompt, PromptVersion
from tests.conftest import ApiFor, Stage
from tests.evaluations.runs.test_pages import client_of

LANGFUSE: list[dict[str, Any]] = [
    {"name": "Tone", "version": 1, "prompt": "Be kind, {{user.name}}.", "labels": ["production", "latest"]},
    {"name": "Support/Greet", "version": 1, "prompt": [{"role": "user", "content": "Hi"}], "tags": ["support"]},
    {
        "name": "Support/Greet",
        "version": 2,
        "prompt": [{"role": "system", "content": "@@@langfusePrompt:name=Tone|label=production@@@"}],
        "config": {"model": "gpt-5-mini", "temperature": 0.3},
    },
    {"name": "Broken", "version": 1, "prompt": [{"role": "judge", "content": "x"}]},
]
PROMPTFOO = """
prompts: ["Sort this: {{ticket}}", "{% for x in range(10) %}{{ loop.cycle('a') }}{% endfor %}"]
tests:
  - {vars: {ticket: I want my money back}, assert: [{type: equals, value: refund}]}
  - {vars: {ticket: The site is down}, assert: [{type: equals, value: incident}, {type: javascript, value: "1"}]}
"""


def post(api: APIClient, **body: Any) -> dict[str, Any]:
    answer = api.post("/api/v1/imports", body)
    assert answer.status_code == 200, answer.json()
    document: dict[str, Any] = answer.json()
    return document


def outcomes(answer: dict[str, Any]) -> dict[str, str]:
    return {prompt["source"]: prompt["outcome"] for prompt in answer["prompts"]}


EVERYTHING = {"Tone": "created", "Support/Greet": "created", "Broken": "refused"}


def test_a_dry_run_shows_all_of_it_and_keeps_nothing(api: APIClient, stage: Stage):
    before = AuditEntry.objects.count()

    preview = post(api, source="langfuse", document=LANGFUSE, dry_run=True)

    assert outcomes(preview) == EVERYTHING
    assert (Prompt.objects.count(), AuditEntry.objects.count()) == (0, before)


def test_prompts_come_in_with_their_versions_and_once(api: APIClient, stage: Stage):
    first = post(api, source="langfuse", document=LANGFUSE)

    assert outcomes(first) == EVERYTHING
    by_name = {prompt["name"]: prompt for prompt in first["prompts"]}
    assert {name: len(prompt["versions"]) for name, prompt in by_name.items()} == {
        "tone": 1,
        "broken": 0,
        "support.greet": 2,
    }
    assert by_name["tone"]["versions"][0]["labels"] == ["production"]
    assert by_name["tone"]["versions"][0]["notes"] == ["user.name is named user_name here."]
    assert by_name["broken"]["refusal"]["code"] == "content.invalid"
    assert HASH.fullmatch(by_name["support.greet"]["versions"][1]["hash"])
    version = PromptVersion.objects.get(prompt__name="support.greet", number=2)
    assert version.content["includes"] == {"tone@latest": by_name["tone"]["versions"][0]["hash"]}
    assert version.content["model"] == {"name": "gpt-5-mini", "temperature": 0.3}
    assert version.prompt.tags == ["support"]
    rows = PromptVersion.objects.count()

    again = post(api, source="langfuse", document=LANGFUSE)

    assert outcomes(again) == {"Tone": "known", "Support/Greet": "known", "Broken": "refused"}
    assert not any(version["is_new"] for prompt in again["prompts"] for version in prompt["versions"])
    assert PromptVersion.objects.count() == rows == 3


def test_a_prompt_whose_last_version_is_refused_does_not_come_in_by_half(api: APIClient, stage: Stage):
    rows = [{"name": "x", "version": 1, "prompt": "good"}, {"name": "x", "version": 2, "prompt": "y" * 200_000}]

    assert outcomes(post(api, source="langfuse", document=rows)) == {"x": "refused"}
    assert not Prompt.objects.exists()


def test_prompts_that_include_each_other_are_refused(api: APIClient, stage: Stage):
    def text(other: str) -> str:
        return f"@@@langfusePrompt:name={other}|label=production@@@"

    rows = [{"name": "a", "version": 1, "prompt": text("b")}, {"name": "b", "version": 1, "prompt": text("a")}]

    assert outcomes(post(api, source="langfuse", document=rows)) == {"a": "refused", "b": "refused"}


def test_tests_of_promptfoo_become_a_dataset(api: APIClient, stage: Stage):
    preview = post(api, source="promptfoo", document=PROMPTFOO, dataset="tickets", dry_run=True)

    assert (preview["tests"]["count"], preview["tests"]["address"]) == (2, None)
    assert "javascript" in preview["tests"]["left_out"][0]
    assert not Dataset.objects.exists()

    done = post(api, source="promptfoo", document=PROMPTFOO, dataset="tickets", names={"prompt-1": "support.sort"})

    assert outcomes(done) == {"prompt-1": "created", "prompt-2": "refused"}
    upload = DatasetImport.objects.get()
    assert done["tests"]["address"] == f"/api/v1/datasets/tickets/imports/{upload.pk}"
    imports.read_file(upload)
    upload.refresh_from_db()
    assert (upload.state, upload.rows_added) == ("done", 2)
    assert PromptVersion.objects.get().prompt.name == "support.sort"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"source": "humanloop", "document": "x"}, "request.invalid"),
        ({"source": "openai"}, "request.invalid"),
        ({"source": "openai", "document": "nothing"}, "exchange.unreadable"),
        ({"source": "openai", "document": None}, "request.invalid"),
        ({"source": "openai", "document": {"input": "x"}, "dataset": "d"}, "request.invalid"),
        ({"source": "promptfoo", "document": PROMPTFOO, "dataset": "Not a name"}, "dataset.invalid_name"),
        ({"source": "openai", "document": {"input": "x"}, "names": {"a": 1}}, "request.invalid"),
    ],
)
def test_what_cannot_be_read_is_refused_and_keeps_nothing(api: APIClient, stage: Stage, body: Any, code: str):
    answer = api.post("/api/v1/imports", body)

    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert not Prompt.objects.exists()


def test_a_file_that_stands_for_millions_of_tests_is_refused(api: APIClient, stage: Stage):
    many = ", ".join(map(str, range(32)))
    text = f"prompts: ['Sort {{{{a}}}}']\ntests:\n  - &t {{vars: {{a: [{many}], b: [{many}]}}}}\n" + "  - *t\n" * 30
    answer = api.post("/api/v1/imports", {"source": "promptfoo", "document": text, "dataset": "d"})
    assert (answer.status_code, answer.json()["code"]) == (400, "dataset.unreadable")
    assert "write them out" in answer.json()["detail"]
    assert not Prompt.objects.exists()


def test_a_reader_brings_nothing_in(api_for: ApiFor, stage: Stage):
    answer = api_for(stage.edith, scopes=["read"]).post(
        "/api/v1/imports", {"source": "openai", "document": {"input": "x"}}
    )

    assert (answer.status_code, answer.json()["code"]) == (403, "access.denied")


def test_the_page_previews_takes_names_and_imports(stage: Stage):
    client = client_of(stage.edith)
    form = {"source": "openai", "document": json.dumps({"id": "pmpt_9", "input": "Say {{word}} <b>"})}

    page = client.post("/p/paper/import-prompts/", {**form, "action": "preview"}).content.decode()

    assert "Nothing is saved yet" in page
    assert "pmpt_9" in page
    assert not Prompt.objects.exists()
    named = {"source_name": "pmpt_9", "prompt_name": "support.say"}
    done = client.post("/p/paper/import-prompts/", {**form, **named, "action": "import"}).content.decode()
    assert "1 version of 1 prompt imported" in " ".join(done.split())
    assert "/p/paper/prompts/support.say/" in done
    wrong = client.post("/p/paper/import-prompts/", {"source": "openai", "document": "{{ <b>", "action": "preview"})
    assert wrong.status_code == 400
    assert "{{ &lt;b&gt;" in wrong.content.decode()
    assert client_of(stage.vera).get("/p/paper/import-prompts/").status_code == 403


def test_the_command_brings_a_file_in(stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "export.json"
    path.write_text(json.dumps(LANGFUSE[:3]), encoding="utf-8")
    options = [str(path), "--from", "langfuse", "--project", "paper"]

    call_command("import", *options, "--dry-run")
    assert not Prompt.objects.exists()
    call_command("import", *options)
    assert 'created  "Tone" -> tone: version 1' in capsys.readouterr().out
    call_command("import", *options)
    assert 'known    "Tone" -> tone: version 1 already' in capsys.readouterr().out
    path.write_text(json.dumps(LANGFUSE), encoding="utf-8")
    with pytest.raises(CommandError, match="1 of 3 prompts were refused"):
        call_command("import", *options)
    with pytest.raises(CommandError, match="--project"):
        call_command("import", str(path), "--from", "langfuse")
