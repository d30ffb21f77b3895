"""Export and import: one readable file a prompt, lossless, and safe to repeat."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from registry.models import Prompt, PromptVersion
from registry.prompts import lifecycle as prompts
from registry.prompts import versions
from tests.conftest import Stage


@pytest.fixture
def written(stage: Stage, tmp_path: Path) -> Path:
    """Three prompts, one with a history, one with a pin on an old version of another; exported."""
    tone = stage.prompt("shared.tone")
    stage.release(stage.commit(tone, "Be kind\n"))
    stage.commit(tone, "Be brief")
    triage = prompts.create(stage.edith, name="support.triage", description="Sorts.\n\nTickets: yes", tags=["b", "a"])
    stage.commit(triage, "One", model={"temperature": 0.1})
    schema = {"format": "json_schema", "schema": {"type": "object"}}
    variables = {"x": {"default": 1, "type": "integer"}}
    stage.commit(triage, "{% include 'shared.tone' %}\n=== user ===\n", response=schema, variables=variables)
    versions.commit(stage.edith, stage.prompt("text"), content={"kind": "text", "text": "\n\n  x  \n"})
    prompts.archive(stage.edith, stage.prompt("gone"))
    run("export", "--project", "paper", str(tmp_path))
    return tmp_path


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def state(slug: str) -> dict[str, Any]:
    rows = Prompt.objects.filter(project__slug=slug, archived_at=None)
    newest = {row.name: row.versions.order_by("-number").first() for row in rows}
    return {
        row.name: (row.description, row.tags, newest[row.name].content_hash, newest[row.name].message)  # type: ignore[union-attr]
        for row in rows
    }


def test_a_prompt_is_one_readable_file(written: Path):
    assert sorted(path.relative_to(written).as_posix() for path in written.rglob("*.*") if path.is_file()) == [
        "history/shared.tone/0001.md",
        "project.yaml",
        "shared.tone.md",
        "support.triage.md",
        "text.md",
    ]
    text = (written / "support.triage.md").read_text()
    assert text.startswith("---\nprompt: support.triage\nnumber: 2\nhash: sha256:")
    assert "description: |-\n  Sorts.\n" in text
    assert "=== system ===\n{% include 'shared.tone' %}\n\\=== user ===\n" in text


def test_the_round_trip_is_lossless(written: Path, stage: Stage):
    run("project", "create", "--project", "copy")

    output = run("import", str(written), "--project", "copy")

    assert output == "copy: 3 new prompts, 4 new versions, 0 existing ones.\n"
    assert state("copy") == state("paper")
    copied = PromptVersion.objects.get(prompt__project__slug="copy", prompt__name="support.triage")
    assert versions.render(copied, {})["messages"][0]["content"] == "Be kind\n\n=== user ===\n"


def test_the_whole_history_comes_along_on_request(written: Path, stage: Stage):
    run("export", "--project", "paper", "--history", str(written))
    run("project", "create", "--project", "copy")
    run("import", str(written), "--project", "copy")

    def history(slug: str) -> list[tuple[str, int, str]]:
        rows = PromptVersion.objects.filter(prompt__project__slug=slug).order_by("prompt__name", "number")
        return list(rows.values_list("prompt__name", "number", "content_hash"))

    assert history("copy") == history("paper")


def test_importing_again_adds_nothing(written: Path):
    assert run("import", str(written)) == "paper: 0 new prompts, 0 new versions, 4 existing ones.\n"


def test_an_edited_file_is_a_new_version(written: Path, stage: Stage):
    path = written / "text.md"
    path.write_text(path.read_text().replace("  x  ", "  y  "))

    assert "1 new versions" in run("import", str(written))
    assert stage.project.prompts.get(name="text").versions.count() == 2


def test_a_changed_pinned_version_is_refused(written: Path):
    path = written / "history/shared.tone/0001.md"
    path.write_text(path.read_text().replace("Be kind", "Be cruel"))

    with pytest.raises(CommandError, match=r"exchange\.hash_mismatch"):
        run("import", str(written))


def test_one_bad_file_imports_nothing(written: Path):
    run("project", "create", "--project", "copy")
    (written / "zzz.md").write_text("---\nprompt: zzz\nkind: chat\n---\n=== robot ===\nx\n")

    with pytest.raises(CommandError, match=r"zzz\.md: /messages/0/role"):
        run("import", str(written), "--project", "copy")

    assert not Prompt.objects.filter(project__slug="copy").exists()


def test_a_prompt_that_is_gone_leaves_no_file(written: Path, stage: Stage):
    prompts.archive(stage.edith, stage.project.prompts.get(name="text"))

    run("export", "--project", "paper", str(written))

    assert not (written / "text.md").exists()


def test_nothing_else_in_the_directory_is_touched(written: Path, stage: Stage):
    notes = written / "README.md"
    notes.write_text("About these prompts")
    (written / "mine.md").write_text("not written by an export")

    run("export", "--project", "paper", str(written))

    assert notes.exists()
    assert (written / "mine.md").exists()
    (written / "mine.md").unlink()
    assert "4 existing" in run("import", str(written))


def test_a_directory_of_something_else_is_refused(stage: Stage, tmp_path: Path):
    (tmp_path / "README.md").write_text("My project")

    with pytest.raises(CommandError, match=r"exchange\.not_an_export"):
        run("export", "--project", "paper", str(tmp_path))


def test_what_an_old_version_includes_comes_along_though_archived(stage: Stage, tmp_path: Path):
    tone = stage.prompt("shared.tone")
    stage.commit(tone, "Be kind")
    prompt = stage.prompt()
    stage.commit(prompt, "{% include 'shared.tone' %}")
    stage.commit(prompt, "On its own")
    prompts.archive(stage.edith, tone)
    run("export", "--project", "paper", "--history", str(tmp_path))
    run("project", "create", "--project", "copy")

    assert "3 new versions" in run("import", str(tmp_path), "--project", "copy")
    assert "3 existing" in run("import", str(tmp_path), "--project", "paper")


@pytest.mark.parametrize("arguments", [["export", "--project", "unknown", "x"], ["import", "/nonexistent"]])
def test_what_cannot_be_done_is_said(stage: Stage, arguments: list[str]):
    with pytest.raises(CommandError):
        run(*arguments)
