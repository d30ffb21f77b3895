// The command palette: type, select with the arrows, open. The server searches.

const dialog = document.getElementById("palette");
const input = dialog?.querySelector("input");
const list = dialog?.querySelector("[role='listbox']");
const field = document.getElementById("search");
const PAUSE = 120;

let request = null;
let timer = 0;
// The text that the list was made for.
let listed = null;

export function openPalette() {
  if (!dialog || dialog.open) return;
  input.value = "";
  dialog.showModal();
  input.focus();
  search();
}

async function search() {
  request?.abort();
  request = new AbortController();
  const text = input.value;
  const address = `${field.dataset.palette}?palette=1&q=${encodeURIComponent(text)}`;
  try {
    const answer = await fetch(address, { headers: { "HX-Request": "true" }, signal: request.signal });
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    // The server's own fragment, with every text escaped.
    list.innerHTML = await answer.text();
    listed = text;
    select(0);
  } catch (error) {
    if (error.name !== "AbortError") list.textContent = `The list cannot be loaded: ${error.message}.`;
  }
}

function options() {
  return [...list.querySelectorAll("[role='option']")];
}

function selectedOption() {
  return list.querySelector("[aria-selected='true']");
}

function select(index) {
  const all = options();
  selectedOption()?.setAttribute("aria-selected", "false");
  const next = all[(index + all.length) % all.length];
  if (!next) return input.removeAttribute("aria-activedescendant");
  next.setAttribute("aria-selected", "true");
  next.scrollIntoView({ block: "nearest" });
  input.setAttribute("aria-activedescendant", next.id);
}

// Enter may come before the list of what was typed: then it opens the first of that list, and not of the one before.
async function open() {
  clearTimeout(timer);
  while (listed !== input.value && dialog.open) {
    const text = input.value;
    await search();
    // The list could not be loaded, and says so.
    if (listed !== text && input.value === text) return;
  }
  if (dialog.open) selectedOption()?.click();
}

function move(step) {
  select(options().indexOf(selectedOption()) + step);
}

if (dialog) {
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, PAUSE);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") move(1);
    else if (event.key === "ArrowUp") move(-1);
    else if (event.key === "Enter") open();
    // A search field would take the first Escape for itself, to empty it.
    else if (event.key === "Escape") dialog.close();
    else return;
    event.preventDefault();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  field.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    openPalette();
  });
}
