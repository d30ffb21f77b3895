// The variables panel: a row for each variable that the text uses or the prompt declares.

import { shown, typed } from "./document.js";

export class Variables {
  constructor(root, declared, samples, changed) {
    this.rows = root.querySelector("[data-variables]");
    this.none = root.querySelector("[data-no-variables]");
    this.template = document.getElementById("variable-row");
    // Without a prototype: a variable may be called `constructor`.
    this.declared = Object.assign(Object.create(null), declared);
    this.samples = Object.assign(Object.create(null), samples);
    // What was changed here and is for all: others may try other variables meanwhile.
    this.sampled = Object.create(null);
    this.changed = changed;
    // What is declared is there at once; what the text uses, as soon as the server has read it.
    this.update(Object.keys(declared).map((name) => ({ name, used: true })));
  }

  /** Show these variables; rows that stay keep their focus and what is typed in them. */
  update(found) {
    const names = new Set(found.map((one) => one.name));
    for (const row of [...this.rows.children]) if (!names.has(row.dataset.variable)) row.remove();
    for (const [index, one] of found.entries()) {
      const row = this.row(one.name) ?? this.add(one);
      if (this.rows.children[index] !== row) this.rows.insertBefore(row, this.rows.children[index] ?? null);
      row.querySelector("[data-forget]").hidden = one.used;
    }
    this.none.hidden = found.length > 0;
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
    // A declaration without a type is one of text; what nobody declared takes anything.
    kind.value = declared ? (declared.type ?? "string") : inherited ? type : "";
    row.querySelector("[data-variable-required]").checked = declared ? (declared.required ?? !("default" in declared)) : (required ?? true);
    row.querySelector("[data-inherited]").hidden = !inherited;
    row.querySelector("[data-default]").value = shown(declared?.default);
    row.querySelector("[data-description]").value = declared?.description ?? "";
    sample.value = shown(this.samples[name]);
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

  declare(name, row, event) {
    const kind = row.querySelector("[data-variable-type]");
    // Who says something else of a variable has declared it.
    if (!kind.value && event.target !== kind) kind.value = "string";
    const type = kind.value;
    if (!type) {
      delete this.declared[name];
      return this.keepSample(name, row);
    }
    const required = row.querySelector("[data-variable-required]").checked;
    const fallback = typed(row.querySelector("[data-default]").value, type);
    const declared = { type, required, description: row.querySelector("[data-description]").value };
    // A default says by itself that the variable may be left out.
    if (fallback !== undefined) Object.assign(declared, { default: fallback, required: null });
    const box = row.querySelector("[data-variable-required]");
    box.disabled = fallback !== undefined;
    if (box.disabled) box.checked = false;
    this.declared[name] = declared;
    this.keepSample(name, row);
  }

  keepSample(name, row) {
    const value = typed(row.querySelector("[data-sample]").value, row.querySelector("[data-variable-type]").value);
    if (value === undefined) delete this.samples[name];
    else this.samples[name] = value;
    this.sampled[name] = value ?? null;
  }
}
