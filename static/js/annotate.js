// The annotation queue by keyboard: number keys choose a label, S skips, U undoes, Ctrl Enter saves the typed answer.

const form = document.querySelector("[data-annotate]");
const undo = document.querySelector("[data-key='u']");

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.metaKey) return;
  const isTyping = event.target.matches("textarea, input:not([type='radio'])");
  if (undo && !isTyping && !event.ctrlKey && event.key.toLowerCase() === "u") {
    event.preventDefault();
    undo.form.requestSubmit(undo);
  } else if (!form) return;
  else if (event.key === "Enter" && event.ctrlKey) {
    event.preventDefault();
    form.requestSubmit(form.querySelector("[name='do'][value='typed']"));
  } else if (!isTyping && !event.ctrlKey) {
    const button = form.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
    if (button) {
      event.preventDefault();
      form.requestSubmit(button);
    }
  }
});

// Submitted once: a key that is held down must not answer the next case.
form?.addEventListener("submit", (event) => {
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "1";
});
