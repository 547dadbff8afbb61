// The builder of conditions: rows of a field, an op and a value, in groups; all of it by keyboard.
//
// <div data-conditions data-name="filters"> inside a form of form.js holds the filters and the vertical's
// fields as data. When the form is sent, `filters` is what stands here; problems come to their rows.

import { LEVELS_MAX, blank, depthOf, readAll, words, writeAll } from "./conditions_model.js";
import { el, inputsOf } from "./conditions_inputs.js";

const SOON_MS = 700;

for (const root of document.querySelectorAll("[data-conditions]")) build(root);

function build(root) {
  const data = JSON.parse(root.querySelector("script").textContent);
  const name = root.dataset.name;
  const state = { root, name, fields: data.fields, rows: readAll(data.filters, data.fields), ids: new WeakMap(), last: 0 };
  state.list = root.querySelector("[data-rows]");
  state.turn = (row, next) => redraw(state, row, next);
  state.status = root.querySelector("[role=status]");
  const form = root.closest("form");
  form.addEventListener("collect", ({ detail }) => {
    number(state, state.rows, name);
    detail.body[name] = writeAll(state.rows, state.fields);
  });
  form.addEventListener("answered", ({ detail }) => explain(state, detail.answer));
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-verb]");
    if (button) act(state, button);
  });
  draw(state);
  preview(state, root.dataset.preview);
}

// Where each row is in what is sent: by this form.js brings the server's problems to it.
function number(state, rows, path) {
  rows.forEach((row, at) => place(state, row, `${path}.${at}`));
}

function place(state, row, here) {
  const inputs = boxOf(state, row).querySelector(":scope > .input");
  (inputs.querySelector(".value") ?? inputs).dataset.path = here;
  if (row.kind === "any") number(state, row.parts, `${here}.any`);
  if (row.kind === "not") place(state, row.parts[0], `${here}.not`);
}

// "filters.0.value.3" is a problem of the row; which of its values are meant is said in words, once.
function explain(state, answer) {
  const merged = new Map();
  for (const one of answer?.errors ?? []) {
    const at = one.path?.startsWith(`${state.name}.`) && /\.value\.(\d+)$/.exec(one.path);
    const path = at ? one.path.slice(0, at.index) : one.path;
    const key = `${path} ${one.message}`;
    if (!merged.has(key)) merged.set(key, { ...one, path, places: [] });
    if (at) merged.get(key).places.push(Number(at[1]) + 1);
  }
  if (!merged.size) return;
  answer.errors = [...merged.values()].map(({ places, ...one }) => (
    places.length ? { ...one, message: `${one.message} (value ${places.join(", ")})` } : one
  ));
}

// --- drawing -------------------------------------------------------------------------------------

function draw(state) {
  state.list.replaceChildren(...rowsOf(state, state.rows, null));
  state.root.querySelector("[data-none]").hidden = state.rows.length > 0;
}

function rowsOf(state, rows, parent, level = 1) {
  return rows.map((row, at) => rowOf(state, row, { rows, parent, at, level }));
}

function rowOf(state, row, place) {
  const box = el("li", { className: `cond ${row.kind}` });
  box.dataset.row = idOf(state, row);
  box.place = place;
  box.row = row;
  box.append(...({ condition: conditionOf, kept: keptOf }[row.kind] ?? groupOf)(state, row, place));
  return box;
}

function conditionOf(state, row, place) {
  const inputs = el("div", { className: "input cond-inputs", tabIndex: -1 }, inputsOf(state, row));
  return [inputs, verbs(state, row, place)];
}

function groupOf(state, row, place) {
  const isAny = row.kind === "any";
  const head = el("div", { className: "input cond-inputs", tabIndex: -1 }, [
    el("strong", {}, [isAny ? "At least one of these" : "None of this may hold"]),
    el("span", { className: "hint" }, [isAny ? "" : "also true where the field is not given"]),
  ]);
  const inner = el("ul", { className: "conds" }, rowsOf(state, row.parts, row, place.level + 1));
  const more = isAny && place.level < LEVELS_MAX ? [button("plus", "Add an alternative", "more", true)] : [];
  return [head, verbs(state, row, place), inner, ...more];
}

function keptOf(state, row, place) {
  const said = el("div", { className: "input cond-inputs", tabIndex: -1 }, [
    el("span", { className: "badge warn" }, [el("span", { className: "dot" }), "kept as it is"]),
    el("span", {}, [words(row.document)]),
    el("span", { className: "hint" }, [`${row.why} It stays in force unchanged; it can only be moved or removed here.`]),
  ]);
  return [said, verbs(state, row, place)];
}

function verbs(state, row, { rows, parent, at, level }) {
  const inNot = parent && parent.kind === "not";
  const room = level - 1 + depthOf(row) < LEVELS_MAX;
  const made = [
    !inNot && button("arrow-up", "Move up", "up", false, at === 0),
    !inNot && button("arrow-down", "Move down", "down", false, at === rows.length - 1),
    row.kind === "not" ? button("undo", "Take the not away", "unwrap") : room && button("ban", "Negate: must not hold", "not"),
    row.kind === "any" ? !inNot && button("undo", "Put these beside the group", "unwrap") : room && !inNot && button("split", "Or: add an alternative", "or"),
    button("trash", "Remove", "remove"),
  ];
  return el("div", { className: "cond-verbs" }, made.filter(Boolean));
}

function button(icon, label, verb, isWide = false, disabled = false) {
  const made = el("button", { type: "button", className: isWide ? "button quiet small" : "button quiet square small" });
  made.dataset.verb = verb;
  made.disabled = disabled;
  made.title = label;
  made.append(drawing(icon));
  if (isWide) made.append(label);
  else made.setAttribute("aria-label", label);
  return made;
}

function drawing(icon) {
  const found = document.querySelector(`template[data-icon="${icon}"]`);
  return found ? found.content.firstElementChild.cloneNode(true) : "";
}

// --- verbs ---------------------------------------------------------------------------------------

function act(state, made) {
  if (made.disabled) return;
  const verb = made.dataset.verb;
  const box = made.closest("[data-row]");
  const row = box ? box.row : null;
  const next = VERBS[verb](state, row, box && box.place);
  if (!next) return;
  draw(state);
  state.root.dispatchEvent(new CustomEvent("changed", { bubbles: true }));
  state.status.textContent = next.say;
  focus(state, next.row, next.verb);
}

const VERBS = {
  add(state) {
    const row = blank(state.fields);
    state.rows.push(row);
    return { row, say: "Condition added" };
  },
  more(state, group) {
    const row = blank(state.fields);
    group.parts.push(row);
    return { row, say: "Alternative added" };
  },
  up(state, row, { rows, at }) {
    rows.splice(at - 1, 0, ...rows.splice(at, 1));
    return { row, verb: "up", say: `Moved up, now ${at} of ${rows.length}` };
  },
  down(state, row, { rows, at }) {
    rows.splice(at + 1, 0, ...rows.splice(at, 1));
    return { row, verb: "down", say: `Moved down, now ${at + 2} of ${rows.length}` };
  },
  not(state, row, { rows, at }) {
    const made = { kind: "not", parts: [row] };
    rows[at] = made;
    return { row: made, verb: "unwrap", say: "Negated" };
  },
  or(state, row, { rows, at }) {
    const added = blank(state.fields);
    rows[at] = { kind: "any", parts: [row, added] };
    return { row: added, say: "Group of alternatives made" };
  },
  unwrap(state, row, { rows, at }) {
    rows.splice(at, 1, ...row.parts);
    return { row: row.parts[0], say: "Group taken apart" };
  },
  remove(state, row, { rows, parent, at }) {
    rows.splice(at, 1);
    if (parent && !rows.length) prune(state, state.rows, parent);
    return { row: rows[Math.min(at, rows.length - 1)] ?? parent, say: "Removed" };
  },
};

// A group without a part means nothing: it goes with its last one.
function prune(state, rows, group) {
  const at = rows.indexOf(group);
  if (at >= 0) rows.splice(at, 1);
  else for (const one of rows) if (one.parts) prune(state, one.parts, group);
}

function redraw(state, row, next) {
  const box = boxOf(state, row);
  const which = document.activeElement?.className;
  Object.assign(row, next);
  const made = rowOf(state, row, box.place);
  box.replaceWith(made);
  made.querySelector(`:scope > .input > .${which || "cond-field"}`)?.focus();
}

function focus(state, row, verb) {
  const box = row && boxOf(state, row);
  const wanted = box?.querySelector(verb ? `[data-verb="${verb}"]:not(:disabled)` : "select, input, button:not(:disabled)");
  const target = wanted ?? box?.querySelector("button:not(:disabled)") ?? state.root.querySelector('[data-verb="add"]');
  target.focus();
}

function boxOf(state, row) {
  return state.list.querySelector(`[data-row="${idOf(state, row)}"]`);
}

// --- how many of the last pings would have matched ----------------------------------------------

function preview(state, address) {
  const shown = state.root.querySelector("[data-preview]");
  if (!address || !shown) return;
  let timer = 0;
  let asked = 0;
  const ask = async () => {
    const turn = ++asked;
    const body = JSON.stringify({ vertical: state.root.dataset.vertical, filters: writeAll(state.rows, state.fields) });
    const answer = await fetch(address, { method: "POST", body, headers: { "Content-Type": "application/json" } }).catch(() => null);
    if (turn !== asked) return;
    const told = answer?.ok ? await answer.json() : null;
    shown.textContent = told ? told.words : "";
  };
  state.root.addEventListener("changed", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, SOON_MS);
  });
  ask();
}

// --- small things --------------------------------------------------------------------------------

function idOf(state, row) {
  if (!state.ids.has(row)) state.ids.set(row, `r${++state.last}`);
  return state.ids.get(row);
}
