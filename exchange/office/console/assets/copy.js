// <button data-copy="text">: to the clipboard, and says so.
import { toast } from "./form.js";

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  event.preventDefault();
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), 1200);
    toast("Copied");
  } catch {
    select(button.closest(".copyable")?.querySelector("code"));
    toast("Press Ctrl+C to copy", "info");
  }
});

// No clipboard (plain http, or not allowed): at least it is selected.
function select(node) {
  if (!node) return;
  const range = document.createRange();
  range.selectNodeContents(node);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
}
