// Upload of a dataset's file in parts over the API: with a progress bar, without the size limit of one request, and with
// retries of parts.

const form = document.querySelector("[data-upload]");
const bar = form.querySelector("[data-progress]");
const trouble = form.querySelector("[data-trouble]");
const button = form.querySelector("button");
const TRIES = 5;

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const file = form.elements.file.files[0];
  if (!file) return;
  if (!file.size) return showError(`${file.name} is empty. Choose a file with rows.`);
  trouble.hidden = true;
  button.disabled = true;
  try {
    const upload = await call("POST", form.dataset.upload, JSON.stringify(uploadRequest(file)), "application/json");
    await sendParts(file, `${form.dataset.upload}/${upload.id}`);
    // The next page shows how the file is read, and starts the import.
    location.assign(`../imports/${upload.id}/`);
  } catch (error) {
    showError(error.message);
    button.disabled = false;
    bar.hidden = true;
  }
});

function pause(milliseconds) {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });
}

function showError(sentence) {
  trouble.textContent = sentence;
  trouble.hidden = false;
}

function uploadRequest(file) {
  const fields = form.elements;
  return {
    filename: file.name,
    bytes: file.size,
    replace: form.querySelector("[name='mode']:checked")?.value === "replace",
    skip_bad: fields.skip_bad.checked,
    message: fields.message.value.trim(),
  };
}

async function sendParts(file, address) {
  const size = Number(form.dataset.part);
  bar.hidden = false;
  for (let start = 0, number = 1; start < file.size || number === 1; start += size, number += 1) {
    await call("PUT", `${address}/parts/${number}`, file.slice(start, start + size), "application/octet-stream");
    const sent = Math.min(file.size, start + size);
    bar.querySelector("progress").value = file.size ? sent / file.size : 1;
    bar.querySelector("[data-sent]").textContent = `${(sent / 1048576).toFixed(1)} of ${(file.size / 1048576).toFixed(1)} MB uploaded`;
  }
}

/** Call the API; a part that the network loses is sent again, a refusal is thrown with its message. */
async function call(method, address, body, type) {
  const headers = {
    "Content-Type": type,
    "X-CSRFToken": form.elements.csrfmiddlewaretoken.value,
    "X-Cuebook-Project": form.dataset.project,
  };
  for (let attempt = 1; ; attempt += 1) {
    let answer;
    try {
      answer = await fetch(address, { method, body, headers });
    } catch {
      // Creating an upload twice would leave one behind unfinished; parts may be sent again.
      if (method !== "PUT" || attempt === TRIES) throw new Error("The server cannot be reached. Nothing is lost; try again.");
      await pause(500 * 2 ** attempt);
      continue;
    }
    const content = await answer.json().catch(() => ({}));
    if (answer.ok) return content;
    throw new Error(content.detail ?? `The server answered ${answer.status}.`);
  }
}
