// Filters through the builder's model and back: as nobody touched them, and as if all had been typed anew.
import { readFileSync } from "node:fs";

const { readAll, writeAll } = await import(process.argv[2]);
const { fields, cases } = JSON.parse(readFileSync(0, "utf-8"));

const retype = (row) => {
  if (row.kind === "condition") row.first = null;
  for (const part of row.parts ?? []) retype(part);
};
const kept = (row) => (row.kind === "kept" ? 1 : (row.parts ?? []).reduce((sum, part) => sum + kept(part), 0));

console.log(JSON.stringify(cases.map((filters) => {
  const rows = readAll(filters, fields);
  const untouched = writeAll(rows, fields);
  rows.forEach(retype);
  return { untouched, retyped: writeAll(rows, fields), kept: rows.reduce((sum, row) => sum + kept(row), 0) };
})));
