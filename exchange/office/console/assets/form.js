// Forms and buttons that speak JSON with the API, and put its problems where they belong.
//
//   <form data-api="PATCH /console/v1/contracts/acme-ca" data-etag='"7"' data-done="reload|/console/…">
//   <button data-api="POST /console/v1/…" data-confirm="Really?" data-body='{"active":true}'>
//
// data-done   where to go after a success: `reload` (the default), `stay`, or an address, in which
//             {slug} and the like are members of the answer
// data-said   the toast after it
// data-show   a member of the answer that is shown once, to be copied, before going on
// data-once   sends an Idempotency-Key, the same until it succeeded
// Events: `collect` (detail.body may be changed before it is sent), `answered` (detail.answer).

const FLASH = "toast";

export function toast(words, tone = "good") {
  const box = document.getElementById("toasts");
  if (!box) return;
  const one = document.createElement("div");
  one.className = `toast ${tone}`;
  one.textContent = words;
  box.append(one);
  setTimeout(() => one.remove(), 4000);
}

// Send JSON; {ok, status, answer, headers}. `answer` is the problem when it was refused.
export async function send(method, url, body, headers = {}) {
  const options = { method, headers: { Accept: "application/json", ...headers } };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(url, options);
  } catch {
    return { ok: false, status: 0, answer: { detail: "The exchange did not answer. Nothing is known to be changed." } };
  }
  if (response.status === 401) {
    location.assign(`/console/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
    return { ok: false, status: 401, answer: { detail: "Sign in again." } };
  }
  const text = await response.text();
  let answer = null;
  try { answer = text ? JSON.parse(text) : null; } catch { answer = { detail: text.slice(0, 200) }; }
  return { ok: response.ok, status: response.status, answer, headers: response.headers };
}

// --- a form as JSON ---------------------------------------------------------------------------------

export function collect(form) {
  const body = {};
  const lists = new Map();
  for (const input of form.elements) {
    if (!input.name || input.disabled || input.type === "submit" || input.closest("[data-skip]")) continue;
    const types = (input.dataset.type ?? "").split(" ");
    if (input.type === "radio" && !input.checked) continue;
    if (input.type === "checkbox" && types.includes("list")) {
      if (!lists.has(input.name)) lists.set(input.name, []);
      if (input.checked) lists.get(input.name).push(input.value);
      continue;
    }
    const value = input.type === "checkbox" ? input.checked : read(input.value, types);
    if (value !== undefined) place(body, input.name, value);
  }
  for (const [name, values] of lists) place(body, name, values);
  const event = new CustomEvent("collect", { detail: { body }, bubbles: true });
  form.dispatchEvent(event);
  return event.detail.body;
}

// What cannot be read is sent as it was written: the API says what is wrong with it, at its place.
function read(text, types) {
  const plain = text.trim();
  if (plain === "" && types.includes("null-if-empty")) return null;
  if (plain === "" && types.includes("omit-if-empty")) return undefined;
  if (types.includes("integer")) return /^[+-]?\d+$/.test(plain) ? Number(plain) : text;
  if (types.includes("number")) return plain !== "" && isFinite(plain) ? Number(plain) : text;
  if (types.includes("boolean")) return plain === "true" ? true : plain === "false" ? false : text;
  if (types.includes("list")) return plain.split(/[,\n]/).map((one) => one.trim()).filter(Boolean);
  if (types.includes("json")) { try { return JSON.parse(plain || "null"); } catch { return text; } }
  return text;
}

// "caps.0.limit": objects and, where a number follows, lists.
function place(body, path, value) {
  const steps = path.split(".");
  let at = body;
  steps.forEach((step, index) => {
    if (["__proto__", "constructor", "prototype"].includes(step)) return;
    const key = Array.isArray(at) ? Number(step) : step;
    if (index === steps.length - 1) at[key] = value;
    else at = at[key] ??= /^\d+$/.test(steps[index + 1]) ? [] : {};
  });
}

// --- problems at their places -----------------------------------------------------------------------

export function clear(form) {
  for (const one of form.querySelectorAll(".error, .summary")) one.remove();
  for (const one of form.querySelectorAll("[aria-invalid]")) {
    one.removeAttribute("aria-invalid");
    const kept = (one.getAttribute("aria-describedby") ?? "").split(" ").filter((id) => !id.endsWith("-error"));
    if (kept.join("")) one.setAttribute("aria-describedby", kept.join(" "));
    else one.removeAttribute("aria-describedby");
  }
}

export function show(form, { status, answer }) {
  clear(form);
  const lost = [];
  let first = null;
  for (const one of answer?.errors ?? []) {
    const input = inputOf(form, one.path);
    if (input) { complain(input, one.message); first ??= input; }
    else lost.push(one.path ? `${one.path}: ${one.message}` : one.message);
  }
  if (first && !lost.length) return first.focus();
  const words = status === 412
    ? ["Somebody changed this meanwhile. Reload the page to see how it stands now."]
    : lost.length ? lost : [answer?.detail || `It was refused (${answer?.code ?? status}).`];
  summarise(form, words);
}

function inputOf(form, path) {
  const steps = (path ?? "").split(".");
  while (steps.length && steps[0]) {
    const name = CSS.escape(steps.join("."));
    const found = form.querySelector(`[name="${name}"]:not([type=hidden]), [data-path="${name}"]`);
    if (found && !found.disabled) return found;
    steps.pop();
  }
  return null;
}

function complain(input, message) {
  const id = `${input.id || `i-${Math.random().toString(36).slice(2)}`}-error`;
  const told = document.createElement("p");
  told.className = "error";
  told.id = id;
  told.textContent = message;
  (input.closest(".input") ?? input).after(told);
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", `${input.getAttribute("aria-describedby") ?? ""} ${id}`.trim());
}

function summarise(form, words) {
  const box = document.createElement("div");
  box.className = "summary note bad";
  box.setAttribute("role", "alert");
  box.tabIndex = -1;
  const list = document.createElement("ul");
  for (const one of words) list.append(Object.assign(document.createElement("li"), { textContent: one }));
  box.append(list);
  form.prepend(box);
  box.focus();
}

// --- dialogs ----------------------------------------------------------------------------------------

// A question with two answers; resolves to whether it was confirmed.
export function ask(words, { yes = "Yes, go on", danger = false } = {}) {
  return new Promise((resolve) => {
    const dialog = made(words);
    const row = document.createElement("div");
    row.className = "dialog-actions";
    const no = button("Cancel", "quiet");
    const go = button(yes, danger ? "danger" : "primary");
    row.append(no, go);
    dialog.append(row);
    no.onclick = () => dialog.close("");
    go.onclick = () => dialog.close("yes");
    dialog.onclose = () => { resolve(dialog.returnValue === "yes"); dialog.remove(); };
    dialog.showModal();
    no.focus();
  });
}

// A secret, once; resolves when it was put away.
function reveal(words, secret) {
  return new Promise((resolve) => {
    const dialog = made(words);
    const row = document.createElement("div");
    row.className = "copyable secret";
    const code = Object.assign(document.createElement("code"), { textContent: secret });
    const copy = button("Copy", "");
    copy.dataset.copy = secret;
    row.append(code, copy);
    const foot = document.createElement("div");
    foot.className = "dialog-actions";
    const done = button("I have kept it", "primary");
    done.onclick = () => dialog.close();
    foot.append(done);
    dialog.append(row, foot);
    dialog.onclose = () => { dialog.remove(); resolve(); };
    dialog.showModal();
  });
}

function made(words) {
  const dialog = document.createElement("dialog");
  const told = Object.assign(document.createElement("p"), { textContent: words, id: "dialog-words" });
  dialog.className = "small";
  dialog.setAttribute("aria-labelledby", "dialog-words");
  dialog.append(told);
  document.body.append(dialog);
  return dialog;
}

function button(words, tone) {
  return Object.assign(document.createElement("button"), { type: "button", textContent: words, className: `button ${tone}` });
}

// --- sending ----------------------------------------------------------------------------------------

async function perform(element, body, form) {
  const [method, url] = element.dataset.api.split(" ");
  const headers = {};
  if (element.dataset.etag) headers["If-Match"] = element.dataset.etag;
  if ("fresh" in element.dataset) headers["If-None-Match"] = "*"; // nobody else shall have made it meanwhile
  if ("once" in element.dataset) headers["Idempotency-Key"] = element.dataset.once ||= crypto.randomUUID?.() ?? String(Math.random());
  const buttons = form ? [...form.querySelectorAll("button:not([type=button])")] : [element];
  for (const one of buttons) { one.disabled = true; one.setAttribute("aria-busy", "true"); }
  const result = await send(method, url, body, headers);
  for (const one of buttons) { one.disabled = false; one.removeAttribute("aria-busy"); }
  element.dispatchEvent(new CustomEvent("answered", { detail: result, bubbles: true }));
  if (!result.ok) {
    if (form) show(form, result);
    else toast(problem(result), "bad");
    return;
  }
  if ("once" in element.dataset) element.dataset.once = "";
  if (form) clear(form);
  await finish(element, result.answer ?? {});
}

function problem({ answer, status }) {
  const first = answer?.errors?.[0];
  return first ? `${first.path ? `${first.path}: ` : ""}${first.message}` : answer?.detail || answer?.code || `Refused (${status})`;
}

async function finish(element, answer) {
  const { done = "reload", said = "", show: member } = element.dataset;
  if (member) {
    const secret = member.split(".").reduce((value, step) => value?.[step], answer);
    if (typeof secret === "string" && !secret.endsWith("****")) await reveal(element.dataset.showWords ?? "Copy it now: it is not shown again.", secret);
  }
  if (done === "stay") return void (said && toast(said));
  if (said) try { sessionStorage.setItem(FLASH, said); } catch { /* no toast then */ }
  if (done === "reload") location.reload();
  else location.assign(done.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(answer[name] ?? "")));
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.dataset.api) return;
  event.preventDefault();
  if (form.dataset.confirm && !(await ask(form.dataset.confirm))) return;
  const hasBody = !/^(DELETE|GET) /.test(form.dataset.api);
  await perform(form, hasBody ? collect(form) : undefined, form);
});

document.addEventListener("click", async (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (opener) return void document.getElementById(opener.dataset.dialog)?.showModal();
  const closer = event.target.closest("[data-close]");
  if (closer) return void closer.closest("dialog")?.close();
  const verb = event.target.closest("button[data-api]");
  if (!verb) return;
  event.preventDefault();
  const danger = verb.classList.contains("danger");
  if (verb.dataset.confirm && !(await ask(verb.dataset.confirm, { danger, yes: verb.textContent.trim() }))) return;
  await perform(verb, verb.dataset.body ? JSON.parse(verb.dataset.body) : undefined, null);
});

// A form that only goes to a page of ours may ask first, too.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (form.dataset.api || !form.dataset.confirm || form.dataset.asked) return;
  event.preventDefault();
  if (!(await ask(form.dataset.confirm))) return;
  form.dataset.asked = "yes";
  form.requestSubmit(event.submitter ?? undefined);
});

try {
  const words = sessionStorage.getItem(FLASH);
  if (words) { sessionStorage.removeItem(FLASH); toast(words); }
} catch { /* storage is off */ }
