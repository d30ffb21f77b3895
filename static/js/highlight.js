// Colours behind a text field: a <pre> below a transparent <textarea> shows the same text, highlighted.
// The field stays an ordinary one, so undo, spelling, dictation and screen readers work as everywhere.

const JINJA = /(\{\{.*?(?:\}\}|$)|\{%.*?(?:%\}|$)|\{#.*?(?:#\}|$))/gs;
const JSON_PARTS = /("(?:[^"\\\n]|\\.)*"(?=\s*:))|("(?:[^"\\\n]|\\.)*")|(\b(?:true|false|null)\b|-?\d[\d.eE+-]*)/g;
const JINJA_CLASS = { "{{": "t-var", "{%": "t-tag", "{#": "t-note" };
const JSON_CLASS = ["t-var", "t-text", "t-tag"];
const GRAVITY = ["hint", "warning", "error"];

/** Pieces of text, each with its class. */
function pieces(text, language) {
  const parts = [];
  let end = 0;
  const pattern = language === "json" ? JSON_PARTS : JINJA;
  for (const match of text.matchAll(pattern)) {
    if (match.index > end) parts.push([text.slice(end, match.index), ""]);
    const kind = language === "json" ? JSON_CLASS[match.slice(1).findIndex((group) => group !== undefined)] : JINJA_CLASS[match[0].slice(0, 2)];
    parts.push([match[0], kind]);
    end = match.index + match[0].length;
  }
  if (end < text.length) parts.push([text.slice(end), ""]);
  return parts;
}

/** Show the text of a field highlighted; `lines` has the severity of each line with a finding, from 1. */
export function paint(field, lines = new Map()) {
  const rows = [newLine(lines.get(1))];
  for (const [text, kind] of pieces(field.value, field.dataset.language)) {
    for (const [index, part] of text.split("\n").entries()) {
      if (index) rows.push(newLine(lines.get(rows.length + 1)));
      if (part) rows.at(-1).append(span(part, kind));
    }
  }
  field.previousElementSibling.replaceChildren(...rows);
  field.parentElement.classList.add("live");
  // From now on the text behind it gives the height.
  field.rows = 1;
}

export function gravest(first, second) {
  return GRAVITY.indexOf(first ?? "") >= GRAVITY.indexOf(second) ? first : second;
}

function newLine(severity) {
  return span("", severity ? `l ${severity}` : "l");
}

function span(text, kind) {
  if (!kind) return document.createTextNode(text);
  const element = document.createElement("span");
  element.className = kind;
  element.textContent = text;
  return element;
}
