"""Writing: nothing that is typed is lost, faults stand at their line, and two people are told of each other."""

import base64
import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import Person, PersonFor, commit

SORTING = "Sort the ticket.\n- incident: something is down\n- billing: money, {{ ticket }}"


def saved(page: Page) -> None:
    expect(page.locator("[data-saved]")).to_have_text("draft saved")


def write(person: Person, prompt: str, text: str) -> Page:
    page = person.open(f"prompts/{prompt}/edit/")
    page.get_by_label("Text of the message").first.fill(text)
    saved(page)
    return page


def test_a_draft_survives_a_closed_tab(person_for: PersonFor, prompt: str):
    editor = person_for("editor")
    page = editor.open(f"prompts/{prompt}/edit/")
    page.get_by_label("Text of the message").first.fill("Typed and closed at once {{ ticket }}")
    page.close(run_before_unload=True)

    # The browser sends what was typed for a page that is gone; it may arrive after the next one was asked for.
    editor.page = editor.context.new_page()
    stored_text = "Typed and closed at once {{ ticket }}"
    for _ in range(40):
        page = editor.open(f"prompts/{prompt}/edit/")
        if page.get_by_label("Text of the message").first.input_value() == stored_text:
            break
        page.wait_for_timeout(250)
    expect(page.get_by_label("Text of the message").first).to_have_value(stored_text)
    expect(editor.open("inbox/").get_by_role("heading", name="Your drafts")).to_be_visible()


def test_faults_stand_at_their_line_while_typing(person_for: PersonFor, prompt: str):
    page = write(person_for("editor"), prompt, "Fine {{ ticket }}\nFine\n{{ broken | nonsense }}")

    expect(page.get_by_text("Line 3: The filter “nonsense” is not available in prompts")).to_be_visible()
    expect(page.locator(".code .l.error")).to_have_text("{{ broken | nonsense }}")
    expect(page.get_by_text("1 to fix before it can be committed")).to_be_visible()

    page.get_by_label("Text of the message").first.fill("Fine {{ ticket }}")
    expect(page.locator(".code .l.error")).to_have_count(0)


def test_variables_are_found_typed_and_tried(person_for: PersonFor, prompt: str):
    page = write(person_for("editor"), prompt, "{{ ticket }} {% for note in notes %}[{{ note }}]{% endfor %}")

    row = page.locator("[data-variable='notes']")
    row.get_by_label("Type").select_option("array")
    page.get_by_label("notes", exact=True).fill('["a", "b"]')
    page.get_by_label("ticket", exact=True).fill("Help")

    expect(page.get_by_label("Preview")).to_contain_text("Help [a][b]")
    expect(page.get_by_label("Preview").get_by_text("tokens").first).to_be_visible()
    expect(page.get_by_label("Preview").get_by_text("input, OpenAI list")).to_be_visible()

    page.get_by_label("notes", exact=True).fill('"text"')
    expect(page.get_by_text("The sample value is not of type array")).to_be_visible()
    expect(page.get_by_label("Preview")).to_contain_text("Help")


def test_sample_values_are_stored_text_for_the_next_one_who_edits(person_for: PersonFor, prompt: str):
    editor = person_for("editor")
    page = editor.open(f"prompts/{prompt}/edit/")
    page.get_by_label("ticket", exact=True).fill("The export is locked")
    saved(page)

    other = person_for("reviewer").open(f"prompts/{prompt}/edit/")

    expect(other.get_by_label("ticket", exact=True)).to_have_value("The export is locked")


def test_blocks_are_added_moved_and_removed(person_for: PersonFor, prompt: str):
    page = person_for("editor").open(f"prompts/{prompt}/edit/")
    page.get_by_role("button", name="+ Message").click()
    page.keyboard.type("The question {{ ticket }}")
    page.get_by_role("button", name="+ Example pair").click()
    page.keyboard.type("An example input")
    saved(page)

    roles = page.locator("[data-role-of]")
    expect(roles).to_have_count(4)
    values = [roles.nth(index).input_value() for index in range(4)]
    assert values == ["system", "user", "assistant", "user"]

    page.get_by_label("Text of the message").nth(3).press("Alt+ArrowUp")
    expect(page.get_by_label("Text of the message").nth(2)).to_have_value("The question {{ ticket }}")
    expect(page.get_by_label("Text of the message").nth(2)).to_be_focused()
    page.get_by_role("button", name="Remove this message").nth(3).click()
    expect(roles).to_have_count(3)
    page.get_by_role("button", name="Undo").click()
    expect(roles).to_have_count(4)
    page.get_by_role("button", name="Remove this message").nth(3).click()
    expect(roles).to_have_count(3)
    saved(page)
    page.reload()
    expect(page.locator("[data-role-of]")).to_have_count(3)


def test_a_schema_that_is_no_json_yet_is_marked_and_stored_text(person_for: PersonFor, prompt: str):
    page = person_for("editor").open(f"prompts/{prompt}/edit/")
    page.get_by_label("Format").select_option("json_schema")
    page.get_by_label("JSON Schema").fill('{\n  "type": "object",\n  "properties":\n')
    saved(page)

    expect(page.get_by_text("This is not JSON yet")).to_be_visible()
    page.reload()
    expect(page.get_by_label("JSON Schema")).to_have_value('{\n  "type": "object",\n  "properties":\n')

    page.get_by_label("JSON Schema").fill('{"type": "object", "properties": {"a": {"type": "strong"}}}')
    expect(page.get_by_text("Not a JSON Schema", exact=False).first).to_be_visible()
    page.get_by_label("JSON Schema").fill('{"type": "object"}')
    page.get_by_role("button", name="Tidy").click()
    expect(page.get_by_label("JSON Schema")).to_have_value('{\n  "type": "object"\n}')
    expect(page.locator("[data-marks='/response/schema'] li")).to_have_count(0)


def test_somebody_elses_commit_is_told_and_merged(person_for: PersonFor, prompt: str):
    editor = person_for("editor")
    page = write(editor, prompt, "You sort support tickets.\nAnswer with the category.\nTicket: {{ ticket }}")
    commit(editor.instance, prompt, "You sort all tickets.\nAnswer with the category.\n{{ ticket }}", "All of them")

    page.get_by_label("Text of the message").first.press_sequentially(" ")
    expect(page.get_by_text("committed v2")).to_be_visible()
    page.get_by_role("link", name="See both and merge").click()
    expect(page.get_by_role("heading", name=re.compile("Merge changes to"))).to_be_visible()
    expect(page.get_by_text("both fit together")).to_be_visible()
    page.get_by_role("button", name="Merge into my draft").click()

    text = page.get_by_label("Text of the message").first.input_value()
    assert "You sort all tickets." in text
    assert "Ticket:" in text
    page.get_by_role("link", name="Review and commit").click()
    page.get_by_label("What changes, and why").fill("Both")
    page.get_by_role("button", name="Commit").click()
    expect(page.get_by_text("Version 3 committed")).to_be_visible()


def test_a_conflict_asks_for_a_choice(person_for: PersonFor, prompt: str):
    editor = person_for("editor")
    page = write(editor, prompt, "You sort MINE.\nAnswer with the category.\n{{ ticket }}")
    commit(editor.instance, prompt, "You sort THEIRS.\nAnswer with the category.\n{{ ticket }}", "Theirs")

    page = editor.open(f"prompts/{prompt}/edit/merge/")
    expect(page.get_by_text("choose one")).to_be_visible()
    page.get_by_role("button", name="Merge into my draft").click()
    # The browser holds the form until one is chosen.
    expect(page.get_by_text("choose one")).to_be_visible()
    page.get_by_role("radio", name="theirs").check()
    page.get_by_role("button", name="Merge into my draft").click()

    expect(page.get_by_label("Text of the message").first).to_have_value(re.compile("THEIRS"))


def test_two_tabs_of_one_person_do_not_overwrite_each_other(person_for: PersonFor, prompt: str):
    editor = person_for("editor")
    first = write(editor, prompt, "From the first tab {{ ticket }}")
    editor.page = editor.context.new_page()
    second = write(editor, prompt, "From the second tab {{ ticket }}")

    first.get_by_label("Text of the message").first.fill("Stale {{ ticket }}")

    expect(first.get_by_role("alert")).to_contain_text("changed in another window")
    second.reload()
    expect(second.get_by_label("Text of the message").first).to_have_value("From the second tab {{ ticket }}")


def test_the_back_button_after_a_commit_does_no_harm(person_for: PersonFor, prompt: str):
    page = write(person_for("editor"), prompt, "Committed once {{ ticket }}")
    page.get_by_role("link", name="Review and commit").click()
    page.get_by_label("What changes, and why").fill("Once")
    page.get_by_role("button", name="Commit").click()
    expect(page.get_by_text("Version 2 committed")).to_be_visible()

    page.go_back()

    expect(page.get_by_text("it may have been committed already")).to_be_visible()


def test_typing_goes_on_while_the_server_is_away(person_for: PersonFor, prompt: str):
    editor = person_for("editor")
    page = write(editor, prompt, "Before {{ ticket }}")
    editor.context.set_offline(True)
    page.get_by_label("Text of the message").first.fill("While away {{ ticket }}")
    expect(page.get_by_role("alert")).to_contain_text("Not saved: the server cannot be reached")
    editor.trouble.clear()

    editor.context.set_offline(False)

    saved(page)
    expect(page.get_by_role("alert")).to_have_count(0)
    editor.trouble.clear()


def test_who_was_signed_out_signs_in_elsewhere_and_loses_nothing(person_for: PersonFor, prompt: str):
    editor = person_for("editor")
    page = write(editor, prompt, "Before {{ ticket }}")
    editor.context.clear_cookies()
    page.get_by_label("Text of the message").first.fill("Signed out meanwhile {{ ticket }}")
    expect(page.get_by_role("alert")).to_contain_text("You are signed out; what you typed is still here")

    editor.page = editor.context.new_page()
    editor.sign_in()

    saved(page)
    page.reload()
    expect(page.get_by_label("Text of the message").first).to_have_value("Signed out meanwhile {{ ticket }}")


def test_a_hidden_schema_is_stored_text(person_for: PersonFor, prompt: str):
    page = person_for("editor").open(f"prompts/{prompt}/edit/")
    page.get_by_label("Format").select_option("json_schema")
    page.get_by_label("JSON Schema").fill('{"type": "object"}')
    page.get_by_label("Format").select_option("text")
    saved(page)
    page.reload()

    page.get_by_label("Format").select_option("json_schema")
    expect(page.get_by_label("JSON Schema")).to_have_value('{"type": "object"}')


def test_a_commit_with_faults_leads_to_the_first_of_them(person_for: PersonFor, prompt: str):
    page = write(person_for("editor"), prompt, "{{ broken")
    expect(page.get_by_text("1 to fix")).to_be_visible()

    # It says that it is disabled, and helps all the same.
    page.get_by_role("link", name="Review and commit").click(force=True)

    expect(page).to_have_url(re.compile("/edit/$"))
    expect(page.get_by_label("Text of the message").first).to_be_focused()


def test_a_partial_is_previewed_and_can_be_brought_up_to_date(person_for: PersonFor, prompt: str):
    editor = person_for("editor")
    call = editor.instance.call
    call("POST", "/api/v1/prompts", {"name": f"{prompt}-part"})
    for text in ("Old voice.", "New voice."):
        content = {"kind": "text", "text": text}
        call("POST", f"/api/v1/prompts/{prompt}-part/versions", {"content": content})
        if text.startswith("Old"):
            page = write(editor, prompt, f'{{% include "{prompt}-part" %}} {{{{ ticket }}}}')
            page.get_by_role("link", name="Review and commit").click()
            page.get_by_label("What changes, and why").fill("A partial")
            page.get_by_role("button", name="Commit").click()

    page = editor.open(f"prompts/{prompt}/edit/")
    expect(page.get_by_label("Preview")).to_contain_text("Old voice.")
    page.get_by_role("button", name="Use the newest").click()

    expect(page.get_by_label("Preview")).to_contain_text("New voice.")


def test_the_draft_is_tried_while_it_is_written(person_for: PersonFor, prompt: str):
    page = write(person_for("editor"), prompt, SORTING)
    page.get_by_label("ticket", exact=True).fill("I was charged twice")
    page.get_by_role("tab", name="Preview").focus()
    page.keyboard.press("ArrowRight")

    page.get_by_role("button", name="Run").click()

    answer = page.locator("article.answer-card")
    expect(answer.get_by_text("tokens")).to_be_visible()
    expect(answer.get_by_label("Output")).not_to_be_empty()
    expect(page.get_by_text("A simulation.")).to_be_visible()
    answer.get_by_text("Request", exact=True).click()
    expect(answer).to_contain_text("- billing: money, I was charged twice")
    # What asks for changes gets this answer once more, and leaves it as it is: it could be clicked just then.
    page.evaluate(
        """async () => {
            const asked = performance.getEntriesByType("resource").map(({name}) => name);
            const address = new URL(asked.find((name) => name.includes("seen=")));
            await window.htmx.ajax("GET", address.pathname, {target: "#playground-wait", swap: "outerHTML"});
        }"""
    )
    expect(answer.locator("details")).to_have_attribute("open", "")
    answer.get_by_role("button", name="Propose as a case").click()
    expect(answer.get_by_text("Saved as a proposal for ")).to_be_visible()

    page.get_by_label("Text of the message").first.fill("{{ broken")
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#answers").get_by_role("alert")).to_be_visible()


PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def test_a_message_gets_an_image_and_a_second_text(person_for: PersonFor, prompt: str):
    page = person_for("editor").open(f"prompts/{prompt}/edit/")
    page.get_by_role("button", name="+ Message").click()
    page.keyboard.type("What is wrong here?")
    block = page.locator("[data-block]").last
    expect(block.get_by_role("button", name="+ Text")).to_be_hidden()
    expect(block.get_by_role("button", name="Remove this text")).to_be_hidden()
    block.get_by_role("button", name="+ Image").click()
    page.keyboard.type("ftp://somewhere")
    expect(block.get_by_text("Must be https://…")).to_be_visible()
    block.locator("[data-image-file]").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": PIXEL})
    expect(block.get_by_alt_text("The image")).to_be_visible()
    block.get_by_label("Detail of the image").select_option("low")
    block.get_by_role("button", name="+ Text").click()
    page.keyboard.type("Say it in one word.")
    saved(page)
    expect(page.get_by_label("Preview").get_by_alt_text("An image of this message")).to_be_visible()

    page.reload()
    expect(block.get_by_label("Text of the message")).to_have_count(2)
    expect(block.get_by_label("Detail of the image")).to_have_value("low")
    block.get_by_role("button", name="Remove this image").click()
    block.get_by_role("button", name="Remove this text").first.click()
    expect(block.get_by_label("Text of the message")).to_have_count(1)
    saved(page)


def test_a_file_that_is_too_large_is_refused_with_what_to_do(person_for: PersonFor, prompt: str):
    page = person_for("editor").open(f"prompts/{prompt}/edit/")
    page.get_by_role("button", name="+ Message").click()
    page.get_by_role("button", name="+ Image").last.click()
    large = {"name": "large.png", "mimeType": "image/png", "buffer": PIXEL + b"\0" * 400_000}
    page.locator("[data-block]").last.locator("[data-image-file]").set_input_files(large)
    fault = page.get_by_text("large.png has 391 KiB; at most 384 are possible here. Give its address, or a variable")

    expect(fault).to_be_visible()
    saved(page)
    page.keyboard.type("x")
    saved(page)
    # What is saved in the meantime does not answer it.
    expect(fault).to_be_visible()
    text = {"name": "text.png", "mimeType": "image/png", "buffer": b"not a picture"}
    page.locator("[data-block]").last.locator("[data-image-file]").set_input_files(text)
    expect(page.get_by_text("text.png has no image in it.")).to_be_visible()


GIVE_FILES = """(element, {event, name, type, base64, text}) => {
    const transfer = new DataTransfer();
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    transfer.items.add(new File([bytes], name, {type}));
    if (text) transfer.setData("text/plain", text);
    const options = {bubbles: true, cancelable: true};
    const happened = event === "paste"
        ? new ClipboardEvent("paste", {...options, clipboardData: transfer})
        : new DragEvent("drop", {...options, dataTransfer: transfer});
    return element.dispatchEvent(happened);
}"""


def test_a_picture_is_pasted_or_dropped_into_a_message_of_the_user(person_for: PersonFor, prompt: str):
    page = person_for("editor").open(f"prompts/{prompt}/edit/")
    page.get_by_role("button", name="+ Message").click()
    page.keyboard.type("What is wrong here?")
    block = page.locator("[data-block]").last
    text = block.get_by_label("Text of the message")
    picture = {"name": "a.png", "type": "image/png", "base64": base64.b64encode(PIXEL).decode()}

    text.evaluate(GIVE_FILES, {**picture, "event": "paste"})
    expect(block.get_by_alt_text("The image")).to_have_count(1)
    expect(text).to_be_focused()
    text.evaluate(GIVE_FILES, {**picture, "event": "drop"})
    expect(block.get_by_alt_text("The image")).to_have_count(2)
    # On an image, it takes its place.
    block.get_by_label("Address of the image").first.fill("https://example.org/a.png")
    block.get_by_label("Address of the image").first.evaluate(GIVE_FILES, {**picture, "event": "drop"})
    expect(block.get_by_label("Address of the image").first).to_have_value(re.compile("^data:image/png;base64,"))
    # What has a text as well is pasted as that, by the browser.
    assert text.evaluate(GIVE_FILES, {**picture, "event": "paste", "text": "a cell"})
    expect(block.get_by_alt_text("The image")).to_have_count(2)

    text.evaluate(GIVE_FILES, {**picture, "event": "drop", "name": "a.tiff", "type": "image/tiff"})
    expect(page.get_by_text("a.tiff is no PNG, JPEG, WebP or GIF.")).to_be_visible()
    expect(block.get_by_alt_text("The image")).to_have_count(2)
    page.get_by_label("Text of the message").first.evaluate(GIVE_FILES, {**picture, "event": "paste"})
    expect(page.get_by_text("Images are for messages of the user")).to_be_visible()


def test_a_file_for_a_variable_is_its_sample(person_for: PersonFor, prompt: str):
    page = person_for("editor").open(f"prompts/{prompt}/edit/")
    page.get_by_role("button", name="+ Message").click()
    page.keyboard.type("What is wrong here?")
    block = page.locator("[data-block]").last
    block.get_by_role("button", name="+ Image").click()
    page.keyboard.type("{{ screenshot }}")
    sample = page.locator("#sample-screenshot")
    expect(sample).to_be_visible()

    chooser = block.locator("[data-image-file]")
    chooser.set_input_files({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"x"})
    expect(page.get_by_text("notes.txt is no PNG, JPEG, WebP or GIF")).to_be_visible()
    chooser.set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": PIXEL})

    expect(sample).to_have_value(re.compile("^image:1x1:[0-9a-f]{64}$"))
    expect(block.get_by_label("Address of the image")).to_have_value("{{ screenshot }}")
    expect(page.get_by_alt_text("An image of this value")).to_be_visible()
    expect(page.get_by_label("Preview").get_by_alt_text("An image of this message")).to_be_visible()


def test_a_call_of_a_tool_comes_with_its_result(person_for: PersonFor, prompt: str):
    page = person_for("editor").open(f"prompts/{prompt}/edit/")
    page.get_by_role("button", name="+ Example pair").click()
    page.keyboard.type("Where is my order?")
    block = page.locator("[data-block][data-role='assistant']")
    block.get_by_role("button", name="+ Tool call").click()
    page.keyboard.type("find_order")
    block.get_by_label("Arguments of the call").fill('{"order": ')
    expect(block.get_by_text("Must be a JSON object")).to_be_visible()
    block.get_by_label("Arguments of the call").fill('{"order": 7}')
    result = page.locator("[data-block][data-role='tool']")
    expect(result.get_by_label("Id of the call that this answers")).to_have_value("call_1")
    result.get_by_label("Text of the message").fill("It was sent.")
    page.get_by_role("button", name="+ Message").click()
    page.keyboard.type("And now? {{ ticket }}")
    saved(page)
    expect(page.get_by_text("This calls find_order, which is not among the prompt’s tools.")).to_be_visible()

    page.get_by_text("Tools functions that the model may call").click()
    page.get_by_label("Tools, as JSON").fill('[{"type": "function", "function": {"name": "find_order"}}]')
    expect(page.get_by_text("This calls find_order")).to_be_hidden()
    saved(page)
    page.get_by_role("link", name="Review and commit").click()
    expect(page.get_by_text("=== call find_order call_1 ===")).to_be_visible()
    page.get_by_label("What changes, and why").fill("With a call")
    page.get_by_role("button", name="Commit").click()
    expect(page.get_by_text("committed").first).to_be_visible()
    expect(page.get_by_text("find_order").first).to_be_visible()


def test_a_collection_is_chosen_and_what_it_finds_is_shown(person_for: PersonFor, prompt: str):
    editor = person_for("editor")
    page = write(editor, prompt, "{{ context }}\n\nMy card was charged two times. {{ question }}")
    page.get_by_label("Collection").select_option("support.handbook")
    page.get_by_label("Chunks, at most").fill("2")
    saved(page)

    # Workers embed the demo's handbook while other tests run.
    for _ in range(60):
        page = editor.open(f"prompts/{prompt}/edit/")
        retrieved = page.get_by_label("Retrieved")
        page.wait_for_load_state("networkidle")
        if retrieved.count():
            break
        page.wait_for_timeout(1_000)
    expect(retrieved).to_contain_text("billing/refunds.md")
    expect(retrieved.get_by_role("listitem")).to_have_count(2)
    expect(page.get_by_label("Collection")).to_have_value("support.handbook")
    expect(page.get_by_label("Chunks, at most")).to_have_value("2")
    page.get_by_label("Collection").select_option("")
    saved(page)
    expect(page.get_by_label("Chunks, at most")).to_be_hidden()
