// The script of every page of the workspace: the command palette, copy buttons, and forms that are submitted once.

import { openPalette } from "./palette.js";

document.documentElement.classList.add("scripted");
for (const element of document.querySelectorAll("[data-unless-script]")) element.hidden = true;

if (/Mac|iPhone|iPad/.test(navigator.platform)) {
  for (const shortcut of document.querySelectorAll("[data-shortcut]")) shortcut.textContent = "⌘ K";
}

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "k") {
    event.preventDefault();
    openPalette();
  }
  if (event.key === "Escape") closeMenus();
});

document.addEventListener("click", (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) copyBeside(copy);
  if (!event.target.closest("details.menu")) closeMenus();
});

document.addEventListener("change", (event) => {
  // This choice changes other parts of the page, which the server renders.
  if (event.target.matches("select[data-reload]")) location.search = `?${event.target.name}=${encodeURIComponent(event.target.value)}`;
  const form = event.target.closest("form[data-submit-on-change]");
  if (!form || !event.target.matches("select")) return;
  // With the arrow keys each choice on the way is a change: it counts when Enter is pressed, or the field is left.
  if ("byKey" in event.target.dataset) event.target.dataset.changed = "";
  else form.requestSubmit();
});

document.addEventListener("keydown", (event) => {
  if (!event.target.matches("form[data-submit-on-change] select")) return;
  if (event.key === "Enter") submitChanged(event.target);
  else event.target.dataset.byKey = "";
});

document.addEventListener("pointerdown", (event) => {
  if (event.target.matches("select")) delete event.target.dataset.byKey;
});

document.addEventListener("focusout", (event) => {
  if (event.target.matches("form[data-submit-on-change] select")) submitChanged(event.target);
});

function submitChanged(select) {
  delete select.dataset.byKey;
  if (!("changed" in select.dataset)) return;
  delete select.dataset.changed;
  select.form.requestSubmit();
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  const question = event.submitter?.dataset.confirm ?? form.dataset.confirm;
  if (question && !window.confirm(question)) {
    event.preventDefault();
    return;
  }
  if (form.matches("[data-submit-on-change][method='get'], [data-submit-on-change]:not([method])")) leaveOutEmpty(form);
  if ("keep" in form.dataset) keepText(form);
  if ("once" in form.dataset) {
    // After the browser has collected the fields: a disabled button would not be submitted.
    setTimeout(() => disableButtons(form, true));
  }
});

// Coming back by the browser's history: the forms of a page from its cache can be used again.
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form")) {
    for (const field of form.elements) {
      if (field.dataset.emptied) {
        field.disabled = false;
        delete field.dataset.emptied;
      }
    }
    if ("once" in form.dataset) disableButtons(form, false);
  }
});

// A tab that is off the edge of a phone is scrolled into view.
for (const link of document.querySelectorAll(".nav [aria-current], .tabs [aria-current]")) {
  link.parentElement.scrollLeft = link.offsetLeft - link.parentElement.clientWidth / 2 + link.offsetWidth / 2;
}

/** Keep the text of a form in case the session has ended; it is removed once the form has been accepted. */
function keepText(form) {
  for (const field of form.querySelectorAll("textarea")) {
    if (field.value) sessionStorage.setItem(`${location.pathname} ${field.name}`, field.value);
  }
}

for (const form of document.querySelectorAll("form[data-keep]")) {
  for (const field of form.querySelectorAll("textarea")) {
    const key = `${location.pathname} ${field.name}`;
    if (!document.querySelector(".note.good") && !field.value) field.value = sessionStorage.getItem(key) ?? "";
    sessionStorage.removeItem(key);
  }
}

function disableButtons(form, isDisabled) {
  for (const button of form.querySelectorAll("button")) button.disabled = isDisabled;
}

function closeMenus() {
  for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
}

/** Addresses of lists have only the filters that are set, so that they are short when shared. */
function leaveOutEmpty(form) {
  for (const field of form.elements) {
    if (field.name && !field.value && !field.disabled) {
      field.disabled = true;
      field.dataset.emptied = "1";
    }
  }
}

async function copyBeside(button) {
  const text = button.parentElement.querySelector("pre").textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without TLS there is no clipboard to write to; the text is selected instead.
    getSelection().selectAllChildren(button.parentElement.querySelector("pre"));
    button.textContent = "Selected: press Ctrl C";
    return;
  }
  button.textContent = "Copied";
  setTimeout(() => {
    button.textContent = "Copy";
  }, 2000);
}

// What is on the page already is not put there again: an open detail would close, and a click just then be lost.
document.addEventListener("htmx:oobBeforeSwap", (event) => {
  const { target, fragment } = event.detail;
  const { changed } = target.dataset;
  if (changed && fragment.firstElementChild?.dataset.changed === changed) event.detail.shouldSwap = false;
});

// A part of a page that loads itself once and did not come: said, with a button, instead of a page that waits for ever.
const LOADS_ONCE = "[hx-trigger='opened once'], [hx-trigger='revealed'], [hx-trigger='load']";

for (const failure of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
  document.addEventListener(failure, (event) => {
    const part = event.detail.elt;
    if (part.matches("[hx-get]") && part.matches(LOADS_ONCE)) offerAgain(part);
  });
}

function offerAgain(part) {
  const note = document.createElement("p");
  note.className = "note warn pad";
  note.setAttribute("role", "status");
  const again = document.createElement("button");
  again.type = "button";
  again.className = "btn small";
  again.textContent = "Try again";
  again.addEventListener("click", () => {
    const swap = part.getAttribute("hx-swap") ?? "innerHTML";
    window.htmx.ajax("GET", part.getAttribute("hx-get"), { source: part, target: part, swap });
  });
  note.append("This part could not be loaded. ", again);
  part.replaceChildren(note);
}
