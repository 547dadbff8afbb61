// The form on posting instructions: pings, posts the ping, or does both in one step, always as a test.
import { clear, collect, send, show } from "./form.js";

const form = document.querySelector("form[data-try]");
const answers = form.querySelector(".answers");
const post = form.querySelector('[data-step="post"]');
const names = { ping_id: "Ping", lead_id: "Lead", price: "You would be paid", reason: "Reason", waterfall: "May still be posted", expires_at: "Until",
  exclusive: "Exclusive", shares: "Buyers", redirect_url: "Send the consumer to", elapsed_ms: "Took", pending: "Not heard of yet" };
const tones = { bid: "good", sold: "good", no_bid: "warn", unsold: "warn", pending: "warn" };
let ping = null;

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => { clear(form); answers.replaceChildren(); forget(); });
form.addEventListener("click", async (event) => {
  const step = event.target.closest("[data-step]")?.dataset.step;
  if (!step) return;
  const buttons = [...form.querySelectorAll("[data-step]")];
  for (const one of buttons) { one.disabled = true; one.setAttribute("aria-busy", "true"); }
  await run(step);
  for (const one of buttons) { one.removeAttribute("aria-busy"); one.disabled = false; }
  post.disabled = ping === null;
});

async function run(step) {
  const fields = collect(form).fields ?? {};
  const body = step === "post" ? { ping_id: ping, fields: staged(fields, "post") }
    : { vertical: form.dataset.vertical, fields: step === "ping" ? staged(fields, "ping") : fields };
  const path = step === "ping" ? "pings" : "leads";
  const sent = performance.now();
  let found = await send("POST", `${form.dataset.try}/${path}`, body);
  if (step === "ping") answers.replaceChildren();
  while (found.ok && found.answer.outcome === "pending") {
    draw(step, found, performance.now() - sent);
    await new Promise((done) => setTimeout(done, 2000));
    found = await send("GET", `${form.dataset.try}/leads/${found.answer.lead_id}`);
  }
  if (step !== "one_step") forget();
  if (!found.ok) {
    show(form, found);
    for (const one of form.querySelectorAll("[aria-invalid]")) open(one);
    form.querySelector("[aria-invalid]")?.focus();
  } else {
    clear(form);
    if (step === "ping" && (found.answer.outcome === "bid" || found.answer.waterfall)) ping = found.answer.ping_id;
  }
  draw(step, found, performance.now() - sent);
}

// What is wrong is to be seen.
function open(input) {
  for (let one = input.closest("details"); one; one = one.parentElement.closest("details")) one.open = true;
}

function forget() { ping = null; post.disabled = true; }

// The top-level fields of one stage: inputs know theirs.
function staged(fields, stage) {
  const mine = new Set([...form.elements].filter((one) => one.dataset?.stage === stage).map((one) => one.name.split(".")[1]));
  return Object.fromEntries(Object.entries(fields).filter(([name]) => mine.has(name)));
}

function draw(step, { ok, status, answer }, ms) {
  const box = element("div", "", `answer ${ok ? tones[answer.outcome] ?? "" : "bad"}`);
  const title = { ping: "Ping", post: "Post", one_step: "One step" }[step];
  const head = element("h3", `${title}: ${(ok ? answer.outcome : answer?.code ?? "no answer").replaceAll("_", " ")}`);
  head.append(element("small", `HTTP ${status} after ${Math.round(ms)} ms`));
  box.append(head);
  const words = meaning(ok ? answer.outcome : answer?.code) ?? answer?.detail;
  if (words) box.append(element("p", words));
  const rows = element("dl", "", "pairs");
  for (const [name, label] of Object.entries(names)) {
    if (!ok || answer[name] === undefined || answer[name] === null) continue;
    const row = element("div");
    row.append(element("dt", label), element("dd", said(name, answer)));
    rows.append(row);
  }
  for (const one of ok ? [] : answer?.errors ?? []) {
    const row = element("div");
    row.append(element("dt", one.path), element("dd", one.message));
    rows.append(row);
  }
  if (rows.childElementCount) box.append(rows);
  if (answers.lastElementChild?.dataset.waits) answers.lastElementChild.remove();
  if (ok && answer.outcome === "pending") box.dataset.waits = "yes";
  answers.append(box);
  box.scrollIntoView({ block: "nearest" });
}

function said(name, answer) {
  const value = answer[name];
  if (name === "price") return `${value} ${answer.currency}`;
  if (name === "elapsed_ms") return `${value} ms in the exchange`;
  if (name === "reason") return [value, meaning(value)].filter(Boolean).join(": ");
  if (name === "expires_at") return value.replace("T", " ").replace(/\.\d+Z$/, " UTC");
  return value === true ? "yes" : value === false ? "no" : String(value);
}

// As the tables of this page say it.
function meaning(word) {
  return document.querySelector(`[data-meaning="${CSS.escape(word ?? "")}"]`)?.textContent;
}

function element(tag, words = "", name = "") {
  return Object.assign(document.createElement(tag), { textContent: words, className: name });
}
