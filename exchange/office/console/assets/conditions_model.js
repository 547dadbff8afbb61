// Filters as a tree of rows, and rows as filters again. Pure: no page is touched here.
//
// A row that nobody changed gives back the very filter it was made of, whatever way that was written.
// What the builder has no inputs for stays as it is: kind "kept", with the reason.

export const OP_WORDS = {
  eq: "is", ne: "is given and not", in: "is one of", not_in: "is given and none of",
  lt: "is below", lte: "is at most", gt: "is above", gte: "is at least", between: "is between",
  exists: "is given", prefix: "begins with", zip_within: "is within miles of",
};
export const LEVELS_MAX = 4;
const PLACE = /^(0|[1-9]\d?)$/;
const WHOLE = /^[+-]?\d+$/;
const SPACE = /[\s,;]+/;
const BY_LINE = new Set(["string", "url", "phone", "datetime"]);  // a space or comma may be part of it

// --- fields --------------------------------------------------------------------------------------

// "drivers.0.age" as {path: "drivers.#.age", places: [0]}; the path is a field's in `fields`.
export function locate(dotted, fields) {
  const places = [];
  const parts = String(dotted).split(".").map((part, at) => {
    if (at === 0 || !PLACE.test(part)) return part;
    places.push(Number(part));
    return "#";
  });
  const path = parts.join(".");
  return fields.some((one) => one.path === path) ? { path, places } : null;
}

export function dotted(path, places) {
  let at = 0;
  return path.replace(/#/g, () => String(places[at++] ?? 0));
}

export function fieldOf(row, fields) {
  return fields.find((one) => one.path === row.path);
}

// --- values --------------------------------------------------------------------------------------

// Which inputs a field's type and an op take.
export function shapeOf(type, op) {
  if (op === "exists") return "flag";
  if (op === "between") return "range";
  if (op === "zip_within") return "circle";
  if (op === "prefix") return "one";
  const many = op === "in" || op === "not_in";
  if (type === "enum") return many ? "choices" : "choice";
  if (type === "state") return many ? "states" : "state";
  if (type === "boolean") return many ? "choices" : "flag";
  return many ? "list" : "one";
}

export function choicesOf(field) {
  return field.type === "boolean" ? [true, false] : field.values ?? [];
}

// A value as what stands in its inputs; undefined: they could not show it.
export function toInput(value, shape, field) {
  switch (shape) {
    case "flag": return typeof value === "boolean" ? String(value) : undefined;
    case "choice": return toChoice(value, field);
    case "choices": return toMany(value, (one) => toChoice(one, field));
    case "state": return toState(value, field);
    case "states": return toMany(value, (one) => toState(one, field));
    case "range":
      return Array.isArray(value) && value.length === 2 ? toMany(value, (one) => toText(one, field)) : undefined;
    case "circle": return toCircle(value);
    case "list": return toList(value, field);
    default: return toText(value, field);
  }
}

// What stands in inputs as a value. What is missing or no number stays text: the server says so.
export function fromInput(input, shape, field) {
  switch (shape) {
    case "flag": return input === "true";
    case "choice": return input === "" ? "" : JSON.parse(input);
    case "choices": return input.map((one) => JSON.parse(one));
    case "states": return [...input];
    case "range": return input.map((one) => fromText(one, field));
    case "circle": return { zip: input.zip.trim(), miles: fromText(input.miles, { type: "decimal" }) };
    case "list": return linesOf(input, field).map((one) => fromText(one, field));
    default: return fromText(input, field);
  }
}

export function emptyInput(shape) {
  switch (shape) {
    case "flag": return "true";
    case "choices": case "states": return [];
    case "range": return ["", ""];
    case "circle": return { zip: "", miles: "" };
    default: return "";
  }
}

// The values of a pasted list: ZIP codes and numbers by any space or comma, texts by line; each once.
export function linesOf(text, field) {
  const apart = BY_LINE.has(field.type) ? /\r?\n/ : SPACE;
  return [...new Set(text.split(apart).map((one) => one.trim()).filter(Boolean))];
}

// What a reader of a list of ZIP codes should know: how many, and which are none.
export function countZips(text) {
  const given = text.split(SPACE).filter(Boolean);
  const codes = new Set(given);
  const wrong = [...codes].filter((one) => !/^\d{5}(-?\d{4})?$/.test(one));
  return { count: codes.size, repeated: given.length - codes.size, wrong };
}

function toMany(values, one) {
  if (!Array.isArray(values)) return undefined;
  const found = values.map(one);
  return found.includes(undefined) ? undefined : found;
}

function toChoice(value, field) {
  return choicesOf(field).includes(value) ? JSON.stringify(value) : undefined;
}

function toState(value, field) {
  const code = typeof value === "string" ? value.trim().toUpperCase() : "";
  return (field.values ?? []).includes(code) ? code : undefined;
}

function toText(value, field) {
  if (typeof value === "string") return /[\r\n]/.test(value) || !value ? undefined : value;
  const isNumber = field.type === "integer" || field.type === "decimal";
  return isNumber && typeof value === "number" ? String(value) : undefined;
}

function fromText(text, field) {
  const plain = field.type === "string" ? text : text.trim();
  const isWhole = field.type === "integer" && WHOLE.test(plain) && Number.isSafeInteger(Number(plain));
  return isWhole ? Number(plain) : plain;
}

function toCircle(value) {
  const named = value && typeof value === "object" && Object.keys(value).sort().join() === "miles,zip";
  const sound = named && typeof value.zip === "string" && ["string", "number"].includes(typeof value.miles);
  return sound ? { zip: value.zip, miles: String(value.miles) } : undefined;
}

function toList(values, field) {
  const texts = toMany(values, (one) => toText(one, field));
  return texts === undefined ? undefined : texts.join("\n");
}

// --- rows ----------------------------------------------------------------------------------------

export function readAll(documents, fields) {
  return documents.map((one) => read(one, fields));
}

export function writeAll(rows, fields) {
  return rows.map((one) => write(one, fields));
}

export function read(document, fields) {
  const names = document && typeof document === "object" ? Object.keys(document).sort().join() : "";
  if (names === "any" && Array.isArray(document.any)) {
    return { kind: "any", parts: readAll(document.any, fields) };
  }
  if (names === "not") return { kind: "not", parts: [read(document.not, fields)] };
  if (names !== "field,op,value") return kept(document, "It is written in a way this form does not know.");
  const place = locate(document.field, fields);
  if (!place) return kept(document, "The vertical has no field of this name.");
  const field = fieldOf(place, fields);
  if (!field.ops.includes(document.op)) return kept(document, "The field cannot be tested this way any more.");
  const input = toInput(document.value, shapeOf(field.type, document.op), field);
  if (input === undefined) return kept(document, "Its value is none that the field can have now.");
  const row = { kind: "condition", ...place, op: document.op, input };
  row.first = said(row);
  row.document = document;
  return row;
}

export function write(row, fields) {
  switch (row.kind) {
    case "kept": return row.document;
    case "any": return { any: writeAll(row.parts, fields) };
    case "not": return { not: write(row.parts[0], fields) };
    default: return writeCondition(row, fields);
  }
}

function writeCondition(row, fields) {
  if (row.first === said(row)) return row.document;
  const field = fieldOf(row, fields);
  if (!field) return { field: row.path, op: row.op, value: row.input };
  const value = fromInput(row.input, shapeOf(field.type, row.op), field);
  return { field: dotted(row.path, row.places), op: row.op, value };
}

function said(row) {
  return JSON.stringify([row.path, row.places, row.op, row.input]);
}

function kept(document, why) {
  return { kind: "kept", document, why };
}

export function blank(fields) {
  const field = fields[0];
  const op = field.ops[0];
  const input = emptyInput(shapeOf(field.type, op));
  return { kind: "condition", path: field.path, places: placesOf(field.path), op, input };
}

export function placesOf(path) {
  return [...path.matchAll(/#/g)].map(() => 0);
}

// Another field or op: what was put in stays if the inputs are the same.
export function turn(row, fields, { path = row.path, op = row.op }) {
  const field = fields.find((one) => one.path === path);
  const was = fieldOf(row, fields);
  const next = field.ops.includes(op) ? op : field.ops[0];
  const shape = shapeOf(field.type, next);
  const same = was && was.type === field.type && shapeOf(was.type, row.op) === shape && field.type !== "enum";
  const stays = same || (path === row.path && shapeOf(was.type, row.op) === shape);
  const places = path === row.path ? row.places : placesOf(path);
  return { ...row, path, places, op: next, input: stays ? row.input : emptyInput(shape) };
}

// How deep a row reaches: 1 for a condition, one more for each group around it.
export function depthOf(row) {
  return row.parts ? 1 + Math.max(0, ...row.parts.map(depthOf)) : 1;
}

// A filter in words, for what is kept.
export function words(document) {
  if (!document || typeof document !== "object") return "something that is no filter";
  if (Array.isArray(document.any)) return document.any.map(words).join(" or ");
  if (document.not) return `not: ${words(document.not)}`;
  if (typeof document.field !== "string") return "something that this version cannot read";
  const values = Array.isArray(document.value) ? document.value : [document.value];
  const shown = values.slice(0, 8).map((one) => (one && typeof one === "object" ? Object.values(one).join(" ") : String(one)));
  const more = values.length > 8 ? ` and ${values.length - 8} more` : "";
  return `${document.field} ${OP_WORDS[document.op] ?? document.op} ${shown.join(", ")}${more}`;
}
