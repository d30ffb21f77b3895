// What every page of the workspace has: the command palette, copy buttons, and forms that are not sent twice.

import { openPalette } from "./palette.js";

document.documentElement.classList.add("scripted");
for (const one of document.querySelectorAll("[data-unless-script]")) one.hidden = true;

if (/Mac|iPhone|iPad/.test(navigator.platform)) {
  for (const one of document.querySelectorAll("[data-shortcut]")) one.textContent = "⌘ K";
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
  // What this choice decides is elsewhere on the page: the server knows it.
  if (event.target.matches("select[data-reload]")) location.search = `?${event.target.name}=${encodeURIComponent(event.target.value)}`;
  const form = event.target.closest("form[data-submit-on-change]");
  if (form && event.target.matches("select")) form.requestSubmit();
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  const question = event.submitter?.dataset.confirm ?? form.dataset.confirm;
  if (question && !window.confirm(question)) {
    event.preventDefault();
    return;
  }
  if (form.matches("[data-submit-on-change][method='get'], [data-submit-on-change]:not([method])")) leaveOutEmpty(form);
  if ("keep" in form.dataset) keepWords(form);
  if ("once" in form.dataset) {
    // After the browser has collected the fields: a disabled button would not be sent.
    setTimeout(() => form.querySelectorAll("button").forEach((button) => (button.disabled = true)));
  }
});

// Coming back by the browser's history: the forms of a page that was kept can be used again.
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form")) {
    for (const field of form.elements) {
      if (field.dataset.emptied) {
        field.disabled = false;
        delete field.dataset.emptied;
      }
    }
    if ("once" in form.dataset) form.querySelectorAll("button").forEach((button) => (button.disabled = false));
  }
});

// A tab that is off the edge of a phone is brought into sight.
for (const one of document.querySelectorAll(".side [aria-current], .tabs [aria-current]")) {
  one.parentElement.scrollLeft = one.offsetLeft - one.parentElement.clientWidth / 2 + one.offsetWidth / 2;
}

/** What was written in a form outlives a session that ended meanwhile; it is forgotten once it has arrived. */
function keepWords(form) {
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

function closeMenus() {
  for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
}

/** Addresses of lists say only what is narrowed, so that they read well when they are shared. */
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
  setTimeout(() => (button.textContent = "Copy"), 2000);
}
