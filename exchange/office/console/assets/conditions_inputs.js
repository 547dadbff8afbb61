// The inputs of one condition, by its field's type and its op.
//
// `state` has the vertical's fields, the builder's root, and turn(row, next): draw a row anew that has
// another field or op. What is put in goes into the row as it is written; `changed` is told of it.

import { OP_WORDS, choicesOf, countZips, fieldOf, linesOf, shapeOf, turn } from "./conditions_model.js";

const SHOWN_MAX = 12;  // choices that stand open, and values named of a list

export function inputsOf(state, row) {
  const field = fieldOf(row, state.fields);
  return [fieldSelect(state, row), ...placeInputs(state, row), opSelect(state, row, field), ...valueOf(state, row, field)];
}

function fieldSelect(state, row) {
  const groups = new Map();
  for (const field of state.fields) {
    const named = field.stage === "post" ? "The person (known at the post only)" : "Known at the ping";
    if (!groups.has(named)) groups.set(named, el("optgroup", { label: named }));
    groups.get(named).append(option(field.path, field.label, field.path === row.path));
  }
  const made = el("select", { className: "cond-field" }, [...groups.values()]);
  return control(state, row, made, "Field", () => {
    state.turn(row, turn(row, state.fields, { path: made.value }));
  });
}

function placeInputs(state, row) {
  return row.places.map((place, at) => {
    const made = el("input", { type: "number", min: "1", max: "100", value: String(place + 1), className: "cond-place" });
    return control(state, row, made, "Which one of the list", () => {
      row.places[at] = Math.max(0, Math.min(99, (parseInt(made.value, 10) || 1) - 1));
    });
  });
}

function opSelect(state, row, field) {
  const made = el("select", { className: "cond-op" }, field.ops.map((op) => option(op, OP_WORDS[op], op === row.op)));
  return control(state, row, made, "Comparison", () => {
    state.turn(row, turn(row, state.fields, { op: made.value }));
  });
}

function valueOf(state, row, field) {
  const shape = shapeOf(field.type, row.op);
  switch (shape) {
    case "flag": return [select(state, row, [["true", "yes"], ["false", "no"]])];
    case "choice": return [select(state, row, [["", "choose…"], ...choicesOf(field).map((one) => [JSON.stringify(one), String(one)])])];
    case "state": return [select(state, row, [["", "choose…"], ...choicesOf(field).map((one) => [one, one])])];
    case "choices": return [many(state, row, choicesOf(field).map((one) => [JSON.stringify(one), plain(one)]), "values")];
    case "states": return [many(state, row, choicesOf(field).map((one) => [one, one]), "states")];
    case "range": return [part(state, row, field, 0, "From"), el("span", {}, ["and"]), part(state, row, field, 1, "To")];
    case "circle": return circle(state, row);
    case "list": return [list(state, row, field)];
    default: return [text(state, row, field, "Value", row.input, (value) => { row.input = value; })];
  }
}

function plain(one) {
  return typeof one === "boolean" ? (one ? "yes" : "no") : String(one);
}

function select(state, row, choices) {
  const made = el("select", { className: "value" }, choices.map(([value, shown]) => option(value, shown, value === row.input)));
  return control(state, row, made, "Value", () => { row.input = made.value; });
}

function part(state, row, field, at, label) {
  return text(state, row, field, label, row.input[at], (value) => {
    row.input = row.input.map((one, place) => (place === at ? value : one));
  });
}

function circle(state, row) {
  const set = (name) => (value) => { row.input = { ...row.input, [name]: value }; };
  return [
    text(state, row, { type: "decimal" }, "Miles", row.input.miles, set("miles"), "short"),
    el("span", {}, ["of ZIP code"]),
    text(state, row, { type: "zip" }, "ZIP code", row.input.zip, set("zip"), "short"),
  ];
}

function text(state, row, field, label, value, put, size = "") {
  const made = el("input", { value, className: `value ${size}`, autocomplete: "off", spellcheck: false });
  const usual = { date: ["date", ""], datetime: ["text", "2026-01-31T09:30:00Z"], zip: ["text", "90210"], integer: ["text", ""], decimal: ["text", ""] };
  const [type, placeholder] = usual[field.type] ?? ["text", ""];
  made.type = type === "date" && !/^(\d{4}-\d\d-\d\d)?$/.test(value) ? "text" : type;
  made.placeholder = placeholder;
  if (field.type === "integer") made.inputMode = "numeric";
  if (field.type === "decimal") made.inputMode = "decimal";
  return control(state, row, made, label, () => put(made.value));
}

// A set of boxes to tick: states, or the values of an enum.
function many(state, row, choices, noun) {
  const said = el("summary");
  const tell = () => {
    const named = choices.filter(([value]) => row.input.includes(value)).map(([, shown]) => shown);
    said.textContent = named.length ? `${named.length} ${noun}: ${brief(named)}` : `no ${noun} chosen`;
  };
  const boxes = choices.map(([value, shown]) => {
    const box = el("input", { type: "checkbox", value, checked: row.input.includes(value) });
    return el("label", { className: "tick" }, [control(state, row, box, shown, () => { take(); tell(); }), shown]);
  });
  const inputs = () => boxes.map((one) => one.firstElementChild);
  const take = () => { row.input = inputs().filter((one) => one.checked).map((one) => one.value); };
  const all = (how) => () => {
    for (const one of inputs()) one.checked = how(one);
    take();
    tell();
  };
  const helps = [["All", () => true], ["None", () => false], ["The others", (one) => !one.checked]].map(([name, how]) => {
    const made = el("button", { type: "button", className: "button quiet small" }, [name]);
    made.addEventListener("click", all(how));
    return made;
  });
  tell();
  const box = el("div", { className: `ticks ${noun}` }, boxes);
  return el("details", { className: "many", open: choices.length <= SHOWN_MAX }, [said, el("div", { className: "helps" }, helps), box]);
}

// A pasted list of up to 50,000 values; it is written into its box when somebody opens it.
function list(state, row, field) {
  const said = el("summary");
  const box = el("textarea", { rows: 6, className: "value", spellcheck: false });
  const hint = el("p", { className: "hint" });
  const tell = () => {
    const values = linesOf(row.input, field);
    said.textContent = values.length ? `${values.length.toLocaleString("en")} ${nounOf(field)}: ${brief(values)}` : `no ${nounOf(field)} yet`;
    hint.textContent = field.type === "zip" ? zipHint(row.input) : "one a line";
  };
  const made = el("details", { className: "many long" }, [said, control(state, row, box, nounOf(field), () => {
    row.input = box.value;
    tell();
  }), hint]);
  const fill = () => { if (made.open && box.value !== row.input) box.value = row.input; };
  made.addEventListener("toggle", fill);
  made.open = row.input.length < 400;
  fill();
  tell();
  return made;
}

function nounOf(field) {
  return field.type === "zip" ? "ZIP codes" : "values";
}

function zipHint(text) {
  const { count, repeated, wrong } = countZips(text);
  const parts = [`${count.toLocaleString("en")} ZIP codes`, "paste them with spaces, commas or lines between"];
  if (repeated) parts.push(`${repeated.toLocaleString("en")} repeated, kept once`);
  if (wrong.length) parts.push(`${wrong.length} that are none: ${brief(wrong)}`);
  return parts.join("; ");
}

function brief(values) {
  const more = values.length - SHOWN_MAX;
  return values.slice(0, SHOWN_MAX).join(", ") + (more > 0 ? ` and ${more.toLocaleString("en")} more` : "");
}

function control(state, row, made, label, change) {
  made.setAttribute("aria-label", label);
  made.addEventListener(made.matches("select, [type=checkbox]") ? "change" : "input", () => {
    change();
    state.root.dispatchEvent(new CustomEvent("changed", { bubbles: true }));
  });
  return made;
}

function option(value, shown, selected) {
  return el("option", { value, selected }, [shown]);
}

export function el(name, properties = {}, inside = []) {
  const made = document.createElement(name);
  Object.assign(made, properties);
  made.append(...inside.filter((one) => one !== ""));
  return made;
}
