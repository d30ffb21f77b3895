"""The pictures of the documentation, from a fresh instance with the demo project.

make screenshots        # all of them; some: docs/screenshots/make.py run sweep-dark
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.conftest import FLAGS, Person, chromium
from tests.instance import Instance, start

HERE = Path(__file__).resolve().parent
WIDE, TALL, PHONE = (1440, 900), (1440, 1500), (390, 844)


def reload_until(page: Page, ready: Callable[[], bool]) -> None:
    """A worker embeds and compares the demo's tickets, which takes it a while; five minutes at most."""
    deadline = time.monotonic() + 300
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{page.url} still waits for the worker.")
        page.wait_for_timeout(2_000)
        page.reload()


def prompts(person: Person) -> Page:
    return person.open("prompts/")


def prompt(person: Person) -> Page:
    return person.open("prompts/support.reply/")


def editor(person: Person) -> Page:
    page = person.open("prompts/support.triage/edit/")
    text = page.get_by_label("Text of the message").first
    text.fill(text.input_value() + "\nAnswer in plain text.\nKeep {{ ticket | shout }} out of it.")
    page.get_by_label("ticket", exact=True).fill("We were charged twice, and the export is locked.")
    expect(page.get_by_text("1 to fix before it can be committed")).to_be_visible()
    return page


def preview(person: Person) -> Page:
    page = person.open("prompts/support.triage/edit/")
    text = page.get_by_label("Text of the message").first
    text.fill(text.input_value().replace("\nKeep {{ ticket | shout }} out of it.", ""))
    expect(page.get_by_label("Preview")).to_contain_text("charged twice, and the export is locked")
    return page


def review(person: Person) -> Page:
    page = person.open("inbox/")
    page.get_by_role("link", name="Stops promising dates").click()
    return page


def compare(person: Person) -> Page:
    return person.open("prompts/support.triage/compare/?from=2&to=3&view=split")


def merge(person: Person) -> Page:
    path = "/api/v1/prompts/support.triage/versions"
    content = person.instance.call("GET", f"{path}/latest")[1]["content"]
    first = content["messages"][0]
    first["content"] = first["content"].replace("for the right team", "for the team that can act")
    person.instance.call("POST", path, {"content": content, "message": "Say which team"})
    return person.open("prompts/support.triage/edit/merge/")


def palette(person: Person) -> Page:
    page = person.open("prompts/")
    page.keyboard.press("Control+k")
    page.keyboard.type("support")
    expect(page.locator("#palette").get_by_role("option").nth(1)).to_be_visible()
    return page


def nearest(person: Person) -> Page:
    page = person.open("examples/support.tickets/?near=You+took+my+money+two+times")
    reload_until(page, lambda: page.get_by_text("Nearest first").count() > 0)
    return page


def picking(person: Person) -> Page:
    page = person.open("prompts/support.route/edit/")
    page.locator("[data-sample]").first.fill("Someone signed in as me from another country")
    expect(page.get_by_label("Examples picked")).to_contain_text("Compared with: Someone signed in")
    return page


def dataset(person: Person) -> Page:
    page = person.open("datasets/support.tickets/")
    reload_until(page, lambda: page.get_by_text("no test case leaked").count() > 0)
    return page


def readiness(person: Person) -> Page:
    return person.open("datasets/support.tickets/readiness/")


def playground(person: Person) -> Page:
    page = person.open("prompts/support.route/playground/")
    page.get_by_label("Model 2").select_option("sandbox/sandbox-small")
    page.get_by_label("random cases of a dataset").check()
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#playground-wait").get_by_text("done")).to_be_visible(timeout=120_000)
    return page


def run(person: Person) -> Page:
    page = person.open("evaluations/2/")
    reload_until(page, lambda: page.get_by_text("All scorers passed").count() > 0)
    return page


def sweep(person: Person) -> Page:
    sweep = {
        "prompt": "support.route@latest",
        "dataset": "support.tickets",
        "models": ["sandbox/sandbox-large", "sandbox/sandbox-small"],
        "temperatures": [0, 0.7],
        "scorers": ["label", "json_schema"],
        "slas": {"quality": 0.6, "format_adherence": 0.9},
        "budget_usd": "2",
    }
    comparison = person.instance.call("POST", "/api/v1/sweeps", sweep)[1]
    deadline = time.monotonic() + 300
    while person.instance.call("GET", f"/api/v1/comparisons/{comparison['id']}")[1]["state"] in ("pending", "running"):
        if time.monotonic() > deadline:
            raise TimeoutError("The sweep does not end.")
        time.sleep(1)
    return person.open(f"comparisons/{comparison['id']}/")


Shot = tuple[str, str, Callable[[Person], Page], tuple[int, int], str]
SHOTS: list[Shot] = [
    ("prompts", "editor", prompts, WIDE, "light"),
    ("prompt", "reviewer", prompt, WIDE, "light"),
    ("prompt-dark", "reviewer", prompt, WIDE, "dark"),
    ("prompt-phone", "reviewer", prompt, PHONE, "light"),
    ("editor", "editor", editor, WIDE, "light"),
    ("editor-preview-dark", "editor", preview, WIDE, "dark"),
    ("review", "reviewer", review, WIDE, "light"),
    ("compare", "editor", compare, WIDE, "light"),
    ("merge", "editor", merge, WIDE, "light"),
    ("palette", "editor", palette, WIDE, "light"),
    ("examples", "editor", nearest, WIDE, "light"),
    ("editor-examples", "editor", picking, TALL, "light"),
    ("dataset", "editor", dataset, WIDE, "light"),
    ("readiness-dark", "editor", readiness, WIDE, "dark"),
    ("playground", "editor", playground, WIDE, "light"),
    ("run", "editor", run, WIDE, "light"),
    ("sweep-dark", "editor", sweep, WIDE, "dark"),
]


def take(browser: Browser, instance: Instance, shot: Shot) -> None:
    name, who, page_of, (width, height), scheme = shot
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = page_of(Person(context, instance, who).sign_in())
    page.wait_for_load_state("networkidle")
    if page.locator("dialog[open]").count() == 0:
        page.evaluate("document.activeElement.blur(), scrollTo(0, 0)")
    page.screenshot(path=HERE / f"{name}.png", animations="disabled", caret="hide")
    context.close()


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="cuebook-screenshots-") as directory, sync_playwright() as playwright:
        Path(directory).chmod(0o755)
        instance = start(Path(directory) / "home", EMBEDDINGS_LOCAL="1")
        try:
            browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
            names = sys.argv[1:]
            for shot in [shot for shot in SHOTS if not names or shot[0] in names]:
                take(browser, instance, shot)
            browser.close()
        finally:
            instance.stop()


if __name__ == "__main__":
    main()
