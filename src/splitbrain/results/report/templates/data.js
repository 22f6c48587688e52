// Small helpers, and all operations of the run unpacked into columns.

const $ = (id) => document.getElementById(id);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const meta = JSON.parse($("meta").textContent);
const OUTCOMES = ["ok", "fail", "info"];

// Elements are built, never parsed from text: a value of the history cannot become markup.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// A history without times is drawn at a second an event: then seconds are events.
const fixed = (value, digits) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const seconds = (ms, digits = 3) => (meta.timeless ? fixed(ms / 1000, 0) : `${fixed(ms / 1000, digits)} s`);

function span(us) {
  if (us < 0) return "no answer";
  if (meta.timeless) return "";
  if (us < 1000) return `${us} µs`;
  if (us < 1e6) return `${(us / 1e3).toPrecision(3)} ms`;
  return `${(us / 1e6).toFixed(2)} s`;
}

function sums(differences) {
  let total = 0;
  return differences.map((difference) => (total += difference));
}

// Columns: i index, e distance to the completion, t start in µs, d length in µs (-1: none), p process,
// w row, o outcome; f, k, a, r, n, x, g are places in `texts` (-1: none).
let ops = null;

async function unpack() {
  const text = $("operations").textContent.trim();
  if (!text) return;
  if (!("DecompressionStream" in window)) {
    if ($("hits")) $("hits").textContent = "search needs a browser of 2023 or later";
    return;
  }
  const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const loaded = await new Response(stream).json();
  loaded.i = sums(loaded.i);
  loaded.t = sums(loaded.t);
  loaded.n_ = loaded.i.length;
  loaded.place = new Map();
  for (let at = 0; at < loaded.n_; at++) {
    loaded.place.set(loaded.i[at], at);
    if (loaded.e[at] > 0) loaded.place.set(loaded.i[at] + loaded.e[at], at);
  }
  ops = loaded;
}

const text = (column, at) => (ops[column][at] < 0 ? "" : ops.texts[ops[column][at]]);
const startMs = (at) => ops.t[at] / 1000;
const stopMs = (at) => (ops.d[at] < 0 ? meta.end : (ops.t[at] + ops.d[at]) / 1000);

// The completion of a write repeats its argument: then once is enough.
function valueText(at) {
  const argument = text("a", at);
  const result = text("r", at);
  if (ops.o[at] === 0 && !argument && !result) return "null";
  if (!result || result === argument) return argument;
  return argument ? `${argument} → ${result}` : `→ ${result}`;
}

// First place whose start is not before `us`; operations are in order of their starts.
function firstFrom(us) {
  let low = 0;
  let high = ops.n_;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ops.t[middle] < us) low = middle + 1;
    else high = middle;
  }
  return low;
}
