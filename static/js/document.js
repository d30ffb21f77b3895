// The editor's fields as a content document: what is typed is never lost, even where it cannot be read.

/** The member of `model` that keeps text which is not JSON, so that it survives a closed tab; no commit takes it. */
export const UNREADABLE = "(unreadable)";

/** The member of a draft that is not part of its content (core.content.ASIDE). */
export const ASIDE = "(aside)";

export function readJson(text) {
  if (!text.trim()) return { value: undefined };
  try {
    return { value: JSON.parse(text) };
  } catch (error) {
    return { value: text, fault: jsonFault(text, error.message) };
  }
}

/** The parser's message, with the line that it is about. */
function jsonFault(text, message) {
  const position = /position (\d+)/.exec(message);
  const named = /line (\d+)/.exec(message);
  const line = named ? Number(named[1]) : position ? text.slice(0, Number(position[1])).split("\n").length : text.split("\n").length;
  return { line, message: `This is not JSON yet: ${message}` };
}

export function number(text) {
  const trimmed = text.trim().replace(",", ".");
  if (!trimmed) return undefined;
  const value = Number(trimmed);
  return Number.isNaN(value) ? text : value;
}

export function collectMessages(blocks) {
  return blocks.map((block) => {
    if (block.dataset.role === "placeholder") return { role: "placeholder", name: block.querySelector("[data-name]").value.trim() };
    return collectMessage(block);
  });
}

function collectMessage(block) {
  const role = block.querySelector("[data-role-of]").value;
  const message = { role, content: collectParts(block) };
  const calls = [...block.querySelectorAll("[data-call]")].map((call) => ({
    id: call.querySelector("[data-call-id]").value.trim(),
    type: "function",
    function: { name: call.querySelector("[data-call-name]").value.trim(), arguments: call.querySelector("[data-arguments]").value },
  }));
  if (calls.length) message.tool_calls = calls;
  if (role === "tool") message.tool_call_id = block.querySelector("[data-answers]").value.trim();
  return message;
}

/** A message of one text is that text; with an image or several texts it is a list of parts. */
function collectParts(block) {
  const parts = [...block.querySelectorAll("[data-part]")].map((part) => {
    if (part.dataset.part === "text") return { type: "text", text: part.querySelector("[data-content]").value };
    const url = part.querySelector("[data-address]").value.trim();
    return { type: "image_url", image_url: { url, detail: part.querySelector("[data-detail]").value } };
  });
  return parts.length === 1 && parts[0].type === "text" ? parts[0].text : parts;
}

/** What a field says: a number where it is one for numbers; undefined where it is empty. */
function fieldValue(field) {
  return "number" in field.dataset ? number(field.value) : field.value.trim() || undefined;
}

export function collectModel(root, faults) {
  const model = {};
  for (const field of root.querySelectorAll("[data-setting]")) {
    const value = fieldValue(field);
    if (value !== undefined && !field.dataset.setting.includes(".")) model[field.dataset.setting] = value;
  }
  const { value, fault } = readJson(root.querySelector("[data-json='settings']").value);
  if (fault || (value !== undefined && (typeof value !== "object" || Array.isArray(value) || value === null))) {
    faults.push({ pointer: "settings", severity: "error", ...(fault ?? { message: "Other settings are an object: {\"seed\": 7}." }) });
    model[UNREADABLE] = root.querySelector("[data-json='settings']").value;
  } else Object.assign(model, value);
  // A field for a member of a setting, whose other members are among the other settings.
  for (const field of root.querySelectorAll("[data-setting*='.']")) {
    const [setting, member] = field.dataset.setting.split(".");
    if (field.value) model[setting] = { ...model[setting], [member]: field.value };
  }
  return model;
}

export function collectResponse(root, faults) {
  const response = { format: root.querySelector("[data-response='format']").value };
  if (response.format !== "json_schema") return response;
  const { value, fault } = readJson(root.querySelector("[data-json='schema']").value);
  if (fault) faults.push({ pointer: "/response/schema", severity: "error", ...fault });
  response.schema = value ?? null;
  response.name = root.querySelector("[data-response='name']").value.trim() || null;
  response.strict = root.querySelector("[data-response='strict']").checked;
  return response;
}

/** Typed fields that are hidden now: kept beside the content until the draft is committed. */
export function aside(root) {
  const schema = root.querySelector("[data-json='schema']").value;
  if (root.querySelector("[data-response='format']").value === "json_schema" || !schema.trim()) return {};
  const name = root.querySelector("[data-response='name']").value;
  return { [ASIDE]: { schema, name, strict: root.querySelector("[data-response='strict']").checked } };
}

/** The selection of examples; null where no set is chosen. Fields that do not apply to the selection are left out. */
export function collectExamples(root) {
  const fields = new Map([...root.querySelectorAll("[data-pick]")].map((field) => [field.dataset.pick, field]));
  const set = fields.get("set")?.value;
  if (!set) return null;
  const select = fields.get("select").value;
  const picked = { set };
  for (const [name, field] of fields) {
    const modes = field.closest("[data-for]")?.dataset.for.split(" ");
    if (name === "set" || (modes && !modes.includes(select))) continue;
    const value = fieldValue(field);
    if (value !== undefined) picked[name] = value;
  }
  return picked;
}

/** How a collection is searched; null where none is chosen. `own` is what the document says: its filter has no field. */
export function collectRetrieval(root, own) {
  const fields = [...root.querySelectorAll("[data-search]")];
  const collection = fields.find((field) => field.dataset.search === "collection")?.value;
  if (!collection) return null;
  const retrieval = own?.filter ? { filter: own.filter } : {};
  for (const field of fields) {
    const value = fieldValue(field);
    if (value !== undefined) retrieval[field.dataset.search] = value;
  }
  return retrieval;
}

export function collectTools(root, faults) {
  const { value, fault } = readJson(root.querySelector("[data-json='tools']").value);
  if (fault) faults.push({ pointer: "/tools", severity: "error", ...fault });
  return value ?? null;
}

/** Parse a sample or default: text for a string, JSON for any other type. */
export function parseValue(text, type) {
  if (!text) return undefined;
  if (type === "string") return text;
  // For a variable of any type, what is not JSON is text.
  return readJson(text).value;
}

export function valueAsText(value) {
  if (value === undefined || value === null) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}
