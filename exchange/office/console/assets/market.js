// A seller's form: a margin of its own, or none; the secret of its callbacks.
import { secret } from "./secret.js";

const form = document.querySelector("form[data-seller]");
const own = form.elements.own;
const parts = [form.elements["margin.percent"], form.elements["margin.fixed"]];
const fit = () => { for (const one of parts) { one.disabled = own.value !== "yes"; one.closest(".field").hidden = own.value !== "yes"; } };
own.addEventListener("change", fit);
fit();
secret(form);
form.addEventListener("collect", (event) => {
  const { body } = event.detail;
  delete body.own;
  body.verticals ??= [];
  if (own.value === "yes") body.margin = { percent: body.margin?.percent || "0", fixed: body.margin?.fixed || "0" };
  else body.margin = null;
});
