// Puts things into another order: by buttons, by dragging the handle, by the keyboard (the buttons are buttons).
//
//   <ol data-order="tiers"><li data-ordered>… <span data-grip> <button data-move="up|down"> …
//
// Event `reordered` on the list after each change; data-number holds each one's place. Below it: a plan's tiers
// and the priorities of its contracts.
import { ask, send, toast } from "./form.js";

const items = (list) => [...list.children].filter((one) => one.matches("[data-ordered]"));

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-move]");
  const item = button?.closest("[data-ordered]");
  if (!item) return;
  event.preventDefault();
  const other = button.dataset.move === "up" ? item.previousElementSibling : item.nextElementSibling;
  if (!other) return;
  if (button.dataset.move === "up") other.before(item); else other.after(item);
  button.focus();
  changed(item.parentElement);
});

document.addEventListener("pointerdown", (event) => {
  const grip = event.target.closest("[data-grip]");
  const item = grip?.closest("[data-ordered]");
  if (!item) return;
  event.preventDefault();
  const list = item.parentElement;
  const before = items(list).indexOf(item);
  item.classList.add("dragged");
  const move = (at) => {
    const over = items(list).find((one) => one !== item && inside(at.clientY, one.getBoundingClientRect()));
    if (!over) return;
    const down = item.compareDocumentPosition(over) & Node.DOCUMENT_POSITION_FOLLOWING;
    const { top, bottom } = over.getBoundingClientRect();
    if (down && at.clientY > (top + bottom) / 2) over.after(item);
    else if (!down && at.clientY < (top + bottom) / 2) over.before(item);
  };
  const end = () => {
    item.classList.remove("dragged");
    removeEventListener("pointermove", move);
    removeEventListener("pointerup", end);
    removeEventListener("pointercancel", end);
    if (items(list).indexOf(item) !== before) changed(list);
  };
  addEventListener("pointermove", move);
  addEventListener("pointerup", end);
  addEventListener("pointercancel", end);
});
document.addEventListener("click", (event) => { if (event.target.closest("summary [data-grip]")) event.preventDefault(); });

// After a refusal: what is wrong is to be seen, wherever it is folded away.
document.addEventListener("answered", (event) => {
  if (event.detail.ok) return;
  const form = event.target;
  setTimeout(() => {
    const wrong = [...form.querySelectorAll("[aria-invalid]")];
    for (const input of wrong) for (let one = input.closest("details"); one; one = one.parentElement.closest("details")) one.open = true;
    if (!form.querySelector(".summary")) wrong[0]?.focus();
  });
});

const inside = (y, { top, bottom }) => y >= top && y <= bottom;

function changed(list) {
  items(list).forEach((one, index) => { const place = one.querySelector("[data-number]"); if (place) place.textContent = index + 1; });
  list.dispatchEvent(new CustomEvent("reordered", { bubbles: true }));
}

// --- a plan's tiers ---------------------------------------------------------------------------------

const plan = document.querySelector("form[data-plan]");
if (plan) {
  const list = plan.querySelector('[data-order="tiers"]');
  const dirty = () => { for (const one of plan.querySelectorAll(".form-actions [hidden]")) one.hidden = false; };
  list.addEventListener("reordered", (event) => { if (event.target === list) { name(); dirty(); } });
  plan.addEventListener("input", (event) => { if (event.target.closest("[data-tier]")) { fit(event.target.closest("[data-tier]")); name(); dirty(); } });
  plan.addEventListener("collect", (event) => { event.detail.body = { tiers: items(list).map(read) }; });
  plan.addEventListener("click", async (event) => {
    if (event.target.closest("[data-add-tier]")) {
      const fresh = document.getElementById("blank-tier").content.firstElementChild.cloneNode(true);
      list.append(fresh);
      fit(fresh);
      changed(list);
      fresh.querySelector('[data-key="name"]').focus();
    }
    const remove = event.target.closest("[data-remove]");
    if (!remove) return;
    const held = Number(remove.dataset.count);
    const words = `${held} contract${held === 1 ? "" : "s"} stand${held === 1 ? "s" : ""} in this tier. Without it nobody posts to them (no_tier).`;
    if (held && !(await ask(words, { yes: "Remove the tier", danger: true }))) return;
    remove.closest("[data-tier]").remove();
    changed(list);
  });
  items(list).forEach(fit);
  name();

  // The API's problems find their input by its path.
  function name() {
    items(list).forEach((tier, index) => {
      for (const input of tier.querySelectorAll("[data-key]")) input.dataset.path = `tiers.${index}.${input.dataset.key}`;
    });
  }
}

function fit(tier) {
  const mode = tier.querySelector('[data-key="mode"]').value;
  for (const one of tier.querySelectorAll("[data-for]")) one.hidden = one.dataset.for !== mode;
}

function read(tier) {
  const value = (key) => tier.querySelector(`[data-key="${key}"]`).value.trim();
  const found = { name: value("name"), mode: value("mode") };
  if (found.mode === "auction" && value("window_ms")) found.window_ms = /^\d+$/.test(value("window_ms")) ? Number(value("window_ms")) : value("window_ms");
  if (found.mode === "percentage") found.period = value("period");
  return found;
}

// --- priorities of contracts ------------------------------------------------------------------------

document.addEventListener("reordered", (event) => {
  const body = event.target;
  if (body.dataset.order !== "contracts") return;
  const wanted = priorities(items(body));
  for (const [row, priority] of wanted) row.querySelector("[data-shows-priority]").textContent = priority;
  const foot = body.closest(".scroll").nextElementSibling;
  const changes = wanted.filter(([row, priority]) => Number(row.dataset.priority) !== priority).length;
  foot.querySelector("[data-save-priorities]").hidden = changes === 0;
  const told = foot.querySelector("[data-unsaved]");
  told.hidden = changes === 0;
  told.textContent = `${changes} contract${changes === 1 ? " gets" : "s get"} another priority.`;
});

// As few as can be get another number: the longest rise stays, the others go between; where there is no
// room between, all are numbered anew.
function priorities(rows) {
  const own = rows.map((row) => Number(row.dataset.priority));
  const stays = rise(own);
  const found = [];
  for (let at = 0; at < own.length;) {
    if (stays.has(at)) { found.push(own[at++]); continue; }
    let end = at;
    while (end < own.length && !stays.has(end)) end++;
    const low = found.length ? found.at(-1) : -1;
    const step = Math.min(10, Math.floor(((end < own.length ? own[end] : Infinity) - low) / (end - at + 1)));
    if (step < 1) return rows.map((row, index) => [row, (index + 1) * 10]);
    for (; at < end; at++) found.push(found.length ? found.at(-1) + step : low + step);
  }
  return rows.map((row, index) => [row, found[index]]);
}

// The places of a longest rising part.
function rise(numbers) {
  const best = numbers.map((_, at) => [at]);
  numbers.forEach((number, at) => {
    for (let before = 0; before < at; before++) {
      if (numbers[before] < number && best[before].length + 1 > best[at].length) best[at] = [...best[before], at];
    }
  });
  return new Set(best.reduce((one, other) => (other.length >= one.length ? other : one), []));
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-save-priorities]");
  if (!button) return;
  button.disabled = true;
  const rows = items(button.closest(".card-body").querySelector('[data-order="contracts"]'));
  for (const [row, priority] of priorities(rows)) {
    if (Number(row.dataset.priority) === priority) continue;
    const { ok, status, answer } = await send("PATCH", `/console/v1/contracts/${row.dataset.contract}`, { priority }, { "If-Match": `"${row.dataset.version}"` });
    if (!ok) {
      toast(`${row.dataset.contract}: ${status === 412 ? "somebody changed it meanwhile; reload the page" : answer?.detail || answer?.code}`, "bad");
      button.disabled = false;
      return;
    }
    row.dataset.priority = priority;
  }
  location.reload();
});
