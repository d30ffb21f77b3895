// Tables of fields: a new row once the last blank one is used, and rows to be removed.

const form = document.querySelector("[data-rows]");
const body = form.querySelector("tbody");
const button = form.querySelector("[data-add-row]");
let serial = body.querySelectorAll("[name^='input:new']").length;

function addRow() {
  serial += 1;
  const row = body.lastElementChild.cloneNode(true);
  for (const element of row.querySelectorAll("[id], [name], [for]")) {
    for (const attribute of ["id", "name", "for"]) {
      const value = element.getAttribute(attribute);
      if (value !== null) element.setAttribute(attribute, value.replace(/:new\d+$/, `:new${serial}`));
    }
  }
  for (const field of row.querySelectorAll("textarea, input")) field.value = "";
  for (const error of row.querySelectorAll(".error")) error.remove();
  body.append(row);
  return row;
}

button.hidden = false;
button.addEventListener("click", () => addRow().querySelector("textarea").focus());

body.addEventListener("change", (event) => {
  if (event.target.matches("[type='checkbox']")) event.target.closest("tr").classList.toggle("removed", event.target.checked);
});

body.addEventListener("input", (event) => {
  if (event.target.closest("tr") === body.lastElementChild && event.target.value) addRow();
});

// Leaving with unsaved changes asks first.
let isTyped = false;
form.addEventListener("input", () => {
  isTyped = true;
});
form.addEventListener("submit", () => {
  isTyped = false;
});
window.addEventListener("beforeunload", (event) => {
  if (isTyped) event.preventDefault();
});
