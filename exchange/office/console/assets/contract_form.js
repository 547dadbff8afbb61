// The rest of a contract's form (and of a buyer's): caps, hours, returns, the secret, what depends on what.
//
// A part that nobody touched gives back what it was made of, however that was written.

import { collect } from "./form.js";
import { secret } from "./secret.js";

const forms = document.querySelectorAll("form[data-api]");
for (const form of forms) {
  part(form, "[data-caps]", "caps", caps);
  part(form, "[data-hours]", "schedule", hours);
  part(form, "[data-returns]", "returns", returns);
  secret(form);
  dependent(form);
  conflicts(form);
}

function part(form, selector, name, make) {
  const root = form.querySelector(selector);
  if (!root) return;
  const original = JSON.parse(root.querySelector("script").textContent);
  const read = make(root, name);
  const first = JSON.stringify(read());
  form.addEventListener("collect", ({ detail }) => {
    const now = read();
    detail.body[name] = JSON.stringify(now) === first ? original : now;
  });
}

// --- caps ----------------------------------------------------------------------------------------

function caps(root, name) {
  const list = root.querySelector("[data-rows]");
  const none = root.querySelector("[data-none]");
  const rows = () => [...list.children];
  const fit = () => {
    none.hidden = list.children.length > 0;
    for (const row of rows()) {
      const kind = of(row, "kind").value;
      of(row, "period").hidden = kind === "concurrent";
      const paced = row.querySelector("[data-paced]");
      if (paced) paced.hidden = !(["sales", "spend"].includes(kind) && of(row, "period").value === "day");
    }
  };
  root.addEventListener("change", fit);
  adding(root, list, fit);
  fit();
  return () => rows().map((row, at) => {
    for (const one of row.querySelectorAll("[data-of]")) one.dataset.path = `${name}.${at}.${one.dataset.of}`;
    return cap(row);
  });
}

function cap(row) {
  const kind = of(row, "kind").value;
  const text = of(row, "limit").value.trim();
  const found = { kind, limit: kind !== "spend" && /^\d+$/.test(text) ? Number(text) : text };
  if (kind !== "concurrent") found.period = of(row, "period").value;
  const paced = row.querySelector("[data-paced]");
  if (paced && !paced.hidden && of(row, "pace").checked) found.pace = "even";
  return found;
}

// --- hours ---------------------------------------------------------------------------------------

function hours(root) {
  const week = root.querySelector("[data-week]");
  const mode = of(root, "mode");
  const days = [...root.querySelectorAll("[data-day]")];
  const fit = () => {
    week.hidden = mode.value === "always";
    days.forEach(strip);
  };
  root.addEventListener("input", fit);
  root.addEventListener("change", fit);
  for (const day of days) adding(day, day.querySelector("ul"), fit, root.querySelector("[data-blank]"));
  root.addEventListener("click", (event) => {
    const made = event.target.closest("[data-below]");
    if (made) copyDown(days, made.closest("[data-day]"), fit);
  });
  fit();
  return () => {
    const timezone = of(root, "timezone").value.trim() || "UTC";
    const holidays = of(root, "holidays").value.split(/[\s,]+/).filter(Boolean);
    const always = mode.value === "always";
    if (always && timezone === "UTC" && !holidays.length) return null;
    return { timezone, hours: always ? null : Object.fromEntries(days.map((day) => [day.dataset.day, ranges(day)])), holidays };
  };
}

function ranges(day) {
  return [...day.querySelectorAll(".range-row")].map((row) => `${clock(of(row, "first"))}-${clock(of(row, "last"))}`);
}

function clock(input) {
  const text = input.value.trim();
  return /^\d:\d\d$/.test(text) ? `0${text}` : text;
}

function copyDown(days, from, fit) {
  for (const day of days.slice(days.indexOf(from) + 1)) {
    day.querySelector("ul").replaceChildren(...[...from.querySelectorAll(".range-row")].map((row) => {
      const copy = row.cloneNode(true);
      for (const name of ["first", "last"]) of(copy, name).value = of(row, name).value;
      return copy;
    }));
  }
  fit();
}

// The open part of a day as a strip beside its inputs.
function strip(day) {
  const drawing = day.querySelector(".day-strip");
  for (const one of drawing.querySelectorAll(".fill")) one.remove();
  for (const range of ranges(day)) {
    const found = /^(\d\d):(\d\d)-(\d\d):(\d\d)$/.exec(range);
    if (!found) continue;
    const [first, last] = [1, 3].map((at) => Number(found[at]) * 60 + Number(found[at + 1]));
    const box = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    for (const [name, value] of Object.entries({ class: "fill", x: first, width: Math.max(0, last - first), height: 10 })) box.setAttribute(name, value);
    drawing.append(box);
  }
}

// --- returns -------------------------------------------------------------------------------------

function returns(root) {
  const allowed = of(root, "allowed");
  const terms = root.querySelector("[data-terms]");
  const boxes = [...root.querySelectorAll('[data-of="reasons"]')];
  const fit = () => { terms.hidden = !allowed.checked; };
  allowed.addEventListener("change", fit);
  return () => {
    if (!allowed.checked) return null;
    const days = of(root, "window_days").value.trim();
    const reasons = boxes.filter((one) => one.checked).map((one) => one.value);
    return {
      window_days: /^\d+$/.test(days) ? Number(days) : days,
      percent: of(root, "percent").value.trim(),
      reasons: reasons.length === boxes.length ? null : reasons,
      approval: of(root, "approval").value,
      reverse_payout: of(root, "reverse_payout").checked,
      restore_cap: of(root, "restore_cap").checked,
    };
  };
}

// --- what depends on what ------------------------------------------------------------------------

function dependent(form) {
  const mode = form.elements["pricing.mode"];
  if (!mode) return;
  const { tier, exclusivity } = form.elements;
  const percentage = form.dataset.percentage.split(" ");
  const holds = {
    bid: () => mode.value === "bid",
    fixed: () => mode.value === "fixed",
    shared: () => exclusivity.value === "shared",
    percentage: () => percentage.includes(tier.value) || form.elements.percent.value !== "",
  };
  const fit = () => {
    for (const box of form.querySelectorAll("[data-shown]")) box.hidden = !holds[box.dataset.shown]();
  };
  form.addEventListener("change", fit);
  form.addEventListener("collect", ({ detail: { body } }) => {
    if (holds.fixed()) Object.assign(body.pricing, { min: null, max: null });
    else body.pricing.price = null;
    if (!holds.shared()) body.max_shares = 1;
  });
  fit();
}

// --- somebody else was quicker -------------------------------------------------------------------

function conflicts(form) {
  const dialog = document.getElementById("conflict");
  if (!dialog || !form.dataset.changed) return;
  const first = collect(form);
  form.addEventListener("collect", ({ detail }) => {
    if (form.dataset.mine) detail.body = changed(detail.body, first) ?? {};
  });
  form.addEventListener("answered", async ({ detail }) => {
    if (detail.status !== 412) return;
    const since = form.dataset.etag.replace(/"/g, "");
    const page = await fetch(`${form.dataset.changed}?since=${since}`).then((answer) => answer.text());
    const found = new DOMParser().parseFromString(page, "text/html").querySelector("[data-versions]");
    if (!found) return;
    dialog.querySelector("[data-changes]").replaceChildren(document.importNode(found, true));
    dialog.dataset.newest = found.dataset.versions;
    dialog.showModal();
  });
  dialog.querySelector("[data-reload]").addEventListener("click", () => location.reload());
  dialog.querySelector("[data-overwrite]").addEventListener("click", () => {
    form.dataset.etag = `"${dialog.dataset.newest}"`;
    form.dataset.mine = "yes";
    dialog.close();
    form.requestSubmit();
  });
}

// What was changed since the form was opened: the rest is left as the other one has it.
function changed(now, first) {
  if (JSON.stringify(now) === JSON.stringify(first)) return undefined;
  if (!isObject(now) || !isObject(first)) return now;
  const found = Object.entries(now).map(([name, value]) => [name, changed(value, first[name])]);
  return Object.fromEntries(found.filter(([, value]) => value !== undefined));
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

// --- small things --------------------------------------------------------------------------------

function of(root, name) {
  return root.querySelector(`[data-of="${name}"]`);
}

// Rows that come and go: [data-add] clones the blank one, [data-drop] takes its row away.
function adding(root, list, changed, blank = root.querySelector("[data-blank]")) {
  root.addEventListener("click", (event) => {
    const drop = event.target.closest("[data-drop]");
    if (event.target.closest("[data-add]")) {
      list.append(blank.content.cloneNode(true));
      changed();
      list.lastElementChild.querySelector("select, input").focus();
    } else if (drop) {
      drop.closest("li").remove();
      changed();
      root.querySelector("[data-add]").focus();
    }
  });
}
