"""The pages in a real Chromium, on a real instance with the demo project (`manage.py up`).

A test that needs a browser fails with a sentence where there is none: nothing is skipped in silence.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Response, expect, sync_playwright

from tests.instance import Instance, demo_home, start

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Without these a browser that was just installed asks its maker's hosts for updates.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOW = "No Chromium was found. Install one (Debian: apt-get install chromium) or name it: CHROMIUM=/path/to/chromium."
PATIENCE = 15_000
# Machines are noisy: what is waited for comes, or does not.
expect.set_options(timeout=PATIENCE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


def chromium() -> str:
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not path:
        pytest.fail(HOW)
    return path


@pytest.fixture(scope="package")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    running = start(demo_home(tmp_path_factory.mktemp("browser") / "home"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # One a module: while it runs, its event loop would keep other tests' database calls from this thread.
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield launched
        launched.close()


class Person:
    """Somebody with a browser of their own, who notices what goes wrong behind the page."""

    def __init__(self, context: BrowserContext, instance: Instance, name: str) -> None:
        self.context = context
        self.instance = instance
        self.name = name
        self.trouble: list[str] = []
        context.set_default_timeout(PATIENCE)
        context.on("page", self._watch)
        self.page = context.new_page()

    def _watch(self, page: Page) -> None:
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.trouble.append(f"script: {error}"))
        page.on("response", self._see)

    def _hear(self, message: ConsoleMessage) -> None:
        # A refused request is in the console too; the test that provokes one looks at the page itself.
        if message.type in {"error", "warning"} and "status of 4" not in message.text:
            self.trouble.append(f"console: {message.text}")

    def _see(self, response: Response) -> None:
        if not response.url.startswith(self.instance.address):
            self.trouble.append(f"another host: {response.url}")
        if response.status >= 500:
            self.trouble.append(f"{response.status}: {response.url}")

    def sign_in(self) -> "Person":
        self.page.goto(f"{self.instance.address}/login/")
        self.fill_in_sign_in()
        self.page.wait_for_url("**/prompts/")
        return self

    def fill_in_sign_in(self) -> None:
        self.page.get_by_label("Name").fill(self.name)
        self.page.get_by_label("Password").fill(self.instance.passwords[self.name])
        self.page.get_by_role("button", name="Sign in").click()

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.instance.address}/p/demo/{path}")
        return self.page


PersonFor = Callable[..., Person]


@pytest.fixture
def person_for(browser: Browser, instance: Instance) -> Iterator[PersonFor]:
    """Sign somebody in; when the test is over, nothing may have gone wrong behind any page."""
    people: list[Person] = []

    def make(name: str, *, width: int = 1440, height: int = 900, scheme: str = "light") -> Person:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        people.append(Person(context, instance, name))
        return people[-1].sign_in()

    yield make
    for person in people:
        person.context.close()
    assert [trouble for person in people for trouble in person.trouble] == []


@pytest.fixture
def prompt(instance: Instance, request: pytest.FixtureRequest) -> str:
    """A prompt of the test's own with one version, live in production."""
    name = f"browser.{request.node.name.split('[')[0].removeprefix('test_').replace('_', '-')[:60]}"
    assert instance.call("POST", "/api/v1/prompts", {"name": name})[0] == 201
    commit(instance, name, "You sort support tickets.\nAnswer with the category.\n{{ ticket }}", "First")
    return name


def commit(instance: Instance, prompt: str, text: str, message: str) -> int:
    """Somebody else's commit, over the API; its number."""
    content = {
        "messages": [{"role": "system", "content": text}],
        "model": {"name": "gpt-4o-mini"},
        "variables": {"ticket": {}},
    }
    path = f"/api/v1/prompts/{prompt}/versions"
    status, version = instance.call("POST", path, {"content": content, "message": message})
    assert status == 201, version
    return int(version["number"])
