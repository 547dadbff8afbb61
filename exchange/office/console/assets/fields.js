// The editor of a vertical's fields: a tree of <details data-field>, read into the document when it is sent.
import "./order.js";

const form = document.querySelector("form[data-fields]");
const top_ = form.querySelector("[data-list]");
const children = (list) => [...list.children].filter((one) => one.matches("[data-field]"));
// Of one field's own inputs, without those of the fields inside it.
const own = (field, selector) => [...field.querySelectorAll(selector)].filter((one) => one.closest("[data-field]") === field);

for (const one of form.querySelectorAll("[data-field]")) ready(one);
number();

form.addEventListener("input", (event) => {
  const field = event.target.closest("[data-field]");
  if (!field) return;
  if (event.target.dataset.key === "type") fit(field);
  tell(field);
});
form.addEventListener("reordered", number);
form.addEventListener("click", (event) => {
  const add = event.target.closest("[data-add]");
  if (add) {
    const list = add.dataset.add === "top" ? top_ : add.closest(".inner").querySelector("[data-list]");
    const fresh = blank(add.dataset.add);
    list.append(fresh);
    ready(fresh);
    number();
    own(fresh, '[data-key="name"]')[0].focus();
  }
  const remove = event.target.closest("[data-remove]");
  if (remove) {
    event.preventDefault();
    remove.closest("[data-field]").remove();
    number();
  }
});
form.addEventListener("collect", (event) => {
  number();
  event.detail.body.fields = children(top_).map(read);
});

function blank(name) {
  return document.getElementById(`blank-${name}`).content.firstElementChild.cloneNode(true);
}

function ready(field) {
  if (!("items" in field.dataset)) field.dataset.ordered = "";
  fit(field);
}

// Shows what this type has.
function fit(field) {
  const type = own(field, '[data-key="type"]')[0].value;
  for (const one of own(field, "[data-for]")) one.hidden = !one.dataset.for.split(" ").includes(type);
  const [least, most] = { string: ["Least characters", "Most characters"], array: ["Least items", "Most items"], date: ["Not before", "Not after"], datetime: ["Not before", "Not after"] }[type] ?? ["Least", "Most"];
  own(field, "[data-min]")[0].textContent = least;
  own(field, "[data-max]")[0].textContent = most;
  const place = own(field, "[data-item]")[0];
  if (type === "array" && !place.children.length) {
    const items = blank("items");
    place.append(items);
    ready(items);
    number();
  }
}

// Its line says what is inside.
function tell(field) {
  for (const shown of own(field, "[data-shows]")) {
    const input = own(field, `[data-key="${shown.dataset.shows}"]`)[0];
    if (!input) continue;
    if (input.type === "checkbox") shown.classList.toggle("unset", !input.checked);
    else shown.textContent = input.value || "new field";
  }
}

// The API's problems find their input by its path.
function number() { children(top_).forEach((one, index) => path(one, `fields.${index}`)); }

function path(field, at) {
  field.dataset.path = at;
  for (const one of own(field, "[data-key]")) one.dataset.path = `${at}.${one.dataset.key}`;
  for (const one of own(field, "[data-if]")) one.dataset.path = `${at}.required_if.${one.dataset.if}`;
  const list = own(field, "[data-list]")[0];
  if (list) children(list).forEach((one, index) => path(one, `${at}.fields.${index}`));
  const items = own(field, "[data-item]")[0]?.firstElementChild;
  if (items) path(items, `${at}.items`);
}

function read(field) {
  const input = (key) => own(field, `[data-key="${key}"]`)[0];
  const type = input("type").value;
  const found = { type };
  if (input("name")) found.name = input("name").value.trim();
  if (input("stage")) found.stage = input("stage").value;
  if (input("required")?.checked) found.required = true;
  const has = (key) => !input(key).closest("[data-for]").hidden && input(key).value.trim() !== "";
  for (const key of ["min", "max"]) if (has(key)) found[key] = bound(type, input(key).value.trim());
  if (has("pattern")) found.pattern = input("pattern").value;
  if (type === "enum") found.values = numbers(input("values").value.split("\n").map((one) => one.trim()).filter(Boolean));
  if (type === "object") found.fields = children(own(field, "[data-list]")[0]).map(read);
  if (type === "array") found.items = read(own(field, "[data-item]")[0].firstElementChild);
  const when = Object.fromEntries(own(field, "[data-if]").map((one) => [one.dataset.if, one]));
  if (when.field?.value.trim()) {
    const op = when.op.value;
    const wanted = when.value.value.trim();
    const value = op === "in" ? wanted.split(",").map((one) => plain(one.trim())) : plain(wanted);
    found.required_if = { field: when.field.value.trim(), op, ...(wanted === "" ? {} : { value }) };
  }
  return found;
}

const bound = (type, text) => (!["decimal", "date", "datetime"].includes(type) && /^-?\d+$/.test(text) ? Number(text) : text);
// Values are numbers if all of them are: "007" is none.
const numbers = (list) => (list.length && list.every((one) => /^(0|-?[1-9]\d*)$/.test(one)) ? list.map(Number) : list);
const plain = (text) => (text === "true" ? true : text === "false" ? false : /^(0|-?[1-9]\d*)$/.test(text) ? Number(text) : text);
