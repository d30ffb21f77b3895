"""The whole story with two people: edit, preview, commit, ask, approve, apply, fetch, roll back."""

import re
import time

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Person, PersonFor, commit
from tests.instance import Instance

PATIENCE_SECONDS = 20


def is_live(person: Person, prompt: str, number: int) -> bool:
    """Whether services get this version: each web process hears of a release a moment after it (docs/delivery.md)."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if person.instance.call("GET", f"/api/v1/prompts/{prompt}/versions/production")[1]["number"] == number:
            return True
        time.sleep(0.05)
    return False


def test_a_prompt_is_changed_by_two_people_and_brought_back(person_for: PersonFor):
    editor, reviewer = person_for("editor"), person_for("reviewer")

    # A new prompt, its first version, live with the reviewer's approval.
    page = editor.open("prompts/")
    page.get_by_role("link", name="New prompt").click()
    page.get_by_label("Name").fill("story.greet")
    page.get_by_label("What it is for").fill("Greets a **customer**.")
    page.get_by_role("button", name="Create and write").click()
    expect(page.get_by_role("heading", name="First version")).to_be_visible()
    write_and_commit(editor, "You greet customers.", "Greet {{ customer }}.", "First words")
    ask_and_release(editor, reviewer, "story.greet", "We need a greeting")
    assert is_live(editor, "story.greet", 1)

    # The second version.
    page = editor.open("prompts/story.greet/")
    page.get_by_role("link", name="Edit", exact=True).click()
    write_and_commit(editor, "You greet customers warmly.", "Greet {{ customer }}.", "Warmer")
    ask_and_release(editor, reviewer, "story.greet", "Too cold")
    assert is_live(editor, "story.greet", 2)

    # Back in two clicks from the prompt's page, with a reason.
    page = editor.open("prompts/story.greet/")
    page.get_by_role("region", name="production").get_by_role("link", name="Roll back").click()
    expect(page.get_by_role("heading", name="From v2 to v1")).to_be_visible()
    page.get_by_label("Why").fill("Too warm")
    page.get_by_role("button", name="Roll back to v1").click()
    expect(page.get_by_text("Production rolled back to version 1")).to_be_visible()
    expect(page.get_by_text("“Too warm”")).to_be_visible()
    assert is_live(editor, "story.greet", 1)


def write_and_commit(editor: Person, system: str, user: str, message: str) -> None:
    page = editor.page
    fields = page.get_by_label("Text of the message")
    fields.nth(0).fill(system)
    fields.nth(1).fill(user)
    page.get_by_label("customer", exact=True).fill("Ms. Lovelace")
    expect(page.get_by_label("Preview")).to_contain_text("Greet Ms. Lovelace.")
    page.get_by_role("link", name="Review and commit").click()
    page.get_by_label("What changes, and why").fill(message)
    page.get_by_role("button", name="Commit").click()
    expect(page.get_by_text(re.compile(r"Version \d committed"))).to_be_visible()


def ask_and_release(editor: Person, reviewer: Person, prompt: str, reason: str) -> None:
    page = editor.page
    page.get_by_role("main").get_by_role("link", name="Request promotion").last.click()
    page.get_by_role("radio", name=re.compile("^Production")).check()
    page.get_by_label("Why").fill(reason)
    page.get_by_role("button", name="Request promotion").click()

    # The author is told plainly why the button is not theirs.
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    expect(page.get_by_text("You may not approve or reject.")).to_be_visible()

    review = reviewer.open("inbox/")
    review.get_by_role("link", name=re.compile(re.escape(reason))).click()
    review.get_by_label("Comment", exact=True).fill("Read it")
    review.get_by_role("button", name="Approve").click()
    expect(review.get_by_text("Promotion approved", exact=True)).to_be_visible()

    page.reload()
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_text("Released to production")).to_be_visible()


def test_who_wrote_a_version_cannot_approve_it_whatever_they_try(person_for: PersonFor, prompt: str):
    reviewer = person_for("reviewer")
    page = reviewer.open(f"prompts/{prompt}/edit/")
    page.get_by_label("Text of the message").first.fill("Written by the reviewer. {{ ticket }}")
    page.get_by_role("link", name="Review and commit").click()
    page.get_by_label("What changes, and why").fill("Mine")
    page.get_by_role("button", name="Commit").click()
    page.get_by_role("main").get_by_role("link", name="Request promotion").last.click()
    page.get_by_role("radio", name=re.compile("^Production")).check()
    page.get_by_role("button", name="Request promotion").click()

    expect(page.get_by_text("so another user has to approve it.")).to_be_visible()
    number = re.search(r"promotions/(\d+)/", page.url)
    assert number
    csrf = page.locator("[name=csrfmiddlewaretoken]").first.input_value()
    answer = reviewer.context.request.post(
        f"{reviewer.instance.address}/p/demo/promotions/{number[1]}/approve/",
        form={"csrfmiddlewaretoken": csrf},
        headers={"Referer": page.url},
    )
    assert answer.status == 403


def test_changes_are_asked_for_and_the_author_finds_it_in_the_inbox(person_for: PersonFor, prompt: str):
    editor, reviewer = person_for("editor"), person_for("reviewer")
    page = editor.open(f"prompts/{prompt}/promote/")
    page.get_by_role("radio", name=re.compile("^Production")).check()
    page.get_by_label("Why").fill("Try it")
    page.get_by_role("button", name="Request promotion").click()

    review = reviewer.page
    review.goto(page.url)
    review.get_by_role("button", name="Request changes").click()
    expect(review.get_by_role("alert")).to_contain_text("Say what should change.")
    expect(review.get_by_label("Comment")).to_be_focused()
    review.get_by_label("Comment").fill("Name the categories.")
    review.get_by_role("button", name="Request changes").click()

    inbox = editor.open("inbox/")
    expect(inbox.get_by_role("heading", name="Changes requested")).to_be_visible()
    inbox.get_by_role("link", name=re.compile(prompt)).first.click()
    expect(inbox.get_by_text("Name the categories.")).to_be_visible()


def test_words_outlive_a_session_that_ended(person_for: PersonFor, prompt: str):
    editor, reviewer = person_for("editor"), person_for("reviewer")
    page = editor.open(f"prompts/{prompt}/promote/")
    page.get_by_role("radio", name=re.compile("^Production")).check()
    page.get_by_role("button", name="Request promotion").click()
    review = reviewer.page
    review.goto(page.url)
    review.get_by_label("Comment", exact=True).fill("Name the categories, please.")
    reviewer.context.clear_cookies(name="sessionid")

    review.get_by_role("button", name="Request changes").click()
    reviewer.fill_in_sign_in()

    expect(review).to_have_url(page.url)
    expect(review.get_by_label("Comment", exact=True)).to_have_value("Name the categories, please.")
    review.get_by_role("button", name="Request changes").click()
    expect(review.get_by_text("Changes requested", exact=True).first).to_be_visible()


def test_checks_are_overridden_by_an_admin_with_a_reason(person_for: PersonFor, prompt: str):
    editor, admin = person_for("editor"), person_for("admin")
    call = editor.instance.call
    rules = admin.open("settings/environments/")
    rules.locator("[name=name]").fill("canary")
    rules.get_by_label("Protected").check()
    rules.get_by_label("Required checks").fill("evals")
    rules.get_by_role("button", name="Add", exact=True).click()
    request = {"prompt": prompt, "version": 1, "environment": "canary"}
    number = call("POST", "/api/v1/promotions", request)[1]["id"]
    page = person_for("reviewer").open(f"promotions/{number}/")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Approved, 1 check missing")).to_be_visible()

    page = admin.open(f"promotions/{number}/")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_text("Override the checks").click()
    page.get_by_label("Why it cannot wait").fill("The evaluation is down.")
    page.get_by_role("button", name="Release without evals").click()

    expect(page.get_by_text("admin overrode the checks: “The evaluation is down.”")).to_be_visible()


def test_two_columns_of_a_difference_can_be_read(instance: Instance, person_for: PersonFor, prompt: str):
    """They were four letters wide once, by a rule for another page's columns."""
    line = "Sort the ticket into one of the five categories, and say why."
    commit(instance, prompt, f"{line}\nNothing else.\n{{{{ ticket }}}}", "Second")
    page = person_for("editor").open(f"prompts/{prompt}/compare/?from=1&to=2&view=split")

    sides = page.locator(".diff.columns > div").first.locator(".t")
    expect(sides).to_have_count(2)
    expect(sides.nth(1)).to_have_text(line)
    widths, heights = zip(
        *((box["width"], box["height"]) for box in (sides.nth(index).bounding_box() for index in (0, 1)) if box),
        strict=True,
    )

    assert widths[0] == pytest.approx(widths[1], rel=0.02)
    # Of a page of 1440 px each side has a quarter at least, and a short line is one line, or two.
    assert min(widths) > 360
    assert max(heights) < 60
