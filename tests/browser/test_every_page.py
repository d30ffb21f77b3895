"""Every page, wide and narrow, light and dark: accessible, quiet, from this host alone, and within its width."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from typing import Any, Literal

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Person, PersonFor
from tests.instance import Instance

AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
TRIAGE = "prompts/support.triage"
PATIENCE_SECONDS = 120
PAGES = [
    "prompts/",
    "prompts/?search=nothing-has-this",
    "prompts/?archived=1",
    "prompts/?folder=support&order=care",
    "new-prompt/",
    "import-prompts/",
    f"{TRIAGE}/",
    f"{TRIAGE}/history/",
    f"{TRIAGE}/versions/3/",
    f"{TRIAGE}/use/",
    f"{TRIAGE}/about/",
    f"{TRIAGE}/edit/",
    f"{TRIAGE}/playground/",
    f"{TRIAGE}/promote/",
    f"{TRIAGE}/compare/?from=2&to=3",
    f"{TRIAGE}/compare/?from=2&to=3&view=split&whole=1",
    f"{TRIAGE}/rollback/?environment=production&to=2",
    "prompts/support.route/versions/1/",
    "prompts/support.route/edit/",
    "prompts/support.route/live/",
    "prompts/support.route/strategy/",
    "strategy/",
    "strategy/retirements/",
    "strategy/tokens/",
    "strategy/policy/",
    "strategy/configs/",
    "strategy/configs/support-assistant/",
    "strategy/guides/ticket-routing/",
    "examples/",
    "new-example-set/",
    "examples/support.tickets/",
    "examples/support.tickets/?near=charged+twice",
    "examples/support.tickets/edit/",
    "examples/support.tickets/add/",
    "examples/support.tickets/history/",
    "examples/support.tickets/about/",
    "evaluations/",
    "new-evaluation/?prompt=support.route@latest",
    "evaluations/1/",
    "new-sweep/?prompt=support.route@latest",
    "new-comparison/?run=1",
    "fine-tunes/",
    "new-training-set/",
    "new-training-set/?prompt=support.route@latest&dataset=support.tickets",
    "settings/providers/",
    "settings/providers/?preset=azure",
    "settings/providers/sandbox/",
    "settings/providers/sandbox/model/?model=sandbox-small",
    "settings/gates/",
    "datasets/",
    "images/",
    "new-dataset/",
    "datasets/support.tickets/",
    "datasets/support.tickets/cases/",
    "datasets/support.tickets/cases/?split=test&label=billing",
    "datasets/support.tickets/cases/1/",
    "datasets/support.tickets/cases/new/",
    "datasets/support.tickets/import/",
    "datasets/support.tickets/readiness/",
    "datasets/support.tickets/leakage/",
    "datasets/support.tickets/proposals/",
    "datasets/support.tickets/rounds/",
    "datasets/support.tickets/rounds/new/",
    "datasets/support.tickets/history/",
    "datasets/support.tickets/about/",
    "promotions/",
    "promotions/7/",
    "promotions/3/",
    "inbox/",
    "search/?q=ticket",
    "search/",
    "profile/",
    "settings/members/",
    "settings/environments/",
    "settings/environments/production/",
    "settings/keys/",
    "settings/audit/",
    "prompts/nothing.here/",
]
WIDE = 1440
END_TRANSITIONS = """document.getAnimations().filter((animation) => animation instanceof CSSTransition)
  .forEach((transition) => transition.finish())"""
# Each width and each scheme once: what differs by scheme is colour, what differs by width is place. Names, roles and
# order are the same document's, and are looked at once.
LOOKS: list[tuple[int, Literal["light", "dark"], Sequence[str]]] = [
    (WIDE, "light", ()),
    (390, "dark", ("color-contrast", "target-size", "scrollable-region-focusable")),
]


def faults(page: Page, rules: Sequence[str] = ()) -> list[str]:
    """Return what axe-core finds serious in the page; by some of its rules, where they are named."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    # No `preload`: it reads the style sheets for rules that are experimental (and off) or less than serious.
    options = {"resultTypes": ["violations"], "preload": False, **({"runOnly": list(rules)} if rules else {})}
    script = f"axe.run({json.dumps(options)}).then((result) => result.violations)"
    violations: list[dict[str, Any]] = page.evaluate(script)
    return [
        f"{violation['id']} ({violation['impact']}): {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for violation in violations
        if violation["impact"] in {"serious", "critical"}
        for node in violation["nodes"]
    ]


def settled(page: Page) -> None:
    """Wait until nothing on the page is still being fetched: panels, and what the editor asks for."""
    page.wait_for_load_state("load")
    expect(page.locator(".htmx-request")).to_have_count(0)
    if page.locator("[data-editor]").count():
        expect(page.locator("[data-summary]")).not_to_be_empty()


def too_wide(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def cut_tables(page: Page) -> list[str]:
    """Return the first words of what scrolls sideways: a column that cannot be seen is not looked for."""
    script = """[...document.querySelectorAll('.scroll')].filter((part) => part.scrollWidth > part.clientWidth + 1)
      .map((part) => part.innerText.slice(0, 40))"""
    names: list[str] = page.evaluate(script)
    return names


def looks(page: Page) -> Iterator[tuple[int, Sequence[str]]]:
    """Look at a page at each width and in each scheme: its width, and the rules that are to be checked there."""
    for width, scheme, rules in LOOKS:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        # Colours that are on their way from one scheme to the other are no fault.
        page.evaluate(END_TRANSITIONS)
        yield width, rules


def test_every_page_is_accessible_quiet_and_within_its_width(person_for: PersonFor):
    admin = person_for("admin")
    wrong = []
    for path in PAGES:
        page = admin.open(path)
        settled(page)
        for width, rules in looks(page):
            wrong += [f"{path} at {width}: {fault}" for fault in faults(page, rules)]
            if too_wide(page) > 0:
                wrong.append(f"{path}: {too_wide(page)} px too wide at {width}")
            if width == WIDE:
                wrong += [f"{path}: a table is cut at {column!r}" for column in cut_tables(page)]

    assert wrong == []


def test_what_opens_on_a_page_is_accessible_too(person_for: PersonFor):
    page = person_for("editor").open("prompts/")

    page.keyboard.press("Control+k")
    page.locator("#palette").get_by_role("option").first.wait_for()
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.locator("details.menu summary").click()
    assert faults(page) == []


@pytest.mark.parametrize("width", [1440, 390])
def test_faults_drafts_and_merges_are_accessible(person_for: PersonFor, prompt_at_odds: str, width: int):
    editor = person_for("editor", width=width)
    for path in (
        f"prompts/{prompt_at_odds}/edit/",
        f"prompts/{prompt_at_odds}/edit/merge/",
        f"prompts/{prompt_at_odds}/edit/commit/",
    ):
        page = editor.open(path)
        settled(page)
        assert faults(page) == [], path
        assert too_wide(page) <= 0, path


@pytest.fixture(scope="module")
def tuned(instance: Instance) -> list[str]:
    """Pages of a training set, of a job that has come to a model that was measured, and of a cross-validation."""

    def until(path: str, is_so: Callable[[Any], bool]) -> Any:
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            _, document = instance.call("GET", path)
            if is_so(document):
                return document
            time.sleep(0.5)
        raise AssertionError(f"{path} is still {document}")

    recipe = {"dataset": "support.tickets", "prompt": "support.route@latest", "instruction": "Sort the ticket."}
    number = instance.call("POST", "/api/v1/training-sets", recipe)[1]["id"]
    until(f"/api/v1/training-sets/{number}", lambda row: row["state"] == "done")
    until("/api/v1/datasets/support.tickets/versions/latest/leakage", lambda report: not report["blocks_fine_tuning"])
    request = {"training_set": number, "model": "sandbox/sandbox-small", "submit": True}
    job = instance.call("POST", "/api/v1/fine-tunes", request)[1]["id"]
    folds = {"model": "sandbox/sandbox-small", "folds": 2}
    _, begun = instance.call("POST", f"/api/v1/training-sets/{number}/cross-validations", folds)
    until(f"/api/v1/fine-tunes/{job}", lambda row: row["state"] == "succeeded")
    until("/api/v1/tuned-models", lambda models: any(_is_measured(model) for model in models["results"]))
    # A page that is still changing loads itself anew, and that would end the visit.
    until(f"/api/v1/cross-validations/{begun['id']}", lambda row: row["state"] not in ("pending", "running"))
    return [f"training-sets/{number}/", f"fine-tunes/{job}/", f"cross-validations/{begun['id']}/", "fine-tunes/"]


def _is_measured(model: dict[str, Any]) -> bool:
    return any(evaluation["verdict"] for evaluation in model["evaluations"])


def test_what_has_been_tuned_is_accessible(person_for: PersonFor, tuned: list[str]):
    admin = person_for("admin")
    for path in tuned:
        page = admin.open(path)
        page.wait_for_load_state("load")
        for width, rules in looks(page):
            assert faults(page, rules) == [], (path, width)
            assert too_wide(page) <= 0, (path, width)


@pytest.fixture(scope="module")
def prompt_at_odds(instance: Instance, browser: Any) -> str:
    """A prompt with a draft of the editor's that has a fault, and a commit that came after it."""
    name = "browser.at-odds"
    instance.call("POST", "/api/v1/prompts", {"name": name})
    path = f"/api/v1/prompts/{name}/versions"
    instance.call("POST", path, {"content": {"messages": [{"role": "user", "content": "one"}]}})
    editor = Person(browser.new_context(), instance, "editor").sign_in()
    page = editor.open(f"prompts/{name}/edit/")
    page.get_by_label("Text of the message").first.fill("mine")
    page.locator("[data-saved]", has_text="draft saved").wait_for()
    instance.call("POST", path, {"content": {"messages": [{"role": "user", "content": "theirs"}]}})
    page.get_by_label("Text of the message").first.fill("mine, and longer than before")
    page.locator("[data-saved]", has_text="draft saved").wait_for()
    editor.context.close()
    return name


def test_long_words_and_many_rows_stay_within_the_page(person_for: PersonFor):
    admin = person_for("admin", width=390, height=844)
    call = admin.instance.call
    long = f"long.{'a' * 120}"
    call("POST", "/api/v1/prompts", {"name": long, "description": "w" * 500, "tags": ["t" * 50]})
    content = {"messages": [{"role": "user", "content": f"{'x' * 3_000}\n" * 20}]}
    call("POST", f"/api/v1/prompts/{long}/versions", {"content": content, "message": "m" * 400})

    for path in (
        "prompts/",
        f"prompts/{long}/",
        f"prompts/{long}/edit/",
        f"prompts/{long}/history/",
        "settings/audit/",
    ):
        page = admin.open(path)
        settled(page)
        assert too_wide(page) <= 0, path


def test_the_first_page_is_small(person_for: PersonFor):
    editor = person_for("editor")
    sizes: list[int] = []
    editor.page.on("response", lambda response: sizes.append(len(response.body())))

    settled(editor.open("prompts/"))

    # Before compression: what is served compressed is about a third of it.
    assert sum(sizes) < 200_000


def test_reading_works_without_scripts(browser: Any, instance: Instance):
    context = browser.new_context(java_script_enabled=False)
    reader = Person(context, instance, "reviewer").sign_in()

    for path, text in (
        ("prompts/", "support."),
        (f"{TRIAGE}/", "You are a classification engine"),
        (f"{TRIAGE}/compare/?from=1&to=2&view=split", "classification"),
        ("promotions/7/", "Approve"),
    ):
        assert text in reader.open(path).content()
    context.close()


def test_an_outsider_sees_nothing(person_for: PersonFor):
    outsider = person_for("outsider")

    for path in PAGES:
        answer = outsider.context.request.get(f"{outsider.instance.address}/p/demo/{path}")
        assert answer.status == 404, path
