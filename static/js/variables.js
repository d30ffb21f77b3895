// The variables panel: a row for each variable that the text uses or the prompt declares.

import { parseValue, valueAsText } from "./document.js";
import { showImages } from "./images.js";

export class Variables {
  constructor(root, declared, samples, changed) {
    this.rows = root.querySelector("[data-variables]");
    this.none = root.querySelector("[data-no-variables]");
    this.template = document.getElementById("variable-row");
    // Without a prototype: a variable may be called `constructor`.
    this.declared = Object.assign(Object.create(null), declared);
    this.samples = Object.assign(Object.create(null), samples);
    // The samples that were changed in this window; other users may change others.
    this.sampled = Object.create(null);
    this.changed = changed;
    // Declared variables are shown at once; those that the text uses, as soon as the server has read it.
    this.update(Object.keys(declared).map((name) => ({ name, used: true })));
  }

  /** Show these variables; rows that stay keep their focus and what is typed in them. */
  update(used) {
    const names = new Set(used.map((variable) => variable.name));
    const unused = Array.from(this.rows.children).filter((row) => !names.has(row.dataset.variable));
    for (const row of unused) row.remove();
    for (const [index, variable] of used.entries()) {
      const row = this.row(variable.name) ?? this.add(variable);
      if (this.rows.children[index] !== row) this.rows.insertBefore(row, this.rows.children[index] ?? null);
      row.querySelector("[data-forget]").hidden = variable.used;
      if (variable.image) this.offerImages(row);
    }
    this.none.hidden = used.length > 0;
  }

  row(name) {
    return [...this.rows.children].find((row) => row.dataset.variable === name);
  }

  add({ name, type, required, inherited }) {
    const row = this.template.content.firstElementChild.cloneNode(true);
    const declared = this.declared[name];
    row.dataset.variable = name;
    const sample = row.querySelector("[data-sample]");
    sample.id = `sample-${name}`;
    const label = row.querySelector("[data-variable-name]");
    label.htmlFor = sample.id;
    label.textContent = name;
    const kind = row.querySelector("[data-variable-type]");
    // A declaration without a type is of text; an undeclared variable takes any value.
    kind.value = declared ? (declared.type ?? "string") : inherited ? type : "";
    row.querySelector("[data-variable-required]").checked = declared ? (declared.required ?? !("default" in declared)) : (required ?? true);
    row.querySelector("[data-inherited]").hidden = !inherited;
    row.querySelector("[data-default]").value = valueAsText(declared?.default);
    row.querySelector("[data-description]").value = declared?.description ?? "";
    sample.value = valueAsText(this.samples[name]);
    row.addEventListener("input", (event) => {
      if (event.target.matches("[data-sample]")) this.keepSample(name, row);
      else this.declare(name, row, event);
      this.changed();
    });
    row.querySelector("[data-forget]").addEventListener("click", () => {
      delete this.declared[name];
      row.remove();
      this.changed();
    });
    this.rows.append(row);
    return row;
  }

  /** Offer to choose an image as the sample, and show it. */
  offerImages(row) {
    const sample = row.querySelector("[data-sample]");
    if (!("withoutChoice" in sample.dataset)) return;
    delete sample.dataset.withoutChoice;
    sample.placeholder = "an image: its address, or paste, drop or choose one";
    showImages(sample);
  }

  declare(name, row, event) {
    const kind = row.querySelector("[data-variable-type]");
    // Changing any other field declares the variable.
    if (!kind.value && event.target !== kind) kind.value = "string";
    const type = kind.value;
    if (!type) {
      delete this.declared[name];
      return this.keepSample(name, row);
    }
    const required = row.querySelector("[data-variable-required]").checked;
    const fallback = parseValue(row.querySelector("[data-default]").value, type);
    const declared = { type, required, description: row.querySelector("[data-description]").value };
    // A variable with a default is optional.
    if (fallback !== undefined) Object.assign(declared, { default: fallback, required: null });
    const box = row.querySelector("[data-variable-required]");
    box.disabled = fallback !== undefined;
    if (box.disabled) box.checked = false;
    this.declared[name] = declared;
    this.keepSample(name, row);
  }

  /** Give a shown variable a text as its sample; returns whether it is shown. */
  setSample(name, text) {
    const row = this.row(name);
    if (!row) return false;
    const sample = row.querySelector("[data-sample]");
    sample.value = text;
    sample.dispatchEvent(new Event("input", { bubbles: true }));
    return true;
  }

  keepSample(name, row) {
    const value = parseValue(row.querySelector("[data-sample]").value, row.querySelector("[data-variable-type]").value);
    if (value === undefined) delete this.samples[name];
    else this.samples[name] = value;
    this.sampled[name] = value ?? null;
  }
}
