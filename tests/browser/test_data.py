"""Examples and datasets in a browser: a file with its progress, annotation by keyboard, what the editor picks."""

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import PersonFor

GOOD = "".join(f"Row {number} about the quarterly export,billing\n" for number in range(400))


def test_a_file_goes_up_in_parts_and_bad_rows_are_left_out_afterwards(person_for: PersonFor, tmp_path: Path):
    path = tmp_path / "tickets.csv"
    # Larger than one part, with one row that has too many cells.
    path.write_text("text,label\n" + GOOD + "x,y,z\n" + "".join(f"{'long ' * 800}{n},incident\n" for n in range(400)))
    person = person_for("editor")
    page = person.open("new-dataset/")
    page.get_by_label("Name").fill("browser.tickets")
    page.get_by_role("button", name="Create").click()

    page.locator("[name='file']").set_input_files(path)
    page.get_by_role("button", name="Upload and preview").click()
    expect(page.get_by_label("What label is").locator("option:checked")).to_have_text("as named: expected output")
    page.get_by_label("Name of the variable text").fill("ticket")
    page.get_by_role("button", name="Preview again").click()
    expect(page.get_by_text('"ticket": ').first).to_be_visible()
    page.get_by_role("button", name="Import", exact=True).click()

    expect(page.get_by_text("Refused")).to_be_visible()
    expect(page.get_by_role("cell", name="Has 3 columns")).to_be_visible()
    page.get_by_role("button", name="Import without the invalid rows").click()
    expect(page.get_by_text("800 added")).to_be_visible()
    expect(page.get_by_role("link", name=re.compile("Cases ?800"))).to_be_visible()
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_text("version 1, ").first).to_be_visible()


def press(page: Page, key: str) -> None:
    """Press a key once the page's script listens: its text can be seen before that."""
    page.wait_for_load_state("load")
    page.keyboard.press(key)


def test_a_round_is_worked_through_with_the_keyboard(person_for: PersonFor):
    person = person_for("editor")
    page = person.open("datasets/support.tickets/rounds/new/")
    page.get_by_label("Title").fill("By keyboard")
    page.get_by_label("Maximum number of cases").fill("2")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("0 of 2 annotated by you")).to_be_visible()

    press(page, "1")
    expect(page.get_by_text("1 of 2 annotated by you")).to_be_visible()
    press(page, "u")
    expect(page.get_by_text("0 of 2 annotated by you")).to_be_visible()
    press(page, "s")
    expect(page.get_by_text("0 of 2 annotated by you")).to_be_visible()
    press(page, "2")
    expect(page.get_by_text("Only skipped cases are left")).to_be_visible()
    page.get_by_role("button", name="Show skipped cases").click()
    expect(page.get_by_role("group", name="Label")).to_be_visible()
    press(page, "3")
    expect(page.get_by_text("All annotated")).to_be_visible()


def test_the_editor_shows_what_is_picked_and_the_commit_says_so(person_for: PersonFor):
    person = person_for("editor")
    page = person.open("new-prompt/")
    page.get_by_label("Name").fill("browser.picks")
    page.get_by_role("button", name="Create and write").click()
    page.locator("[data-content]").first.fill("Sort this: {{ ticket }}")
    page.locator("[data-role-of]").first.select_option("user")
    page.locator("[data-sample]").first.fill("I was charged twice")

    page.locator("[data-pick='set']").select_option(label="support.tickets v1 (42)")
    expect(page.locator("[data-pick='query']")).to_be_hidden()
    page.locator("[data-pick='select']").select_option("similar")
    page.locator("[data-pick='k']").fill("2")
    page.locator("[data-pick='query']").fill("{{ ticket }}")

    picked = page.get_by_label("Examples picked")
    expect(picked).to_contain_text("Compared with: I was charged twice")
    expect(picked.get_by_role("listitem")).to_have_count(2)
    page.locator("[data-pick='k']").fill("0")
    expect(page.locator("[data-marks='/examples']")).to_contain_text("whole number")
    page.locator("[data-pick='k']").fill("1")
    expect(picked.get_by_role("listitem")).to_have_count(1)
    page.get_by_role("link", name="Review and commit").click()
    page.get_by_label("What changes, and why").fill("Picks one")
    page.get_by_role("button", name="Commit").click()
    expect(page.get_by_text("the 1 nearest in meaning")).to_be_visible()
    assert page.get_by_role("link", name="support.tickets v1").get_attribute("href")


def test_rows_are_added_and_removed_in_the_table(person_for: PersonFor):
    person = person_for("editor")
    page = person.open("new-example-set/")
    page.get_by_label("Name").fill("browser.shots")
    page.get_by_role("button", name="Create and fill").click()
    page.get_by_role("link", name="Write by hand instead").click()
    for number in range(1, 5):
        page.locator(f"[name='input:new{number}']").fill(f"question {number}")
        page.locator(f"[name='output:new{number}']").fill("answer")
    page.get_by_role("button", name="Save as a new version").click()

    expect(page.get_by_text("Version 1 saved, with 4 examples")).to_be_visible()
    page.get_by_role("link", name="Edit", exact=True).click()
    page.get_by_label("Remove").first.check()
    page.get_by_role("button", name="Save as a new version").click()
    expect(page.get_by_text("Version 2 saved, with 3 examples")).to_be_visible()
