"""Everything by keyboard: the palette, the editor, a commit, a review."""

import re

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import PersonFor


def selected_option(page: Page) -> Locator:
    return page.locator("#palette").get_by_role("option", selected=True)


def test_the_palette_jumps_and_is_left_by_escape(person_for: PersonFor):
    page = person_for("editor").open("inbox/")
    keyboard = page.keyboard

    keyboard.press("Control+k")
    palette = page.get_by_role("combobox")
    expect(palette).to_be_focused()
    keyboard.press("Escape")
    expect(palette).to_be_hidden()

    keyboard.press("Control+k")
    keyboard.type("triage")
    expect(selected_option(page)).to_contain_text("triage")
    keyboard.press("Enter")
    page.wait_for_url("**/prompts/support.triage/")

    keyboard.press("Control+k")
    keyboard.type("audit")
    expect(selected_option(page)).to_contain_text("Audit log")
    keyboard.press("ArrowDown")
    keyboard.press("ArrowUp")
    keyboard.press("Enter")
    page.wait_for_url("**/settings/audit/")


def test_a_reference_and_a_hash_are_jumped_to(person_for: PersonFor):
    editor = person_for("editor")
    digest = editor.instance.call("GET", "/api/v1/prompts/support.triage/versions/2")[1]["hash"]

    for typed in ("support.triage@2", digest[:19], digest[7:17]):
        page = editor.open("prompts/")
        page.keyboard.press("Control+k")
        page.keyboard.type(typed)
        expect(selected_option(page)).to_contain_text("v2")
        page.keyboard.press("Enter")
        page.wait_for_url("**/prompts/support.triage/versions/2/")


def test_a_version_is_written_and_committed_without_a_mouse(person_for: PersonFor, prompt: str):
    page = person_for("editor").open(f"prompts/{prompt}/")
    keyboard = page.keyboard
    page.get_by_role("link", name="Edit", exact=True).focus()
    keyboard.press("Enter")
    page.get_by_label("Text of the message").first.focus()
    keyboard.press("Control+End")
    keyboard.type("\nOne line more.")
    keyboard.press("Control+Enter")
    page.wait_for_url("**/edit/commit/")
    expect(page.get_by_label("What changes, and why")).to_be_focused()
    keyboard.type("By keyboard")
    keyboard.press("Enter")

    expect(page.get_by_text("Version 2 committed")).to_be_visible()


def test_tab_leads_from_the_top_to_the_content_and_focus_is_seen(person_for: PersonFor):
    page = person_for("editor").open("prompts/")

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Import")).to_be_focused()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_a_tab_does_not_get_stuck_in_the_editor(person_for: PersonFor, prompt: str):
    page = person_for("editor").open(f"prompts/{prompt}/edit/")
    page.get_by_label("Text of the message").first.focus()

    page.keyboard.press("Tab")

    expect(page.get_by_label("Text of the message").first).not_to_be_focused()


def test_a_key_is_made_and_copied(person_for: PersonFor):
    admin = person_for("admin")
    admin.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = admin.open("settings/keys/")
    page.get_by_role("textbox", name="Name").focus()
    page.keyboard.type("by keyboard")
    page.keyboard.press("Tab")
    # By the first letters, as in any list.
    page.keyboard.type("Edith")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")

    copy = page.locator("[data-copy]")
    copy.wait_for()
    page.wait_for_load_state("networkidle")
    copy.focus()
    page.keyboard.press("Enter")
    expect(copy).to_have_text("Copied")
    assert re.fullmatch(r"cbk_\w{12}_\w{32}", page.evaluate("navigator.clipboard.readText()"))


def test_enter_opens_what_was_typed_and_not_the_list_before(person_for: PersonFor):
    page = person_for("editor").open("prompts/")
    keyboard = page.keyboard

    keyboard.press("Control+k")
    expect(selected_option(page)).to_be_visible()
    # Faster than a search can be.
    keyboard.type("inbox")
    keyboard.press("Enter")

    page.wait_for_url("**/inbox/")


def test_a_role_is_saved_by_its_button_and_no_arrow_key(person_for: PersonFor):
    page = person_for("admin").open("settings/members/")
    role = page.get_by_label("Role of editor")
    expect(role).to_have_value("editor")

    role.focus()
    page.keyboard.press("ArrowDown")
    expect(role).to_have_value("reviewer")
    page.reload()

    expect(page.get_by_label("Role of editor")).to_have_value("editor")


def test_a_filter_counts_when_it_is_left_and_not_on_the_way(person_for: PersonFor):
    page = person_for("editor").open("prompts/")
    status = page.locator("form[data-submit-on-change] select").first
    status.focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_timeout(300)
    assert page.url.endswith("/prompts/")

    page.keyboard.press("Tab")

    page.wait_for_url("**/prompts/?*")
