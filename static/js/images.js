// Images that are uploaded: chosen, pasted or dropped into a field, which then has the image's address.

const ADDRESS = /image:\d{1,6}x\d{1,6}:([0-9a-f]{64})/g;
// registry.models.images.ImageMediaType, core.image_data.MAX_IMAGE_BYTES.
export const KINDS = ["image/png", "image/jpeg", "image/webp", "image/gif"];
const MAX_BYTES = 5 * 1024 * 1024;
const MAX_SHOWN = 4;
// How a PNG, JPEG, GIF and WebP begin.
const HEADS = ["\x89PNG\r\n", "\xff\xd8\xff", "GIF8", "RIFF"];
const shell = document.querySelector("[data-images]");

/** The files that were pasted or dropped; none where there is text as well, which is what was meant. */
export function filesOf(transfer) {
  return transfer.types.includes("text/plain") ? [] : [...transfer.files];
}

/** What is wrong with a file as an image of at most so many bytes; nothing where it may be one. */
export async function faultOf(file, most = MAX_BYTES) {
  if (!KINDS.includes(file.type)) return `${file.name} is no PNG, JPEG, WebP or GIF.`;
  const head = String.fromCharCode(...new Uint8Array(await file.slice(0, 12).arrayBuffer()));
  if (!HEADS.some((start) => head.startsWith(start))) return `${file.name} has no image in it.`;
  if (file.size <= most) return "";
  return `${file.name} has ${Math.ceil(file.size / 1024).toLocaleString("en")} KiB; at most ${(most / 1024).toLocaleString("en")} are possible here.`;
}

/** Upload an image; returns its address, or throws an error that says what is wrong. */
export async function uploadImage(file) {
  const fault = await faultOf(file);
  if (fault) throw new Error(fault);
  const token = /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie)?.[1] ?? document.querySelector("[name='csrfmiddlewaretoken']").value;
  const headers = { "Content-Type": file.type, "X-CSRFToken": token, "X-Cuebook-Project": shell.dataset.project };
  let answer;
  try {
    answer = await fetch("/api/v1/images", { method: "POST", body: file, headers });
  } catch {
    throw new Error("The server cannot be reached. Try again.");
  }
  const stored = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(stored.detail ?? `The image could not be uploaded (${answer.status}).`);
  return stored.address;
}

/** The addresses on pages of the uploaded images that a text names. */
export function shownAddresses(text) {
  const hashes = new Set([...text.matchAll(ADDRESS)].map((match) => match[1]));
  return [...hashes].slice(0, MAX_SHOWN).map((hash) => shell.dataset.images.replace("SHA256", hash));
}

// --- Fields whose value, or a part of it, may be an image's address --------------------------------------------------

const FIELDS = "textarea[data-takes-images]";

/** Put the address of an image into a field: in place of its value, or, in JSON, where the cursor is, else into the
 * first value that is empty. */
function insert(field, address) {
  if (field.dataset.takesImages === "whole") {
    field.value = address;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    return;
  }
  const before = field.value.slice(0, field.selectionStart);
  const isInText = (before.match(/(?<!\\)"/g) ?? []).length % 2 === 1;
  const isValue = /[:[,]\s*$/.test(before) && !/^\s*"/.test(field.value.slice(field.selectionEnd));
  if (!isInText && !isValue) {
    const empty = /:\s*""/.exec(field.value);
    if (!empty) throw new Error("Put the cursor where the image belongs: between the quotation marks of a value.");
    const place = empty.index + empty[0].length - 1;
    field.setSelectionRange(place, place);
  }
  const text = isInText || !isValue ? address : JSON.stringify(address);
  field.focus();
  // Unlike a change of its value, this can be undone.
  if (!document.execCommand("insertText", false, text)) field.setRangeText(text, field.selectionStart, field.selectionEnd, "end");
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

async function take(field, files) {
  const { status } = partsOf(field);
  status.className = "quiet";
  for (const file of files) {
    status.textContent = `Uploading ${file.name}…`;
    try {
      insert(field, await uploadImage(file));
      status.textContent = "";
    } catch (error) {
      status.className = "error";
      status.textContent = error.message;
      return;
    }
  }
}

/** What stands below a field: a button to choose a file, what happens, and the images that it names. */
function partsOf(field) {
  const above = field.closest("label") ?? field;
  let below = above.nextElementSibling;
  if (!below?.matches("[data-image-parts]")) {
    below = document.createElement("div");
    below.dataset.imageParts = "";
    const choose = Object.assign(document.createElement("label"), { className: "btn small", textContent: "Choose an image" });
    const file = Object.assign(document.createElement("input"), { type: "file", className: "unseen", accept: KINDS.join(", ") });
    const status = Object.assign(document.createElement("span"), { className: "quiet" });
    status.setAttribute("role", "status");
    const shown = Object.assign(document.createElement("div"), { className: "thumbnails" });
    choose.append(file);
    choose.hidden = "withoutChoice" in field.dataset;
    below.append(choose, " ", status, shown);
    above.after(below);
    file.addEventListener("change", async () => {
      const files = [...file.files];
      // The same file can be chosen again.
      file.value = "";
      await take(field, files);
    });
  }
  return { status: below.querySelector("[role='status']"), shown: below.querySelector(".thumbnails") };
}

export function showImages(field) {
  const addresses = shownAddresses(field.value);
  if (!addresses.length && "withoutChoice" in field.dataset && !field.parentElement.querySelector("[data-image-parts]")) return;
  const { shown } = partsOf(field);
  if (addresses.join() === [...shown.children].map((image) => image.getAttribute("src")).join()) return;
  shown.replaceChildren(...addresses.map((src) => Object.assign(new Image(), { src, alt: "An image of this value" })));
}

function takeFrom(event, transfer) {
  const field = event.target.closest?.(FIELDS);
  if (!field) return;
  const files = filesOf(transfer);
  if (event.type === "drop" && transfer.files.length) event.preventDefault();
  if (!files.length) return;
  event.preventDefault();
  take(field, files);
}

document.addEventListener("paste", (event) => takeFrom(event, event.clipboardData));
document.addEventListener("drop", (event) => takeFrom(event, event.dataTransfer));
for (const name of ["dragover", "drop"]) {
  document.addEventListener(name, (event) => {
    // Without this a browser leaves the page to open the file, wherever on it that is dropped.
    if (event.dataTransfer.types.includes("Files") && !event.target.closest?.("input[type='file']")) event.preventDefault();
  });
}
document.addEventListener("input", (event) => {
  if (event.target.matches(FIELDS)) showImages(event.target);
});
for (const field of document.querySelectorAll(FIELDS)) showImages(field);
