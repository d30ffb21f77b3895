"""Examples and datasets in a browser: a file with its progress, annotation by keyboard, what the editor picks."""

import base64
import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import PersonFor
from tests.browser.test_editor import GIVE_FILES, saved
from tests.image_files import png

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


def test_an_image_is_pasted_into_a_case_and_seen_wherever_the_case_is(person_for: PersonFor):
    person = person_for("editor")
    page = person.open("new-dataset/")
    page.get_by_label("Name").fill("browser.shots")
    page.get_by_role("button", name="Create").click()
    page = person.open("datasets/browser.shots/cases/new/")
    values = page.get_by_label("Variables")
    values.fill('{"shot": "", "ticket": "Why is it so small?"}')
    values.evaluate("field => field.setSelectionRange(0, 0)")
    picture = {"name": "a.png", "type": "image/png", "base64": base64.b64encode(png(40, 30)).decode()}

    values.evaluate(GIVE_FILES, {**picture, "event": "paste"})
    expect(values).to_have_value(re.compile(r'^{"shot": "image:40x30:[0-9a-f]{64}", "ticket": '))
    expect(page.get_by_alt_text("An image of this value")).to_be_visible()
    chooser = page.locator("[data-image-parts] input")
    chooser.set_input_files({"name": "large.png", "mimeType": "image/png", "buffer": png() + bytes(6_000_000)})
    expect(page.get_by_role("status").get_by_text("large.png has 5,860 KiB; at most 5,120")).to_be_visible()
    page.get_by_role("button", name="Save as a new version").click()

    expect(page.get_by_text("shot: image 40×30")).to_be_visible()
    thumbnail = page.get_by_alt_text("An image of this input")
    expect(thumbnail).to_be_visible()
    assert thumbnail.evaluate("image => image.decode().then(() => image.naturalWidth)") == 40

    page = person.open("images/")
    expect(page.get_by_role("link", name="1 case of browser.shots")).to_be_visible()
    files = [{"name": f"{size}.png", "mimeType": "image/png", "buffer": png(size, 30)} for size in (40, 41)]
    page.get_by_label("Files").set_input_files(files)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_text("1 image uploaded; 1 was there already")).to_be_visible()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("listitem").filter(has_text="41 × 30").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Image deleted")).to_be_visible()
    page.get_by_label("Files").set_input_files({"name": "notes.png", "mimeType": "image/png", "buffer": b"hello"})
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_text("0 images uploaded. notes.png: This is no PNG, JPEG, WebP or GIF")).to_be_visible()


def test_the_playground_takes_an_image_for_a_variable_that_is_one(person_for: PersonFor, prompt: str):
    person = person_for("editor")
    page = person.open(f"prompts/{prompt}/edit/")
    page.get_by_role("button", name="+ Message").click()
    page.keyboard.type("What is wrong in {{ place }}?")
    page.locator("[data-block]").last.get_by_role("button", name="+ Image").click()
    page.keyboard.type("{{ screenshot }}")
    expect(page.locator("#sample-screenshot")).to_be_visible()
    saved(page)

    page = person.open(f"prompts/{prompt}/playground/?at=draft")
    expect(page.get_by_text("Choose an image")).to_have_count(1)
    page.locator("[data-image-parts] input").set_input_files(
        {"name": "a.png", "mimeType": "image/png", "buffer": png(40, 30)}
    )
    expect(page.get_by_role("textbox", name="screenshot")).to_have_value(re.compile("^image:40x30:"))
    page.get_by_role("textbox", name="place").fill("Rome")
    page.get_by_role("textbox", name="ticket").fill("It broke.")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text("time to first token")).to_be_visible()
    expect(page.get_by_alt_text("An image of this input")).to_be_visible()


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
