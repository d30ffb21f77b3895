"""The demo project: made once, by the rules, with something to look at."""

from pathlib import Path

from config.embedded.home import Home
from registry import demo
from registry.accounts import api_keys
from registry.models import Membership, Project, Promotion, Release, User


def test_the_demo_is_made_once(db: None, tmp_path: Path):
    credentials_file = Home(tmp_path).demo_file

    assert demo.seed(credentials_file)
    assert not demo.seed(credentials_file)

    credentials = demo.read_credentials(credentials_file)
    assert credentials
    assert api_keys.authenticate(credentials.token).scopes == ["infer", "read", "write"]
    assert credentials_file.stat().st_mode & 0o777 == 0o600
    for name, password in credentials.passwords.items():
        assert User.objects.get(username=name).check_password(password)


def test_the_demo_tells_a_story(db: None, tmp_path: Path):
    demo.seed(Home(tmp_path).demo_file)
    project = Project.objects.get(slug="demo")

    assert {row.user.username: row.role for row in Membership.objects.filter(project=project)} == {
        "editor": "editor",
        "reviewer": "reviewer",
        "admin": "admin",
    }
    assert {row.name: row.versions.count() for row in project.prompts.all()} == {
        "billing.extract-invoice": 1,
        "judges.faithful": 1,
        "shared.tone": 1,
        "support.answer": 1,
        "support.reply": 2,
        "support.route": 1,
        "support.triage": 3,
    }
    production = Release.objects.filter(environment__name="production", prompt__name="support.triage")
    assert list(production.order_by("number").values_list("kind", "version__number")) == [
        ("promote", 1),
        ("promote", 2),
        ("rollback", 1),
    ]
    assert Promotion.objects.get(status="open").prompt.name == "support.reply"
