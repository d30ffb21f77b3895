// The parts of a message in the editor: texts, images, calls of tools and their results.

import { readJson } from "./document.js";
import { paint } from "./highlight.js";
import { faultOf, uploadImage } from "./images.js";

// registry.content.message_check.MAX_IMAGE_CHARACTERS, as bytes of a file.
const MAX_FILE_BYTES = 384 * 1024;
const VARIABLE_ALONE = /^\{\{\s*([\p{L}_][\p{L}\p{N}_]*)\s*\}\}$/u;

/** Set the role of a block; what only other roles have is hidden by it. */
export function setRole(block, role) {
  block.querySelector("[data-role-of]").value = role;
  block.dataset.role = role;
}

export function paintAll(element) {
  for (const field of element.querySelectorAll(".code textarea")) paint(field);
}

function copyOf(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

/** Add an empty text or image at the end of a message, and return it. */
export function addPart(block, kind) {
  const part = copyOf(`part-${kind}`);
  block.querySelector("[data-parts]").append(part);
  paintAll(part);
  part.querySelector("textarea, input").focus();
  return part;
}

/** Remove a text, an image or a call; a message keeps at least a text. */
export function removePart(part) {
  const parts = part.parentElement;
  part.remove();
  if (parts.matches("[data-parts]") && !parts.children.length) {
    parts.append(copyOf("part-text"));
    paintAll(parts);
  }
  parts.querySelector("textarea, input")?.focus();
}

/** Add a call to a message; returns its id, which no other call has. */
export function addCall(block, allBlocks) {
  const ids = new Set(callIds(allBlocks));
  let number = 1;
  while (ids.has(`call_${number}`)) number += 1;
  const call = copyOf("part-call");
  call.querySelector("[data-call-id]").value = `call_${number}`;
  block.querySelector("[data-calls]").append(call);
  paintAll(call);
  call.querySelector("[data-call-name]").focus();
  return `call_${number}`;
}

function callIds(allBlocks) {
  return allBlocks.flatMap((block) => [...block.querySelectorAll("[data-call-id]")].map((field) => field.value.trim()));
}

/** Fill the lists that fields offer: the prompt's tools, and the calls that are there to be answered. */
export function offerNames(root, allBlocks) {
  const { value } = readJson(root.querySelector("[data-json='tools']").value);
  const names = Array.isArray(value) ? value.map((tool) => tool?.function?.name) : [];
  fill("tool-names", names);
  fill("call-ids", callIds(allBlocks));
}

function fill(id, names) {
  const options = [...new Set(names.filter(Boolean))].map((name) => Object.assign(document.createElement("option"), { value: name }));
  document.getElementById(id).replaceChildren(...options);
}

/** Take files that were pasted into a message or dropped on it: the first for the image that they were dropped on, if
 * any, each other one as an image more. Returns what is wrong, or nothing. */
export async function addPictures(block, target, files, variables) {
  if (block.dataset.role !== "user") return "Images are for messages of the user: add one, and paste or drop them there.";
  const focused = document.activeElement;
  const faults = [];
  let part = target.closest("[data-part='image']");
  for (const file of files) {
    const isNew = !part;
    part ??= addPart(block, "image");
    const fault = await takePicture(part, file, variables);
    if (fault) faults.push(fault);
    if (fault && isNew) part.remove();
    part = null;
  }
  focused?.focus();
  return faults.join(" ");
}

/** Take the file that was chosen for an image. Returns what is wrong with it, or nothing. */
export async function showPicture(field, variables) {
  const [file] = field.files;
  // The same file can be chosen again.
  field.value = "";
  return file ? takePicture(field.closest("[data-part]"), file, variables) : "";
}

/** Take a file as the image's data; where the image is a variable, upload it as the variable's sample. */
async function takePicture(part, file, variables) {
  const address = part.querySelector("[data-address]");
  const [, variable] = VARIABLE_ALONE.exec(address.value.trim()) ?? [];
  if (variable) return takeSample(variable, file, variables);
  const fault = await faultOf(file, MAX_FILE_BYTES);
  if (fault) return `${fault} Give its address, or a variable such as {{ screenshot }}: its values may be larger.`;
  const data = await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(file);
  });
  address.value = data;
  showAddress(part);
  return "";
}

async function takeSample(variable, file, variables) {
  try {
    const address = await uploadImage(file);
    return variables.setSample(variable, address) ? "" : `${variable} is not among the variables yet; try again.`;
  } catch (error) {
    return error.message;
  }
}

/** Show the image of an address that is data; another host is never asked. */
export function showAddress(part) {
  const address = part.querySelector("[data-address]").value.trim();
  const picture = part.querySelector("[data-picture]");
  picture.hidden = !address.startsWith("data:image/") || address.includes("{");
  if (picture.hidden) picture.removeAttribute("src");
  else picture.src = address;
}

/** The text field that a mark of the server is about. */
export function fieldAt(block, pointer) {
  const part = /\/content\/(\d+)/.exec(pointer);
  const call = /\/tool_calls\/(\d+)/.exec(pointer);
  if (call) return block.querySelectorAll("[data-call]")[Number(call[1])]?.querySelector("textarea");
  if (part) return block.querySelectorAll("[data-part]")[Number(part[1])]?.querySelector("textarea");
  return block.querySelector("[data-content]");
}
