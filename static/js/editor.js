// Writing a prompt: message blocks, a draft that is saved as it is typed, and a preview of what the provider will get.

import { UNREADABLE, aside, collectExamples, collectRetrieval, collectMessages, collectModel, collectResponse, collectTools } from "./document.js";
import { gravest, paint } from "./highlight.js";
import { filesOf } from "./images.js";
import { addCall, addPart, addPictures, fieldAt, offerNames, paintAll, removePart, setRole, showAddress, showPicture } from "./messages.js";
import { Variables } from "./variables.js";

const PAUSE = 450; // milliseconds
const MAX_PAUSE = 15000;
const UNDO_MILLISECONDS = 12000;
const root = document.querySelector("[data-editor]");
const state = JSON.parse(document.getElementById("editor-state").textContent);
const blocks = root.querySelector("[data-blocks]");
const preview = root.querySelector("[data-preview]");
const saved = document.querySelector("[data-saved]");
const trouble = document.querySelector("[data-trouble]");
const summary = document.querySelector("[data-summary]");
const review = document.querySelector("[data-review]");
const undo = document.querySelector("[data-undo]");

let isDirty = false;
let isStopped = false;
let timer = 0;
let failures = 0;
let sending = null;
let localFaults = [];
// The block that was removed last, and the one that it stood before.
let removed = null;
// The last preview without a fault: it stays visible until the fault is fixed.
let lastRendered = "";
// The window and the number of a save: one whose answer is lost can be sent again.
const windowId = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
let serial = 0;

const variables = new Variables(root, state.variables, state.samples, changed);

// --- The document ----------------------------------------------------------------------------------------------------
function allBlocks() {
  return [...blocks.querySelectorAll("[data-block]")];
}

function collect() {
  const faults = [];
  const first = blocks.querySelector("[data-role='text'] [data-content]");
  const content = {
    ...state.carried,
    ...(first ? { kind: "text", text: first.value } : { kind: "chat", messages: collectMessages(allBlocks()) }),
    model: collectModel(root, faults),
    response: collectResponse(root, faults),
    tools: collectTools(root, faults),
    examples: collectExamples(root),
    retrieval: collectRetrieval(root, state.retrieval),
    variables: variables.declared,
    includes: state.includes,
    ...aside(root),
  };
  localFaults = faults;
  return content;
}

/** Read each time: signing in again, in another tab, sets another one. */
function token() {
  return /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie)?.[1] ?? document.querySelector("[name='csrfmiddlewaretoken']").value;
}

// --- Saving ----------------------------------------------------------------------------------------------------------
function changed() {
  isDirty = true;
  saved.textContent = "not saved yet";
  later(PAUSE);
}

function later(pause) {
  clearTimeout(timer);
  if (!isStopped) timer = setTimeout(send, pause);
}

/** Save and inspect, one request at a time; resolves when everything typed so far is saved. */
async function send() {
  clearTimeout(timer);
  if (sending) {
    await sending;
    if (!isDirty) return;
  }
  sending = exchange();
  try {
    await sending;
  } finally {
    sending = null;
  }
}

async function exchange(options = {}) {
  const isSave = isDirty;
  isDirty = false;
  const { revision, base, seen } = state;
  const { samples, sampled } = variables;
  serial += 1;
  const body = JSON.stringify({ document: collect(), samples, revision, base, seen, sampled, window: windowId, serial, save: isSave });
  try {
    const answer = await fetch(state.save, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRFToken": token() },
      body,
      ...options,
      // A browser sends at most 64 KiB for a page that is closed; a larger body is sent as usual and mostly arrives.
      keepalive: Boolean(options.keepalive) && body.length < 60_000,
    });
    const result = await answer.json();
    failures = 0;
    if (answer.ok) showResult(result, isSave);
    else showRefusal(result, isSave);
  } catch (error) {
    isDirty ||= isSave;
    failures += 1;
    showTrouble(`Not saved: ${error instanceof SyntaxError ? "the server sent no readable answer" : "the server cannot be reached"}. Trying again; keep this page open.`);
    later(Math.min(MAX_PAUSE, PAUSE * 2 ** failures));
  }
}

function showRefusal(problem, isSave) {
  isDirty ||= isSave;
  if (problem.code === "auth.required" || problem.code === "auth.csrf") {
    showTrouble("You are signed out; what you typed is still here. Sign in in another tab, and it is saved automatically: ");
    const signIn = link("/login/", "sign in");
    signIn.target = "_blank";
    trouble.append(signIn);
    return later(PAUSE * 8);
  }
  showTrouble(problem.detail ?? "The draft was refused.");
  if (problem.code === "draft.changed_elsewhere") {
    isStopped = true;
    trouble.append(" ", link(location.href, "Load the other draft"), ", or copy what you need from this page first.");
  }
}

function showTrouble(sentence) {
  trouble.textContent = sentence;
  trouble.hidden = !sentence;
}

function link(address, text) {
  const element = document.createElement("a");
  element.href = address;
  element.textContent = text;
  return element;
}

// --- The answer of the server --------------------------------------------------------------------------------------------
function showResult(result, isSave) {
  showTrouble("");
  state.revision = result.revision;
  document.querySelector("[data-revision]").value = result.revision;
  if (isSave && !isDirty) saved.textContent = "draft saved";
  document.querySelector("[data-discard]").hidden = !state.revision;
  // The server's own fragment, with every text escaped.
  preview.innerHTML = result.preview;
  if (result.is_rendered) lastRendered = preview.querySelector("[data-rendered]")?.innerHTML ?? "";
  else if (lastRendered) preview.insertAdjacentHTML("beforeend", `<div class="stale stack" aria-label="Last preview" inert>${lastRendered}</div>`);
  variables.update(result.variables);
  showMarks([...localFaults, ...result.marks]);
  showSettings(result.settings);
  const newest = result.newest?.number ?? null;
  const behind = document.querySelector("[data-behind]");
  behind.hidden = newest === state.seen;
  if (!behind.hidden) behind.querySelector("[data-behind-who]").textContent = `${result.newest.author} committed v${newest}`;
}

/** Switch off what the chosen model does not take, and say why. A field with a value stays on, so that it can be emptied. */
function showSettings({ off, efforts, max_output_tokens: most }) {
  for (const field of root.querySelectorAll("[data-field]")) {
    const why = off[field.dataset.field];
    field.disabled = Boolean(why) && !field.value;
    root.querySelector(`[data-why="${field.dataset.field}"]`).textContent = why ?? "";
  }
  root.querySelector("[data-why='limit']").textContent = most ? `at most ${most.toLocaleString("en")}` : "";
  for (const option of root.querySelector("[data-field='effort']").options) {
    option.hidden = Boolean(option.value && efforts && !efforts.includes(option.value) && !option.selected);
  }
}

/** Show each mark below its field, and colour its line there. */
function showMarks(allMarks) {
  for (const list of document.querySelectorAll(".marks")) list.replaceChildren();
  // Where a text is not JSON yet, the server's marks are about the text, not about its meaning.
  const unread = localFaults.map(({ pointer }) => (pointer === "settings" ? `/model/${UNREADABLE}` : pointer));
  const isShown = (mark) => localFaults.includes(mark) || !unread.some((pointer) => mark.pointer.startsWith(pointer));
  const marks = allMarks.filter(isShown);
  const lines = new Map();
  for (const mark of marks) {
    const { list, field } = place(mark.pointer);
    const item = document.createElement("li");
    item.className = mark.severity;
    const text = document.createElement("span");
    text.textContent = mark.line && field ? `Line ${mark.line}: ${mark.message}` : mark.message;
    item.append(text);
    list.append(item);
    if (field && mark.line) {
      const severities = lines.get(field) ?? new Map();
      severities.set(mark.line, gravest(severities.get(mark.line), mark.severity));
      lines.set(field, severities);
    }
  }
  for (const field of root.querySelectorAll(".code textarea")) paint(field, lines.get(field));
  const refusals = marks.filter((mark) => mark.refused || localFaults.includes(mark)).length;
  const hints = marks.length - refusals;
  const words = [refusals && `${refusals} to fix before it can be committed`, hints && `${hints} hint${hints > 1 ? "s" : ""}`];
  summary.textContent = words.filter(Boolean).join(" · ") || "Nothing to fix";
  review.setAttribute("aria-disabled", refusals ? "true" : "false");
}

function place(pointer) {
  const message = /^\/messages\/(\d+)/.exec(pointer);
  const block = pointer.startsWith("/text") ? allBlocks()[0] : message ? allBlocks()[Number(message[1])] : null;
  if (block) return { list: block.querySelector(".marks"), field: fieldAt(block, pointer) };
  const row = variables.row(/^\/variables\/([^/]+)/.exec(pointer)?.[1]);
  if (row) return { list: row.querySelector(".marks") };
  const lists = [...root.querySelectorAll("[data-marks]")].filter((candidate) => pointer.startsWith(candidate.dataset.marks));
  const list = lists.toSorted((first, second) => second.dataset.marks.length - first.dataset.marks.length)[0];
  return { list, field: list.parentElement.querySelector(":scope > .code textarea") };
}

// --- Blocks ----------------------------------------------------------------------------------------------------------
function make(kind, role) {
  const block = document.getElementById(`block-${kind}`).content.firstElementChild.cloneNode(true);
  if (role) setRole(block, role);
  return block;
}

function addBlocks(kind) {
  const added = kind === "example" ? [make("user", "user"), make("user", "assistant")] : [make(kind, kind === "user" ? "user" : "")];
  const all = allBlocks();
  const last = all.at(-1);
  // Examples and placeholders are put before the last message of the user.
  const isQuestion = last?.querySelector("[data-role-of]")?.value === "user" && all.length > 1;
  if (kind !== "user" && isQuestion) last.before(...added);
  else blocks.append(...added);
  for (const block of added) paintAll(block);
  added[0].querySelector("textarea, [data-name]").focus();
  changed();
}

function moveBlock(block, step) {
  const all = allBlocks();
  const neighbour = all[all.indexOf(block) + step];
  if (!neighbour) return;
  const focused = document.activeElement;
  if (step < 0) neighbour.before(block);
  else neighbour.after(block);
  focused?.focus();
  changed();
}

blocks.addEventListener("click", (event) => {
  const block = event.target.closest("[data-block]");
  if (event.target.closest("[data-up]")) moveBlock(block, -1);
  else if (event.target.closest("[data-down]")) moveBlock(block, 1);
  else if (event.target.closest("[data-remove]")) {
    removeBlock(block);
  } else if (event.target.closest("[data-add-part]")) {
    addPart(block, event.target.closest("[data-add-part]").dataset.addPart);
    changed();
  } else if (event.target.closest("[data-add-call]")) {
    const callId = addCall(block, allBlocks());
    // Each call needs its result.
    const result = make("user", "tool");
    result.querySelector("[data-answers]").value = callId;
    block.after(result);
    paintAll(result);
    changed();
  } else if (event.target.closest("[data-remove-part], [data-remove-call]")) {
    removePart(event.target.closest("[data-part], [data-call]"));
    changed();
  }
});

/** Remove a block, and offer to undo that for a while. */
function removeBlock(block) {
  const next = block.nextElementSibling;
  (block.previousElementSibling ?? next)?.querySelector("textarea, input")?.focus();
  block.remove();
  changed();
  removed = { block, next };
  undo.hidden = false;
  setTimeout(() => {
    undo.hidden = true;
  }, UNDO_MILLISECONDS);
}

undo.addEventListener("click", () => {
  const { block, next } = removed;
  if (next?.isConnected) next.before(block);
  else blocks.append(block);
  block.querySelector("textarea, input")?.focus();
  undo.hidden = true;
  changed();
});

root.addEventListener("click", (event) => {
  const add = event.target.closest("[data-add]");
  if (add) addBlocks(add.dataset.add);
  const unpin = event.target.closest("[data-unpin]");
  if (unpin) {
    delete state.includes[unpin.dataset.unpin];
    changed();
  }
  const tidy = event.target.closest("[data-format-json]");
  if (tidy) tidyJson(root.querySelector(`[data-json='${tidy.dataset.formatJson}']`));
});

function tidyJson(field) {
  try {
    field.value = JSON.stringify(JSON.parse(field.value), null, 2);
  } catch {
    // Its fault is shown below the field already.
    return;
  }
  paint(field);
  changed();
}

function showSchemaFields() {
  const isSchema = root.querySelector("[data-response='format']").value === "json_schema";
  for (const field of root.querySelectorAll("[data-schema-only]")) field.hidden = !isSchema;
}

function showExampleFields() {
  const isPicked = Boolean(root.querySelector("[data-pick='set']")?.value);
  const select = root.querySelector("[data-pick='select']")?.value;
  for (const field of root.querySelectorAll("[data-with='pick']")) {
    field.hidden = !isPicked || !(field.dataset.for ?? select).split(" ").includes(select);
  }
}

function showSearchFields() {
  const isSearched = Boolean(root.querySelector("[data-search='collection']")?.value);
  for (const field of root.querySelectorAll("[data-with='search']")) field.hidden = !isSearched;
}

root.addEventListener("input", (event) => {
  if (event.target.closest("[data-variable]")) return;
  if (event.target.matches(".code textarea")) paint(event.target);
  if (event.target.matches("[data-address]")) showAddress(event.target.closest("[data-part]"));
  if (event.target.matches("[data-role-of]")) setRole(event.target.closest("[data-block]"), event.target.value);
  if (event.target.matches("[data-response='format']")) showSchemaFields();
  if (event.target.matches("select[data-pick]")) showExampleFields();
  if (event.target.matches("select[data-search]")) showSearchFields();
  changed();
});

blocks.addEventListener("change", async (event) => {
  if (event.target.matches("[data-image-file]")) {
    const block = event.target.closest("[data-block]");
    showFileFault(block, await showPicture(event.target, variables));
    changed();
  }
});
blocks.addEventListener("paste", (event) => addFiles(event, event.clipboardData));
blocks.addEventListener("drop", (event) => addFiles(event, event.dataTransfer));
blocks.addEventListener("dragover", (event) => {
  // Without this a browser leaves the page to open the file.
  if (event.dataTransfer.types.includes("Files")) event.preventDefault();
});

/** Say what is wrong with a file, or nothing, until the next one: what is saved in the meantime does not answer it. */
function showFileFault(block, sentence) {
  const fault = block.querySelector("[data-file-fault]");
  fault.textContent = sentence;
  fault.hidden = !sentence;
}

async function addFiles(event, transfer) {
  const block = event.target.closest("[data-block]");
  const files = filesOf(transfer);
  // Dropped beside the messages, a browser would leave the page to open it.
  if (event.type === "drop" && transfer.files.length) event.preventDefault();
  if (!block || !files.length) return;
  event.preventDefault();
  showFileFault(block, await addPictures(block, event.target, files, variables));
  changed();
}

blocks.addEventListener("focusin", (event) => {
  if (event.target.matches("[list]")) offerNames(root, allBlocks());
});

// --- Keys and leaving ------------------------------------------------------------------------------------------------
document.addEventListener("keydown", (event) => {
  const block = event.target.closest?.("[data-block]");
  if ((event.ctrlKey || event.metaKey) && event.key === "Enter") {
    event.preventDefault();
    review.click();
  } else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s") {
    event.preventDefault();
    send();
  } else if (event.altKey && block && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
    event.preventDefault();
    moveBlock(block, event.key === "ArrowUp" ? -1 : 1);
  }
});

document.addEventListener("click", async (event) => {
  const go = event.target.closest("[data-go]");
  if (!go) return;
  event.preventDefault();
  if (go.getAttribute("aria-disabled") === "true") return showFirstFault();
  // Review needs a draft: an unchanged document becomes one.
  if (!state.revision) isDirty = true;
  if (isDirty || sending) await send();
  if (!isDirty && !isStopped) location.assign(go.href);
});

// --- The playground beside the text ------------------------------------------------------------------------------------------
document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-try]");
  if (!form) return;
  event.preventDefault();
  // The playground runs the draft, so what was typed is saved first; an unchanged document becomes one.
  if (!state.revision) isDirty = true;
  if (isDirty || sending) await send();
  if (!isDirty && !isStopped) form.dispatchEvent(new CustomEvent("try"));
});

function showFirstFault() {
  const fault = root.querySelector(".marks .error");
  fault?.scrollIntoView({ block: "center" });
  const around = fault?.closest("[data-block], [data-variable], .block, .card");
  (around?.querySelector("textarea") ?? around?.querySelector("input, select"))?.focus({ preventScroll: true });
}

function flush() {
  clearTimeout(timer);
  // Also while another save is under way: this one has the later serial.
  if (isDirty && !isStopped) exchange({ keepalive: true });
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) flush();
});
window.addEventListener("pagehide", flush);
window.addEventListener("beforeunload", (event) => {
  if (isDirty && failures) event.preventDefault();
});
// A page from the browser's cache may be older than the draft.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

showSchemaFields();
showExampleFields();
showSearchFields();
for (const field of root.querySelectorAll(".code textarea")) paint(field);
root.querySelector("[data-content]")?.focus({ preventScroll: true });
later(0);
